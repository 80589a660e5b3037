//! Logs in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archipel_rt::clock;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::Faults;
use crate::log::{check_batch, check_name};
use crate::{
    Appended, Bounds, DEDUPE_WINDOW, Log, Logs, ReadLimit, Record, RecordKey, Seq, StorageError,
    Stored,
};

const STORE: &str = "memory";

#[derive(Debug, Clone)]
pub struct MemoryLogs {
    logs: Arc<Mutex<BTreeMap<String, Arc<Shared>>>>,
    faults: Faults,
    /// Of this opening only; what is stored outlives it.
    closed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    state: Mutex<State>,
    bounds: watch::Sender<Bounds>,
}

#[derive(Debug, Default)]
struct State {
    first: u64,
    records: VecDeque<Row>,
    bytes: u64,
    keys: HashMap<RecordKey, u64>,
}

#[derive(Debug)]
struct Row {
    at_ms: u64,
    key: Option<RecordKey>,
    bytes: Bytes,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    faults: Faults,
    closed: Arc<AtomicBool>,
}

impl Default for MemoryLogs {
    fn default() -> Self {
        Self::new(Faults::default())
    }
}

impl MemoryLogs {
    pub fn new(faults: Faults) -> Self {
        Self { logs: Arc::default(), faults, closed: Arc::default() }
    }

    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The same logs, open again, as after a restart.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self { closed: Arc::default(), ..self.clone() }
    }
}

fn check_open(closed: &AtomicBool) -> Result<(), StorageError> {
    if closed.load(Ordering::Acquire) {
        return Err(StorageError::Closed { store: STORE.to_owned() });
    }
    Ok(())
}

#[async_trait]
impl Logs for MemoryLogs {
    async fn open(&self, name: &str) -> Result<Arc<dyn Log>, StorageError> {
        check_open(&self.closed)?;
        check_name(name)?;
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = logs.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Shared {
                name: name.to_owned(),
                state: Mutex::new(State { first: 1, ..State::default() }),
                bounds: watch::Sender::new(Bounds::EMPTY),
            })
        });
        Ok(Arc::new(Handle {
            shared: Arc::clone(shared),
            faults: self.faults.clone(),
            closed: Arc::clone(&self.closed),
        }))
    }

    async fn names(&self) -> Result<Vec<String>, StorageError> {
        check_open(&self.closed)?;
        Ok(self.logs.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect())
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

#[async_trait]
impl Log for Handle {
    fn name(&self) -> &str {
        &self.shared.name
    }

    async fn append(&self, batch: Vec<Record>) -> Result<Appended, StorageError> {
        check_batch(self.name(), &batch)?;
        self.faults
            .apply(STORE, || {
                check_open(&self.closed)?;
                Ok(self.shared.append(batch))
            })
            .await
    }

    async fn read(&self, from: Seq, limit: ReadLimit) -> Result<Vec<Stored>, StorageError> {
        check_open(&self.closed)?;
        let state = self.shared.state();
        let skip = usize::try_from(from.0.saturating_sub(state.first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut found = Vec::new();
        for (i, row) in state.records.iter().enumerate().skip(skip).take(limit.records) {
            bytes += row.bytes.len() as u64;
            if bytes > limit.bytes && !found.is_empty() {
                break;
            }
            let seq = Seq(state.first + i as u64);
            found.push(Stored { seq, at_ms: row.at_ms, bytes: row.bytes.clone() });
        }
        Ok(found)
    }

    async fn seek(&self, at_ms: u64) -> Result<Seq, StorageError> {
        check_open(&self.closed)?;
        let state = self.shared.state();
        let before = state.records.partition_point(|row| row.at_ms < at_ms);
        Ok(Seq(state.first + before as u64))
    }

    async fn truncate_before(&self, seq: Seq) -> Result<(), StorageError> {
        self.faults
            .apply(STORE, || {
                check_open(&self.closed)?;
                self.shared.truncate_before(seq);
                Ok(())
            })
            .await
    }

    fn bounds(&self) -> watch::Receiver<Bounds> {
        self.shared.bounds.subscribe()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, batch: Vec<Record>) -> Appended {
        let mut state = self.state();
        let last_ms = state.records.back().map_or(0, |row| row.at_ms);
        let at_ms = clock::wall_ms().max(last_ms);
        let mut appended = Appended { seqs: Vec::with_capacity(batch.len()), fresh: 0 };
        for record in batch {
            let next = state.next();
            if let Some(key) = record.key {
                if let Some(&seq) = state.keys.get(&key) {
                    appended.seqs.push(Seq(seq));
                    continue;
                }
                state.keys.insert(key, next);
            }
            state.bytes += record.bytes.len() as u64;
            state.records.push_back(Row { at_ms, key: record.key, bytes: record.bytes });
            state.forget_key_out_of_window();
            appended.seqs.push(Seq(next));
            appended.fresh += 1;
        }
        self.publish(&state);
        appended
    }

    fn truncate_before(&self, seq: Seq) {
        let mut state = self.state();
        while state.first < seq.0
            && let Some(row) = state.records.pop_front()
        {
            state.bytes -= row.bytes.len() as u64;
            if let Some(key) = row.key
                && state.keys.get(&key) == Some(&state.first)
            {
                state.keys.remove(&key);
            }
            state.first += 1;
        }
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        self.bounds.send_replace(Bounds {
            first: Seq(state.first),
            next: Seq(state.next()),
            bytes: state.bytes,
        });
    }
}

impl State {
    fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn forget_key_out_of_window(&mut self) {
        if let Some(out) = self.records.len().checked_sub(DEDUPE_WINDOW + 1)
            && let Some(key) = self.records[out].key
            && self.keys.get(&key) == Some(&(self.first + out as u64))
        {
            self.keys.remove(&key);
        }
    }
}
