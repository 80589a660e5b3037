//! Keys and values in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::Faults;
use crate::{Entry, Expect, Kv, KvError, LIST_BYTES_MAX, StorageError, Tx, Version, Write};

const STORE: &str = "memory";

#[derive(Debug, Clone, Default)]
pub struct MemoryKv {
    state: Arc<Mutex<State>>,
    faults: Faults,
    closed: Arc<AtomicBool>,
    rung: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    version: u64,
}

impl MemoryKv {
    pub fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The same entries, open again, as after a restart.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self { closed: Arc::default(), ..self.clone() }
    }

    fn check_open(&self) -> Result<(), StorageError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed { store: STORE.to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl Kv for MemoryKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        self.check_open()?;
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).entries.get(key).cloned())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Entry)>, StorageError> {
        self.check_open()?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let found = state
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take_while(|(_, entry)| {
                let room = bytes < LIST_BYTES_MAX;
                bytes += entry.value.len();
                room
            })
            .take(max)
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        Ok(found)
    }

    async fn commit(&self, tx: Tx) -> Result<Version, KvError> {
        tx.check()?;
        let ring = tx.ring;
        let done = self
            .faults
            .apply(STORE, || {
                self.check_open()?;
                self.state.lock().unwrap_or_else(PoisonError::into_inner).commit(tx)
            })
            .await;
        if ring && done.is_ok() {
            self.rung.send_modify(|count| *count += 1);
        }
        done
    }

    fn bell(&self) -> Option<watch::Receiver<u64>> {
        Some(self.rung.subscribe())
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl State {
    fn commit(&mut self, tx: Tx) -> Result<Version, KvError> {
        for (key, expect) in tx.expects {
            let found = self.entries.get(&key).map(|entry| entry.version);
            let holds = match expect {
                Expect::Absent => found.is_none(),
                Expect::Version(version) => found == Some(version),
            };
            if !holds {
                return Err(KvError::Conflict { key });
            }
        }
        self.version += 1;
        let version = Version(self.version);
        for write in tx.writes {
            match write {
                Write::Put { key, value } => {
                    self.entries.insert(key, Entry { value, version });
                }
                Write::Delete { key } => {
                    self.entries.remove(&key);
                }
            }
        }
        Ok(version)
    }
}
