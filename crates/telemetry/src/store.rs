//! The store as others hold it: lines go in without waiting, records come out.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use archipel_model::{InstanceId, LogPolicy, ServiceName};
use archipel_rt::{Sender, Tasks, blocking, channel};
use futures_util::stream::{self, Stream};
use tokio::sync::{broadcast, oneshot};

use crate::export::Exporter;
use crate::query::{self, Filter, LogCounts};
use crate::record::{Line, LogRecord};
use crate::sealed;
use crate::segment::Marks;
use crate::turns;
use crate::writer::{self, Writer};

/// Lines that may wait for the disk, and what they may weigh.
const QUEUE: usize = 16 << 10;
const QUEUE_BYTES: usize = 32 << 20;
/// Records that a follower may be behind.
const LIVE: usize = 4 << 10;

#[derive(Debug, thiserror::Error)]
#[error("could not open the telemetry in {}", path.display())]
pub struct OpenError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct LogStore {
    root: PathBuf,
    commands: Sender<Command>,
    backlog: Arc<Backlog>,
}

pub(crate) enum Command {
    Line(Line),
    Record(Box<LogRecord>),
    Policies(BTreeMap<ServiceName, LogPolicy>),
    /// Answered when all lines before it are in the files.
    Flush(oneshot::Sender<io::Result<Flushed>>),
}

/// A moment between two writes.
pub(crate) struct Flushed {
    /// How far the files reach.
    pub(crate) marks: Marks,
    /// Every record after that, and none before.
    pub(crate) live: broadcast::Receiver<Arc<LogRecord>>,
}

/// What is on its way to the writer, and what did not make it.
#[derive(Default)]
pub(crate) struct Backlog {
    waiting: Mutex<Waiting>,
    dropped_total: AtomicU64,
    /// Not told yet; touched only when something is dropped.
    dropped: Mutex<BTreeMap<InstanceId, u64>>,
    pub(crate) copies: OnceLock<Exporter>,
}

#[derive(Default)]
struct Waiting {
    all: Load,
    of: BTreeMap<InstanceId, Load>,
}

#[derive(Default, Clone, Copy)]
struct Load {
    lines: usize,
    bytes: usize,
}

