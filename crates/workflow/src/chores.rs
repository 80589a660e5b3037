//! Work without haste, whose order is not that of the commits: taking away the rows of what was
//! replaced or purged, ending the children of instances that have ended, retention.
//!
//! Each chore is a record until it is done, so that a crash only delays it.

use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::KvExt as _;

use crate::engine::Shared;
use crate::error::WorkflowError;
use crate::key::Key;
use crate::stored::{self, EndChildrenV1, MarkV1, Record as _};

/// Rows in one commit, so that nobody waits long behind them.
const ROWS: usize = 500;
const RETENTION_EVERY: Duration = Duration::from_secs(60);
const AFTER_ERROR: Duration = Duration::from_secs(5);

pub(crate) async fn run(shared: &Shared, stop: &CancellationToken) {
    let wake = shared.lock().chores.clone();
    loop {
        let pause = match all(shared).await {
            Ok(()) => RETENTION_EVERY,
            Err(WorkflowError::Closing) => return,
            Err(error) => {
                tracing::warn!(error = archipel_rt::chain(&error), "workflow chores wait");
                AFTER_ERROR
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = wake.notified() => {}
            () = clock::sleep(pause) => {}
        }
    }
}

async fn all(shared: &Shared) -> Result<(), WorkflowError> {
    for (record, entry) in shared.kv.list_all("t/").await? {
        let end = EndChildrenV1::read(&record, &entry.value)?;
        if let Some(key) = record.strip_prefix("t/").and_then(Key::from_path)
            && !shared.elsewhere(&key)
        {
            end_children(shared, &key, end.output).await?;
        }
    }
    for (record, entry) in shared.kv.list_all("g/").await? {
        let mark = MarkV1::read(&record, &entry.value)?;
        if let Some(key) = record.strip_prefix("g/").and_then(Key::from_path)
            && !shared.elsewhere(&key)
        {
            sweep(shared, &key, &mark, &record).await?;
        }
    }
    retain(shared).await
}

/// The children of an instance that was not there to be told.
async fn end_children(
    shared: &Shared,
    key: &Key,
    output: Option<String>,
) -> Result<(), WorkflowError> {
    let children = shared.stored_children(key).await?;
    let durable = shared.change(|state, unit| {
        for child in &children {
            state.end(child, output.clone(), unit);
        }
        unit.delete(stored::end_children_key(key));
    });
    durable.wait().await
}

async fn sweep(
    shared: &Shared,
    key: &Key,
    mark: &MarkV1,
    record: &str,
) -> Result<(), WorkflowError> {
    for table in ['h', 'q'] {
        let prefix = stored::rows_prefix(table, key);
        loop {
            let rows = shared.kv.list(&prefix, None, ROWS).await?;
            let old = |row: &&String| {
                stored::row_of(row).is_some_and(|(incarnation, _)| incarnation < mark.incarnation)
            };
            let old: Vec<_> = rows.iter().map(|(row, _)| row).filter(old).cloned().collect();
            if old.is_empty() {
                break;
            }
            shared
                .change(|_, unit| old.into_iter().for_each(|row| unit.delete(row)))
                .wait()
                .await?;
        }
    }
    // A newer mark may have come in the meantime; it stays, and its own call comes later.
    let now = shared.kv.get(record).await?;
    let durable = shared.change(|state, unit| {
        let newer = state.active.get(key).is_some_and(|i| i.incarnation > mark.incarnation);
        let same = now.is_some_and(|e| MarkV1::read(record, &e.value).is_ok_and(|m| m == *mark));
        if same && !newer {
            unit.delete(record.to_owned());
        }
    });
    durable.wait().await
}

/// Purges what ended longer ago than it is kept.
async fn retain(shared: &Shared) -> Result<(), WorkflowError> {
    let Some(kept) = shared.config.retention else { return Ok(()) };
    let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
    let until = clock::wall_ms().saturating_sub(kept);
    loop {
        let ended = shared.kv.list("d/", None, ROWS).await?;
        let mut done = true;
        for (record, _) in &ended {
            let Some((end, path)) = record.strip_prefix("d/").and_then(|r| r.split_once('/'))
            else {
                continue;
            };
            if u64::from_str_radix(end, 16).is_ok_and(|end| end > until) {
                return Ok(());
            }
            done = false;
            if let Some(key) = Key::from_path(path) {
                shared.forget_ended(&key, record).await?;
            }
        }
        if done {
            return Ok(());
        }
    }
}
