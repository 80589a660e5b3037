//! The span store as others hold it: spans go in without waiting, answers come out.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use archipel_model::Sampling;
use archipel_rt::{Sender, Tasks, blocking, channel};
use tokio::sync::{Notify, oneshot};

use super::files::Group;
use super::hop::Hop;
use super::model::Span;
use super::thin;
use super::writer::Writer;
use crate::export::Exporter;
use crate::{OpenError, turns};

/// Spans that may wait for the disk.
const QUEUE: usize = 64 << 10;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct SpanPolicy {
    pub bytes_max: u64,
    pub age_max: Duration,
    /// What stays when old spans make room.
    pub sample: Sampling,
}

impl Default for SpanPolicy {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            age_max: Duration::from_secs(7 * 24 * 3600),
            sample: Sampling::default(),
        }
    }
}

impl SpanPolicy {
    /// What is deleted is a whole file: a small budget gets small ones.
    pub(crate) fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 8).clamp(64 << 10, 64 << 20)
    }
}

pub(crate) enum Command {
    Spans(Vec<Span>),
    Hops(Vec<Hop>),
    /// Answered when all spans before it can be found.
    Flush(oneshot::Sender<()>),
}

/// All groups; replaced as a whole by the writer alone.
#[derive(Default)]
pub(crate) struct Groups {
    pub(crate) sealed: Vec<Arc<Group>>,
    pub(crate) tail: Vec<Arc<Group>>,
}

#[derive(Default)]
pub(crate) struct Shared {
    groups: Mutex<Groups>,
    queued: AtomicUsize,
    pub(crate) stored: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) copies: OnceLock<Exporter>,
    /// A file is.
    pub(crate) full: Notify,
}

impl Shared {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Groups)) {
        change(&mut self.groups.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn taken(&self, spans: usize) {
        self.queued.fetch_sub(spans, Relaxed);
    }

    /// Oldest first.
    fn all(&self) -> Vec<Arc<Group>> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.sealed.iter().chain(&groups.tail).cloned().collect()
    }
}

/// What passed through the store since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanCounts {
    pub stored: u64,
    /// Came faster than they could be stored, or could not be written.
    pub dropped: u64,
}

/// Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct SpanStore {
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

impl SpanStore {
    /// Opens the store in `dir` and starts its writer in `tasks`. Blocks while it reads the
    /// indexes of what is there.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(dir: PathBuf, policy: SpanPolicy, tasks: &Tasks) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let thinned = dir.clone();
        let writer = Writer::open(dir.clone(), policy, shared.clone())
            .map_err(|source| OpenError { path: dir, source })?;
        let (commands, receiver) = channel("telemetry.spans", 1024);
        let thinning = thin::run(thinned, policy, shared.clone(), tasks.stop_token());
        tasks.spawn("telemetry.thinning", thinning);
        tasks.spawn("telemetry.spans", turns::run(writer, receiver, tasks.stop_token()));
        Ok(Self { commands, shared })
    }

    /// Takes spans, all or none. Never waits: `false` when there is no room, and then they are
    /// counted as dropped.
    pub fn take(&self, spans: Vec<Span>) -> bool {
        self.put(spans.len(), Command::Spans(spans))
    }

    /// The same for hops.
    pub fn take_hops(&self, hops: Vec<Hop>) -> bool {
        self.put(hops.len(), Command::Hops(hops))
    }

    fn put(&self, count: usize, command: Command) -> bool {
        if count == 0 {
            return true;
        }
        let before = self.shared.queued.fetch_add(count, Relaxed);
        // One batch of any size is taken by an idle store.
        let fits = before == 0 || before + count <= QUEUE;
        if fits && self.commands.try_send(command).is_ok() {
            return true;
        }
        self.shared.taken(count);
        self.shared.dropped.fetch_add(count as u64, Relaxed);
        false
    }

    /// The first one stays.
    pub(crate) fn copy_to(&self, exporter: Exporter) {
        let _ = self.shared.copies.set(exporter);
    }

    pub fn counts(&self) -> SpanCounts {
        SpanCounts {
            stored: self.shared.stored.load(Relaxed),
            dropped: self.shared.dropped.load(Relaxed),
        }
    }

    /// Returns when everything taken so far can be found, and lies on the disk.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.shared.all().iter().map(|group| group.index.body_bytes()).sum()
    }

    /// Asks all groups, off the runtime's threads.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&[Arc<Group>]) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.flush().await;
        let groups = self.shared.all();
        blocking(move || question(&groups)).await
    }
}