impl Backlog {
    /// Whether a line of this size still fits. An instance may have as much waiting as is free
    /// after that: whoever floods loses its own lines, and its neighbours keep theirs.
    fn add(&self, instance: &InstanceId, bytes: usize) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = waiting.of.get(instance).copied().unwrap_or_default();
        let own = Load { lines: own.lines + 1, bytes: own.bytes + bytes };
        let all = Load { lines: waiting.all.lines + 1, bytes: waiting.all.bytes + bytes };
        let fits = all.lines + own.lines <= QUEUE && all.bytes + own.bytes <= QUEUE_BYTES;
        if fits {
            waiting.all = all;
            match waiting.of.get_mut(instance) {
                Some(load) => *load = own,
                None => _ = waiting.of.insert(instance.clone(), own),
            }
        }
        fits
    }

    pub(crate) fn remove(&self, instance: &InstanceId, bytes: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.all.lines = waiting.all.lines.saturating_sub(1);
        waiting.all.bytes = waiting.all.bytes.saturating_sub(bytes);
        let Some(own) = waiting.of.get_mut(instance) else { return };
        own.lines = own.lines.saturating_sub(1);
        own.bytes = own.bytes.saturating_sub(bytes);
        if own.lines == 0 {
            waiting.of.remove(instance);
        }
    }

    fn drop_line(&self, instance: &InstanceId) {
        self.dropped_total.fetch_add(1, Relaxed);
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        match dropped.get_mut(instance) {
            Some(count) => *count += 1,
            None => _ = dropped.insert(instance.clone(), 1),
        }
    }

    pub(crate) fn take_dropped(&self) -> BTreeMap<InstanceId, u64> {
        std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogStore {
    /// Opens the logs below `root` and starts the writer in `tasks`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(root: PathBuf, tasks: &Tasks) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&root)
            .map_err(|source| OpenError { path: root.clone(), source })?;
        let (commands, receiver) = channel("telemetry.lines", QUEUE);
        let (live, _) = broadcast::channel(LIVE);
        let backlog = Arc::new(Backlog::default());
        let writer = Writer::new(root.clone(), Arc::clone(&backlog), live);
        tasks.spawn("telemetry.writer", turns::run(writer, receiver, tasks.stop_token()));
        tasks.spawn("telemetry.sealer", sealed::run(root.clone(), tasks.stop_token()));
        Ok(Self { root, commands, backlog })
    }

    /// Takes a line. Never waits: a line that finds the queue full is dropped and counted, and
    /// the gap is told in the log of its instance.
    pub fn take(&self, mut line: Line) {
        writer::cut(&mut line.text);
        let bytes = line.text.len();
        if !self.backlog.add(&line.instance, bytes) {
            self.backlog.drop_line(&line.instance);
        } else if let Err(Command::Line(line)) = self.commands.try_send(Command::Line(line)) {
            self.backlog.remove(&line.instance, bytes);
            self.backlog.drop_line(&line.instance);
        }
    }

    /// Takes a record that came in one piece; never waits, like [`Self::take`].
    pub fn take_record(&self, mut record: LogRecord) {
        writer::cut(&mut record.message);
        let bytes = writer::weight(&record);
        if !self.backlog.add(&record.instance, bytes) {
            self.backlog.drop_line(&record.instance);
        } else if let Err(Command::Record(record)) =
            self.commands.try_send(Command::Record(Box::new(record)))
        {
            self.backlog.remove(&record.instance, bytes);
            self.backlog.drop_line(&record.instance);
        }
    }

    /// The first one stays.
    pub(crate) fn copy_to(&self, exporter: Exporter) {
        let _ = self.backlog.copies.set(exporter);
    }

    /// Lines that were dropped since the store was opened.
    pub fn dropped(&self) -> u64 {
        self.backlog.dropped_total.load(Relaxed)
    }

    /// How much is kept of each service; others get the default.
    pub async fn apply(&self, policies: BTreeMap<ServiceName, LogPolicy>) {
        let _ = self.commands.send(Command::Policies(policies)).await;
    }

    /// Returns when everything taken so far can be found.
    pub async fn flush(&self) {
        let _ = self.flushed().await;
    }

    /// `None` when the writer has stopped: then the files hold all there is.
    async fn flushed(&self) -> io::Result<Option<Flushed>> {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_err() {
            return Ok(None);
        }
        wait.await.ok().transpose()
    }

    /// The last `tail` records that `filter` takes, oldest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn last(&self, filter: &Filter, tail: usize) -> io::Result<Vec<LogRecord>> {
        self.flush().await;
        self.read(filter, tail, None).await
    }

    /// Counts the records that `filter` takes.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn count(&self, filter: &Filter) -> io::Result<LogCounts> {
        self.flush().await;
        let (root, filter) = (self.root.clone(), filter.clone());
        blocking(move || query::count(&root, &filter)).await
    }

    async fn read(
        &self,
        filter: &Filter,
        tail: usize,
        until: Option<Marks>,
    ) -> io::Result<Vec<LogRecord>> {
        let (root, filter) = (self.root.clone(), filter.clone());
        blocking(move || query::last(&root, &filter, tail, until.as_ref())).await
    }

    /// The last `tail` records and then every new one, each once. A reader that is too slow for
    /// what services print misses records; it is never waited for.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn follow(
        &self,
        filter: Filter,
        tail: usize,
    ) -> io::Result<impl Stream<Item = Arc<LogRecord>> + Send + 'static> {
        // The writer names one moment: what lies in the files by then is the past, what it tells
        // after is new. Comparing times instead would lose lines that come late.
        let (marks, live) = match self.flushed().await? {
            Some(Flushed { marks, live }) => (Some(marks), Some(live)),
            None => (None, None),
        };
        let past = self.read(&filter, tail, marks).await?;
        let live = stream::unfold((live, filter), |(mut live, filter)| async move {
            loop {
                match live.as_mut()?.recv().await {
                    Ok(record) if filter.takes(&record) => return Some((record, (live, filter))),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let past = stream::iter(past.into_iter().map(Arc::new));
        Ok(futures_util::StreamExt::chain(past, live))
    }
}
