//! Reading and changing.

use std::collections::BTreeSet;
use std::sync::Arc;

use archipel_rt::clock;
use archipel_storage::{Entry, Kv, KvError, StorageError, Tx, Version};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};

pub use crate::change::VALUE_BYTES_MAX;
use crate::change::{self, Change, Seen};
use crate::record::Record;
use crate::{Space, StateError};

/// Of one transaction, and of one read of many keys.
pub const TX_CHANGES_MAX: usize = 10_000;
/// Items of one request that are worked on at the same time: enough to share a sync of the disk.
const AT_ONCE: usize = 256;
/// A transaction that others overtake again and again is given up as one that came too late.
const ATTEMPTS_MAX: usize = 16;
/// Of the values of one read of many keys.
const READ_BYTES_MAX: usize = 32 << 20;
/// Owners that are told of at once.
const OWNERS_MAX: usize = 1_000;

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct States {
    pub(crate) kv: Arc<dyn Kv>,
    clock: Clock,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub data: Bytes,
    pub etag: String,
    pub written_ms: u64,
    pub expires_ms: Option<u64>,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub item: Item,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<Listed>,
    /// There may be more after this key.
    pub next: Option<String>,
}

impl States {
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self::with_clock(kv, Arc::new(clock::wall_ms))
    }

    /// For tests that do not wait.
    pub fn with_clock(kv: Arc<dyn Kv>, clock: Clock) -> Self {
        Self { kv, clock }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// # Errors
    /// [`StateError::Key`], or what the storage says.
    pub async fn get(&self, space: &Space, key: &str) -> Result<Option<Item>, StateError> {
        space.check(key)?;
        let Some(entry) = self.kv.get(&space.entry(key)).await? else { return Ok(None) };
        self.item(key, &entry)
    }

    /// Each key for itself, in their order, `at_once` of them at a time. What would make the
    /// answer too large is an error of its key.
    ///
    /// # Errors
    /// A key that is none, or too many: nothing was read.
    pub async fn get_many(
        &self,
        space: &Space,
        keys: &[String],
        at_once: usize,
    ) -> Result<Vec<Result<Option<Item>, StateError>>, StateError> {
        if keys.len() > TX_CHANGES_MAX {
            return Err(StateError::TooMany { count: keys.len(), limit: TX_CHANGES_MAX });
        }
        keys.iter().try_for_each(|key| space.check(key))?;
        // Collected, for a closure over borrowed keys would make the whole no `Send`.
        let reads: Vec<_> = keys.iter().map(|key| self.get(space, key)).collect();
        let mut reads = stream::iter(reads).buffered(at_once.clamp(1, AT_ONCE));
        let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        while let Some(read) = reads.next().await {
            bytes += read.iter().flatten().map(|item| item.data.len()).sum::<usize>();
            found.push(if bytes > READ_BYTES_MAX {
                Err(StateError::Answer { limit: READ_BYTES_MAX })
            } else {
                read
            });
        }
        Ok(found)
    }

    /// Each change by itself: one that fails keeps back no other.
    ///
    /// # Errors
    /// One for all that failed. Of a change that is not valid in itself: nothing was done.
    pub async fn save(&self, space: &Space, changes: &[Change]) -> Result<(), StateError> {
        changes.iter().try_for_each(|change| change.check(space))?;
        let mut keys = BTreeSet::new();
        // The last of two with the same key has to win.
        let alone = changes.iter().all(|change| keys.insert(change.key.as_str()));
        let mut errors = Vec::new();
        for chunk in changes.chunks(if alone { AT_ONCE } else { 1 }) {
            let done: Vec<_> = chunk
                .iter()
                .map(|change| self.commit(space, std::slice::from_ref(change)))
                .collect();
            errors.extend(join_all(done).await.into_iter().filter_map(Result::err));
        }
        StateError::of_several(errors).map_or(Ok(()), Err)
    }

    /// All of the changes or none, in their order. Returns the etag of what was written.
    ///
    /// Dropped before it returns, it may or may not have happened.
    ///
    /// # Errors
    /// [`StateError::Mismatch`] of the first guard that does not hold.
    pub async fn transact(
        &self,
        space: &Space,
        changes: &[Change],
    ) -> Result<Option<String>, StateError> {
        if changes.len() > TX_CHANGES_MAX {
            return Err(StateError::TooMany { count: changes.len(), limit: TX_CHANGES_MAX });
        }
        changes.iter().try_for_each(|change| change.check(space))?;
        Ok(self.commit(space, changes).await?.map(change::etag))
    }

    /// `None`: there was nothing to do.
    async fn commit(
        &self,
        space: &Space,
        changes: &[Change],
    ) -> Result<Option<Version>, StateError> {
        let mut key = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let tx = self.prepare(space, changes).await?;
            if tx.writes.is_empty() && tx.expects.is_empty() {
                return Ok(None);
            }
            match self.kv.commit(tx).await {
                Ok(version) => return Ok(Some(version)),
                // Somebody was faster, perhaps only the sweep: look again.
                Err(KvError::Conflict { key: entry }) => key = Space::key_of(&entry).to_owned(),
                Err(KvError::Storage(StorageError::TooLarge { bytes, limit, .. })) => {
                    return Err(StateError::TooMuch { bytes, limit });
                }
                Err(KvError::Storage(error)) => return Err(error.into()),
            }
        }
        Err(StateError::Mismatch { key })
    }

    async fn prepare(&self, space: &Space, changes: &[Change]) -> Result<Tx, StateError> {
        let reads: Vec<_> = changes.iter().map(|change| self.seen(space, &change.key)).collect();
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        let (mut tx, now_ms) = (Tx::new(), self.now_ms());
        for change in changes {
            let seen = reads.next().await.transpose()?.flatten();
            tx = change::add(tx, space, change, seen.as_ref(), now_ms)?;
        }
        Ok(tx)
    }

    async fn seen(&self, space: &Space, key: &str) -> Result<Option<Seen>, StateError> {
        let Some(entry) = self.kv.get(&space.entry(key)).await? else { return Ok(None) };
        // What cannot be read can still be written over and deleted, by who does not ask for more.
        let record = Record::decode(&entry.value).ok();
        let live = record.as_ref().is_none_or(|record| record.is_live(self.now_ms()));
        let expires_ms = record.and_then(|record| record.expires_ms);
        Ok(Some(Seen { version: entry.version, expires_ms, live }))
    }

    fn item(&self, key: &str, entry: &Entry) -> Result<Option<Item>, StateError> {
        let record = Record::decode(&entry.value)
            .map_err(|reason| StateError::Stored { key: key.to_owned(), reason })?;
        if !record.is_live(self.now_ms()) {
            return Ok(None);
        }
        let Record { written_ms, expires_ms, data } = record;
        Ok(Some(Item { data, etag: change::etag(entry.version), written_ms, expires_ms }))
    }

    /// Keys that begin with `prefix` and come after `after`, in order: one read of at most `max`
    /// entries, some of which may have expired.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn list(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Page, StateError> {
        let after = after.map(|after| space.entry(after));
        let found = self.kv.list(&space.entry(prefix), after.as_deref(), max).await?;
        // A read that was cut short by its bytes also goes on after its last key.
        let next = found.last().map(|(entry, _)| Space::key_of(entry).to_owned());
        let bytes: usize = found.iter().map(|(_, entry)| entry.value.len()).sum();
        let more = found.len() >= max || bytes >= archipel_storage::LIST_BYTES_MAX;
        let items = found.iter().filter_map(|(entry, stored)| {
            let key = Space::key_of(entry).to_owned();
            let item = self.item(&key, stored).ok()??;
            Some(Listed { key, item })
        });
        Ok(Page { items: items.collect(), next: next.filter(|_| more) })
    }

    /// Who has entries in a store, also when it is no service any more; a bounded number of them.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn owners(&self, store: &str) -> Result<Vec<String>, StateError> {
        let (all, mut after) = (Space::entries_of(store), None::<String>);
        let mut owners = Vec::new();
        while owners.len() < OWNERS_MAX {
            let found = self.kv.list(&all, after.as_deref(), 1).await?;
            let Some((entry, _)) = found.into_iter().next() else { break };
            let Some(owner) = Space::owner_of(store, &entry) else { break };
            after = Some(Space::new(store, owner).end());
            owners.push(owner.to_owned());
        }
        Ok(owners)
    }

    pub async fn close(&self) {
        self.kv.close().await;
    }
}
