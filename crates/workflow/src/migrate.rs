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
    let mut tx = Tx::new();
    for (old, entry) in kv.list_all("a/").await? {
        let Some(key) = old.strip_prefix("a/").and_then(Key::from_path) else { continue };
        let mark = MarkV1::read(&old, &entry.value)?;
        let value = ActiveV1 { version: 0, id: key.id.to_string() }.write();
        tx = tx.delete(old).put(stored::active_key(&key.app, mark.incarnation), value);
    }
    for (old, _) in kv.list_all("g/").await? {
        tx = tx.delete(old);
    }
    commit(kv, tx).await
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
