//! Work without haste, whose order is not that of the commits: taking away the rows of what was
//! replaced or purged, ending the children of instances that have ended, retention.
//!
//! Each chore is a record until it is done, so that a crash only delays it.

use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::KvExt as _;

use crate::engine::Shared;
use crate::error::WorkflowError;
use crate::instance;
use crate::key::{Key, app_prefix};
use crate::state::discard;
use crate::stored::{self, EndChildrenV1, MarkV1, Record as _};

/// Rows in one commit, so that nobody waits long behind them.
const ROWS: usize = 500;
/// Executions whose rows are looked for at once, and instances that are purged in one commit.
const MARKS: usize = 100;
const ENDS: usize = 100;
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
            end_children(shared, &key, end).await?;
        }
    }
    shared.lock().rest_idle();
    sweep(shared).await?;
    retain(shared).await
}

/// The children of an instance that was not there to be told.
async fn end_children(shared: &Shared, key: &Key, end: EndChildrenV1) -> Result<(), WorkflowError> {
    let of = end.of.as_deref().and_then(Key::from_path);
    let state = shared.record(key).await?.and_then(|record| record.state).unwrap_or_default();
    let meant = of.is_none_or(|of| instance::is_child_of(&state, &key.app, &of));
    let children = if meant { shared.stored_children(key).await? } else { Vec::new() };
    let durable = shared.change(|state, unit| {
        for child in &children {
            state.end(child, end.output.clone(), Some(key), unit);
        }
        unit.delete(stored::end_children_key(key));
    });
    durable.wait().await
}

/// The rows of executions that nobody reads again.
async fn sweep(shared: &Shared) -> Result<(), WorkflowError> {
    loop {
        let marks = shared.kv.list("g/", None, MARKS).await?;
        if marks.is_empty() {
            return Ok(());
        }
        let mut old = Vec::new();
        for (mark, _) in marks {
            let Some((app, incarnation)) = stored::execution_of(&mark) else {
                old.push(mark);
                continue;
            };
            let rows = rows_of(shared, &app, incarnation, ROWS - old.len().min(ROWS)).await?;
            let (all, rows) = rows;
            old.extend(rows);
            if !all {
                break;
            }
            old.push(mark);
        }
        shared.change(|_, unit| old.into_iter().for_each(|row| unit.delete(row))).wait().await?;
    }
}

/// At most `max` rows of an execution, and whether those are all.
async fn rows_of(
    shared: &Shared,
    app: &str,
    incarnation: u64,
    max: usize,
) -> Result<(bool, Vec<String>), WorkflowError> {
    let mut found = Vec::new();
    for table in ['h', 'q'] {
        let prefix = stored::rows_prefix(table, app, incarnation);
        loop {
            let after = found.last().filter(|row: &&String| row.starts_with(&prefix)).cloned();
            let page = shared.kv.list(&prefix, after.as_deref(), ROWS).await?;
            if page.is_empty() {
                break;
            }
            if found.len() + page.len() > max {
                found.extend(page.into_iter().map(|(row, _)| row).take(max - found.len()));
                return Ok((false, found));
            }
            found.extend(page.into_iter().map(|(row, _)| row));
        }
    }
    Ok((true, found))
}

/// Purges what ended longer ago than its app keeps it, a bounded number in one commit.
async fn retain(shared: &Shared) -> Result<(), WorkflowError> {
    let mut place: Option<String> = None;
    while let Some((record, _)) = shared.kv.list("d/", place.as_deref(), 1).await?.pop() {
        let Some((_, Key { app, .. })) = stored::end_of(&record) else {
            place = Some(record);
            continue;
        };
        let kept = shared.lock().kept.get(&app).copied().or(shared.config.retention);
        if let Some(kept) = kept {
            let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
            retain_of(shared, &app, clock::wall_ms().saturating_sub(kept)).await?;
        }
        // Behind all of this app: it comes right after the slash.
        place = Some(format!("d/{}", app_prefix(&app).replace('/', "0")));
    }
    Ok(())
}

async fn retain_of(shared: &Shared, app: &str, until: u64) -> Result<(), WorkflowError> {
    let prefix = format!("d/{}", app_prefix(app));
    let mut after: Option<String> = None;
    loop {
        let mut due = Vec::new();
        let page = shared.kv.list(&prefix, after.as_deref(), ENDS).await?;
        let mut all = page.is_empty();
        for (record, entry) in page {
            after = Some(record.clone());
            let Some((ended, key)) = stored::end_of(&record) else { continue };
            if ended > until {
                all = true;
                break;
            }
            if shared.elsewhere(&key) {
                continue;
            }
            let incarnation = MarkV1::read(&record, &entry.value)?.incarnation;
            // It may have been replaced by one that has not ended, or ended later.
            let current = shared.record(&key).await?;
            let current = current.is_some_and(|found| found.incarnation == incarnation);
            due.push((record, key, incarnation, current));
        }
        if !due.is_empty() {
            let durable = shared.change(|state, unit| {
                for (record, key, incarnation, current) in due {
                    if !state.mine(&key) {
                        continue;
                    }
                    unit.delete(record);
                    match state.active.contains_key(&key) || !current {
                        true => discard(&key.app, incarnation, unit),
                        false => state.erase(&key, incarnation, unit),
                    }
                }
            });
            durable.wait().await?;
            sweep(shared).await?;
        }
        if all {
            return Ok(());
        }
    }
}
