//! Writing: what changed in memory becomes durable, in the order in which it changed, and only
//! then has effects.
//!
//! Every change of the engine's state makes one [`Unit`] under the state's lock: the writes that
//! belong together and what may happen once they are durable (an activity begins, a client is
//! answered, a state is shown). One task takes all units that are waiting, merges their writes
//! and commits them as one transaction; a key that several of them wrote is written once. So a
//! sync is paid per batch and not per turn, and batches grow by themselves under load.
//!
//! The order is what makes it correct. Memory is ahead of the disk, but nothing outside has seen
//! it, and after a crash the disk is at a moment through which memory went.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::{Expect, Kv, KvError, Retry, Tx, Version};
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::error::WorkflowError;
use crate::stored;

/// Of one transaction; a unit that is larger goes alone.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_UNITS: usize = 4_096;
/// So far may memory be ahead of the disk with what nobody waits for.
const AHEAD_UNITS: usize = 2_048;
const AHEAD_BYTES: usize = 16 << 20;
const TX_BYTES_MAX: usize = archipel_storage::BATCH_BYTES_MAX as usize;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What happens together or not at all, and what follows from it.
#[derive(Debug)]
pub(crate) struct Unit<E> {
    writes: Vec<(String, Option<Bytes>)>,
    effects: Vec<E>,
    waiting: Option<oneshot::Sender<()>>,
    /// Others who have the store open are to look.
    ring: bool,
}

impl<E> Default for Unit<E> {
    fn default() -> Self {
        Self { writes: Vec::new(), effects: Vec::new(), waiting: None, ring: false }
    }
}

impl<E> Unit<E> {
    pub(crate) fn put(&mut self, key: String, value: Bytes) {
        self.writes.push((key, Some(value)));
    }

    pub(crate) fn delete(&mut self, key: String) {
        self.writes.push((key, None));
    }

    pub(crate) fn then(&mut self, effect: E) {
        self.effects.push(effect);
    }

    pub(crate) fn ring(&mut self) {
        self.ring = true;
    }

    fn bytes(&self) -> usize {
        self.writes.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Bytes::len)).sum()
    }
}

/// Answered when a unit is durable and its effects have begun.
#[derive(Debug)]
pub(crate) struct Durable(oneshot::Receiver<()>);

impl Durable {
    pub(crate) async fn wait(self) -> Result<(), WorkflowError> {
        self.0.await.map_err(|_| WorkflowError::Closing)
    }
}

/// What became of a unit that nobody has to wait for.
#[derive(Debug)]
pub(crate) enum Taken {
    InLine,
    /// The disk is far behind: whoever brings more is to wait.
    Late(Durable),
    /// Nothing is written any more.
    Refused,
}

impl Taken {
    pub(crate) async fn wait(self) -> Result<(), WorkflowError> {
        match self {
            Self::InLine => Ok(()),
            Self::Late(durable) => durable.wait().await,
            Self::Refused => Err(WorkflowError::Closing),
        }
    }
}

/// Why nothing is committed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Stopped,
    Fenced,
}

/// Units on their way. Bounded by those who make them: each of them waits for its own, or does
/// when there are more than [`AHEAD_UNITS`] already.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    line: Mutex<Option<Line<E>>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Line<E> {
    units: VecDeque<Unit<E>>,
    bytes: usize,
}

