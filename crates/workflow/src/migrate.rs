//! From how rows were kept before to how they are kept now.

use archipel_storage::{Kv, KvError, KvExt as _, Tx};

use crate::error::WorkflowError;
use crate::key::Key;
use crate::stored::{self, ActiveV1, InstanceV1, MarkV1, Record as _};

/// The first had the name of an instance in each key.
const LAYOUT: u64 = 2;
const PAGE: usize = 500;

/// Does nothing but a look where the store is of this layout already. A crash in between is made
/// good by the next start: every step finds only what it has not done yet.
pub(crate) async fn to_this_layout(kv: &dyn Kv) -> Result<(), WorkflowError> {
    if let Some(entry) = kv.get(stored::LAYOUT).await? {
        return match MarkV1::read(stored::LAYOUT, &entry.value)?.incarnation {
            LAYOUT => Ok(()),
            found => Err(WorkflowError::Stored {
                key: stored::LAYOUT.to_owned(),
                reason: format!("its rows have layout {found}; this Archipel knows {LAYOUT}"),
            }),
        };
    }
    if kv.get(stored::META).await?.is_some() {
        tracing::info!("workflows are stored anew, in the layout of this version");
        rows(kv, 'h').await?;
        rows(kv, 'q').await?;
        active(kv).await?;
        ends(kv).await?;
    }
    let mark = MarkV1 { version: 0, incarnation: LAYOUT };
    commit(kv, Tx::new().put(stored::LAYOUT, mark.write())).await
}

/// `h/<app>/<id>/<incarnation>/<row>`; what its instance does not know any more is left out.
async fn rows(kv: &dyn Kv, table: char) -> Result<(), WorkflowError> {
    let mut place: Option<String> = None;
    loop {
        let page = kv.list(&format!("{table}/"), place.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        place = Some(last.clone());
        let mut tx = Tx::new();
        for (old, entry) in &page {
            let [_, app, id, incarnation, row] = old.split('/').collect::<Vec<_>>()[..] else {
                continue;
            };
            tx = tx.delete(old);
            let number = u64::from_str_radix(incarnation, 16).ok();
            if number.is_some() && number == current(kv, app, id).await? {
                tx = tx.put(format!("{table}/{app}/{incarnation}/{row}"), entry.value.clone());
            }
        }
        commit(kv, tx).await?;
    }
}

/// `a/<app>/<id>`, and the marks `g/<app>/<id>`, which are of no use now.
async fn active(kv: &dyn Kv) -> Result<(), WorkflowError> {
    for page in kv.list_all("a/").await?.chunks(PAGE) {
        let mut tx = Tx::new();
        for (old, entry) in page {
            // The others are of this layout already.
            let (Some(key), Ok(mark)) =
                (old.strip_prefix("a/").and_then(Key::from_path), MarkV1::read(old, &entry.value))
            else {
                continue;
            };
            let value = ActiveV1 { id: key.id.to_string(), ..ActiveV1::default() }.write();
            tx = tx.delete(old).put(stored::active_key(&key.app, mark.incarnation), value);
        }
        commit(kv, tx).await?;
    }
    for page in kv.list_all("g/").await?.chunks(PAGE) {
        commit(kv, page.iter().fold(Tx::new(), |tx, (old, _)| tx.delete(old))).await?;
    }
    Ok(())
}

/// `d/<end>/<app>/<id>`, which had no value.
async fn ends(kv: &dyn Kv) -> Result<(), WorkflowError> {
    let mut place: Option<String> = None;
    loop {
        let page = kv.list("d/", place.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        place = Some(last.clone());
        let mut tx = Tx::new();
        for (record, _) in page.iter().filter(|(_, entry)| entry.value.is_empty()) {
            tx = tx.delete(record);
            let [_, end, app, id] = record.split('/').collect::<Vec<_>>()[..] else { continue };
            if let Some(incarnation) = current(kv, app, id).await? {
                let mark = MarkV1 { version: 0, incarnation };
                tx = tx.put(format!("d/{app}/{end}/{id}"), mark.write());
            }
        }
        commit(kv, tx).await?;
    }
}

async fn current(kv: &dyn Kv, app: &str, id: &str) -> Result<Option<u64>, WorkflowError> {
    let name = format!("i/{app}/{id}");
    let Some(entry) = kv.get(&name).await? else { return Ok(None) };
    Ok(Some(InstanceV1::read(&name, &entry.value)?.incarnation))
}

async fn commit(kv: &dyn Kv, tx: Tx) -> Result<(), WorkflowError> {
    match kv.commit(tx).await {
        Ok(_) => Ok(()),
        Err(KvError::Storage(error)) => Err(error.into()),
        // It expects nothing.
        Err(KvError::Conflict { key }) => {
            Err(WorkflowError::Stored { key, reason: "it was changed meanwhile".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use archipel_rt::CancellationToken;
    use archipel_storage::memory::MemoryKv;
    use dapr_durabletask_proto::work_item::Request;

    use super::*;
    use crate::engine::{Config, Engine};
    use crate::survey::NewInstance;

    async fn open(kv: &MemoryKv) -> Engine {
        let kv = Arc::new(kv.clone());
        Engine::open(kv, Config::default(), &CancellationToken::new()).await.expect("opens")
    }

    /// As the first layout had it.
    async fn make_old(kv: &MemoryKv) {
        let mut tx = Tx::new().delete(stored::LAYOUT);
        for (key, entry) in kv.list_all("a/").await.expect("lists") {
            let (_, incarnation) = stored::execution_of(&key).expect("of an execution");
            let id = ActiveV1::read(&key, &entry.value).expect("reads").id;
            let mark = MarkV1 { version: 0, incarnation };
            let id = id.replace('/', "%2F");
            let record = InstanceV1 { incarnation, ..InstanceV1::default() };
            tx = tx.put(format!("i/orders/{id}"), record.write());
            tx = tx.delete(&key).put(format!("a/orders/{id}"), mark.clone().write());
            tx = tx.put(format!("g/orders/{id}"), mark.write());
            for (row, entry) in kv.list_all("q/").await.expect("lists") {
                if let Some(tail) = row.strip_prefix(&format!("q/orders/{incarnation:016x}/")) {
                    let old = format!("q/orders/{id}/{incarnation:016x}/{tail}");
                    let garbage = format!("q/orders/{id}/{:016x}/{tail}", 0);
                    tx = tx.delete(&row).put(old, entry.value.clone()).put(garbage, entry.value);
                }
            }
        }
        kv.commit(tx).await.expect("written");
    }

    #[tokio::test]
    async fn what_an_earlier_version_stored_goes_on() {
        let kv = MemoryKv::default();
        let engine = open(&kv).await;
        for id in ["a", "b/c"] {
            let (name, id) = ("steps".to_owned(), id.to_owned());
            let new = NewInstance { name, id, ..NewInstance::default() };
            engine.start("orders", new).await.expect("started");
        }
        engine.shutdown(Duration::from_secs(5)).await;
        make_old(&kv).await;

        let engine = open(&kv).await;
        let mut worker = engine.connect("orders", false);
        let mut found = Vec::new();
        for _ in 0..2 {
            let item = worker.next().await.expect("a turn");
            let Some(Request::WorkflowRequest(turn)) = item.request else { panic!("{item:?}") };
            assert_eq!(turn.new_events.len(), 2, "its start alone: {turn:?}");
            found.push(turn.instance_id);
        }
        found.sort();
        assert_eq!(found, ["a", "b/c"]);
        let left = kv.list_all("q/").await.expect("lists");
        assert_eq!(left.len(), 2, "what nobody knows of is gone: {left:?}");
    }
}