impl<E> Line<E> {
    fn push(&mut self, unit: Unit<E>) {
        self.bytes += unit.bytes();
        self.units.push_back(unit);
    }
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        let line = Line { units: VecDeque::new(), bytes: 0 };
        Self { line: Mutex::new(Some(line)), arrived: Notify::new() }
    }

    /// To be called under the lock of the state that the unit describes.
    pub(crate) fn push(&self, mut unit: Unit<E>) -> Durable {
        let (sender, receiver) = oneshot::channel();
        unit.waiting = Some(sender);
        if let Some(line) = &mut *self.lock() {
            line.push(unit);
        }
        self.arrived.notify_one();
        Durable(receiver)
    }

    /// [`Queue::push`] for what may be lost again with a crash, because it is then done again.
    pub(crate) fn push_ahead(&self, unit: Unit<E>) -> Taken {
        let mut line = self.lock();
        let Some(open) = &mut *line else { return Taken::Refused };
        if open.units.len() >= AHEAD_UNITS || open.bytes >= AHEAD_BYTES {
            drop(line);
            return Taken::Late(self.push(unit));
        }
        open.push(unit);
        drop(line);
        self.arrived.notify_one();
        Taken::InLine
    }

    /// Commits until `stop`, then what is left, and refuses what comes later. Every commit expects
    /// what `fence` says. When that does not hold any more, nothing that was in memory counts:
    /// whoever calls takes what waits out of the line ([`Queue::discard`]), and runs it again.
    pub(crate) async fn run(
        &self,
        kv: &dyn Kv,
        stop: &CancellationToken,
        fence: impl Fn() -> Option<(String, Version)>,
        mut effect: impl FnMut(Vec<E>),
    ) -> Ended {
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                if stop.is_cancelled() {
                    if self.close() {
                        return Ended::Stopped;
                    }
                    continue;
                }
                tokio::select! {
                    biased;
                    () = self.arrived.notified() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
            match write(kv, &batch, fence(), stop).await {
                Written::Yes => {}
                Written::Never => {
                    self.lock().take();
                    return Ended::Stopped;
                }
                Written::Fenced => return Ended::Fenced,
            }
            let mut effects = Vec::new();
            let mut waiting = Vec::new();
            for unit in batch {
                effects.extend(unit.effects);
                waiting.extend(unit.waiting);
            }
            effect(effects);
            // Nobody may be interested any more.
            for answer in waiting {
                let _ = answer.send(());
            }
        }
    }

    /// Nothing of what waits will be written. To be called under the lock of the state.
    pub(crate) fn discard(&self) {
        if let Some(line) = &mut *self.lock() {
            line.units.clear();
            line.bytes = 0;
        }
    }

    fn next_batch(&self) -> Vec<Unit<E>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        if let Some(line) = &mut *self.lock() {
            while let Some(unit) = line.units.front() {
                let own = unit.bytes();
                if batch.len() >= BATCH_UNITS || (bytes + own > BATCH_BYTES && !batch.is_empty()) {
                    break;
                }
                bytes += own;
                batch.extend(line.units.pop_front());
            }
            line.bytes -= bytes;
        }
        batch
    }

    /// False when something came in between.
    fn close(&self) -> bool {
        let mut line = self.lock();
        let empty = line.as_ref().is_none_or(|line| line.units.is_empty());
        if empty {
            *line = None;
        }
        empty
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Line<E>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Written {
    Yes,
    Never,
    /// This process may not write any more what it had in memory.
    Fenced,
}

/// The writes of all, the last one of each key, in the order of the keys: neighbours in the store
/// are written one after the other. One transaction, unless a single unit is more than the store
/// takes at once: an engine that refused it could never write anything again. Then what nobody
/// finds yet comes first, and last what makes it count, so that a crash in between leaves the
/// rows of something that has not happened, or repeats a message.
fn merged<E>(batch: &[Unit<E>], fence: Option<&(String, Version)>) -> Vec<Tx> {
    let mut last: BTreeMap<&str, &Option<Bytes>> = BTreeMap::new();
    for (key, value) in batch.iter().flat_map(|unit| &unit.writes) {
        match last.entry(key) {
            Entry::Vacant(free) => drop(free.insert(value)),
            // It came and went within this batch: the store need never have heard of it.
            Entry::Occupied(put) if value.is_none() && stored::is_written_once(key) => {
                put.remove();
            }
            Entry::Occupied(mut before) => drop(before.insert(value)),
        }
    }
    let size =
        |(key, value): (&&str, &&Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len);
    let mut writes: Vec<_> = last.iter().map(|(key, value)| (*key, *value)).collect();
    let fits = last.iter().map(size).sum::<usize>() <= TX_BYTES_MAX;
    if !fits {
        writes.sort_by_key(|(key, value)| (value.is_none(), stored::rank(key)));
    }
    let begin = || match fence {
        Some((key, version)) => Tx::new().expect(key, Expect::Version(*version)),
        None => Tx::new(),
    };
    let (mut all, mut tx, mut bytes) = (Vec::new(), begin(), 0);
    for (key, value) in writes {
        let own = size((&key, &value));
        if bytes > 0 && bytes + own > TX_BYTES_MAX {
            all.push(std::mem::replace(&mut tx, begin()));
            bytes = 0;
        }
        bytes += own;
        tx = match value {
            Some(value) => tx.put(key, value.clone()),
            None => tx.delete(key),
        };
    }
    tx.ring = batch.iter().any(|unit| unit.ring);
    all.push(tx);
    all
}

/// Until it is written: going on without would break the order.
async fn write<E>(
    kv: &dyn Kv,
    batch: &[Unit<E>],
    fence: Option<(String, Version)>,
    stop: &CancellationToken,
) -> Written {
    if batch.iter().all(|unit| unit.writes.is_empty()) {
        return Written::Yes;
    }
    for tx in merged(batch, fence.as_ref()) {
        match write_one(kv, tx, stop).await {
            Written::Yes => {}
            other => return other,
        }
    }
    Written::Yes
}

async fn write_one(kv: &dyn Kv, tx: Tx, stop: &CancellationToken) -> Written {
    let mut pause = RETRY_FIRST;
    loop {
        // The same writes again have the same effect, so an attempt that may have happened is
        // repeated like one that has not.
        let Err(error) = kv.commit(tx.clone()).await else {
            return Written::Yes;
        };
        if matches!(error, KvError::Conflict { .. }) && !stop.is_cancelled() {
            return Written::Fenced;
        }
        let text = archipel_rt::chain(&error);
        if error.retry() == Retry::Never || stop.is_cancelled() {
            tracing::error!(error = text, "workflows stop: their store cannot be written");
            return Written::Never;
        }
        tracing::warn!(error = text, "workflows wait: their store cannot be written");
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = clock::sleep(pause) => {}
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}
