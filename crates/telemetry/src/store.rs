//! The store: one writer, many readers.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use archipel_model::{InstanceId, LogPolicy, ServiceName};
use archipel_rt::clock::{self, Instant};
use archipel_rt::{CancellationToken, Receiver, Sender, Tasks, blocking, channel};
use futures_util::stream::{self, Stream};
use tokio::sync::{broadcast, oneshot};

use crate::join;
use crate::parse;
use crate::query::{self, Filter};
use crate::record::{Line, LogRecord};
use crate::segment::{self, Segments};

/// Lines that may wait for the disk.
const QUEUE: usize = 16 << 10;
/// Lines written with one turn of the writer.
const BATCH: usize = 2 << 10;
/// How long a record waits for the rest of its stack trace.
const JOIN_WAIT: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
#[error("could not open the logs in {}", path.display())]
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
    dropped: Arc<AtomicU64>,
    live: broadcast::Sender<Arc<LogRecord>>,
}

enum Command {
    Line(Line),
    Policies(BTreeMap<ServiceName, LogPolicy>),
    Flush(oneshot::Sender<()>),
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
        let (live, _) = broadcast::channel(4 << 10);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            root: root.clone(),
            files: BTreeMap::new(),
            policies: BTreeMap::new(),
            pending: BTreeMap::new(),
            dropped: dropped.clone(),
            live: live.clone(),
            failing: false,
        };
        tasks.spawn("telemetry.writer", writer.run(receiver, tasks.stop_token()));
        Ok(Self { root, commands, dropped, live })
    }

    /// Takes a line. Never waits: a line that finds the queue full is dropped and counted.
    pub fn take(&self, line: Line) {
        if self.commands.try_send(Command::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How much is kept of each service; others get the default.
    pub async fn apply(&self, policies: BTreeMap<ServiceName, LogPolicy>) {
        let _ = self.commands.send(Command::Policies(policies)).await;
    }

    /// Returns when everything taken so far can be found.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// The last `tail` records that `filter` takes, oldest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn last(&self, filter: &Filter, tail: usize) -> io::Result<Vec<LogRecord>> {
        self.flush().await;
        let (root, filter) = (self.root.clone(), filter.clone());
        blocking(move || query::last(&root, &filter, tail)).await
    }

    /// The last `tail` records and then every new one, without a gap between them. A reader that
    /// is too slow for what services print misses records; it is never waited for.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn follow(
        &self,
        filter: Filter,
        tail: usize,
    ) -> io::Result<impl Stream<Item = Arc<LogRecord>> + Send + 'static> {
        // First listen, then read: what is written in between is in both, and told once.
        let receiver = self.live.subscribe();
        let past = self.last(&filter, tail).await?;
        let newest = past.last().map_or(0, |record| record.at_ms);
        let overlap: Vec<LogRecord> =
            past.iter().filter(|record| record.at_ms == newest).cloned().collect();
        let state = (receiver, filter, newest, overlap);
        let live = stream::unfold(state, |(mut receiver, filter, newest, overlap)| async move {
            loop {
                match receiver.recv().await {
                    Ok(record) => {
                        let told = record.at_ms < newest
                            || record.at_ms == newest && overlap.contains(&record);
                        if !told && filter.takes(&record) {
                            return Some((record, (receiver, filter, newest, overlap)));
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let past = stream::iter(past.into_iter().map(Arc::new));
        Ok(futures_util::StreamExt::chain(past, live))
    }
}

struct Pending {
    record: LogRecord,
    since: Instant,
}

struct Writer {
    root: PathBuf,
    files: BTreeMap<ServiceName, Segments>,
    policies: BTreeMap<ServiceName, LogPolicy>,
    /// The latest record of each stream, which may still grow.
    pending: BTreeMap<(InstanceId, crate::Stream), Pending>,
    dropped: Arc<AtomicU64>,
    live: broadcast::Sender<Arc<LogRecord>>,
    /// The disk refuses: said once, until it takes something again.
    failing: bool,
}

impl Writer {
    async fn run(mut self, mut commands: Receiver<Command>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = self.pending.values().map(|pending| pending.since + JOIN_WAIT).min();
            let due = due.unwrap_or_else(|| clock::now() + Duration::from_secs(3_600));
            tokio::select! {
                biased;
                count = commands.recv_many(&mut batch, BATCH) => if count == 0 { break },
                () = clock::sleep_until(due), if !self.pending.is_empty() => {}
                () = stop.cancelled() => break,
            }
            self.turn(&mut batch);
        }
        while commands.recv_many(&mut batch, BATCH).await > 0 && !batch.is_empty() {
            self.turn(&mut batch);
            if commands.is_empty() {
                break;
            }
        }
        self.finish_pending(true);
    }

    fn turn(&mut self, batch: &mut Vec<Command>) {
        let mut done = Vec::new();
        let mut finished = Vec::new();
        for command in batch.drain(..) {
            match command {
                Command::Line(line) => finished.extend(self.take(line)),
                Command::Policies(policies) => {
                    for (service, segments) in &mut self.files {
                        segments.set_policy(policies.get(service).copied().unwrap_or_default());
                    }
                    self.policies = policies;
                }
                Command::Flush(wait) => done.push(wait),
            }
        }
        self.write(finished);
        self.finish_pending(!done.is_empty());
        self.tell_dropped();
        for wait in done {
            let _ = wait.send(());
        }
    }

    /// Joins the line to the record it belongs to; gives the record that is complete by it.
    fn take(&mut self, line: Line) -> Option<LogRecord> {
        let key = (line.instance.clone(), line.stream);
        if let Some(pending) = self.pending.get_mut(&key)
            && join::continues(&pending.record, &line.text)
        {
            pending.record.message.push('\n');
            pending.record.message.push_str(&line.text);
            return None;
        }
        let parsed = parse::line(&line.text);
        let record = LogRecord {
            at_ms: line.at_ms,
            instance: line.instance,
            stream: line.stream,
            level: parsed.level,
            message: parsed.message,
            trace_id: parsed.trace_id,
            span_id: parsed.span_id,
            fields: parsed.fields,
        };
        // A structured line is complete by itself.
        if line.text.starts_with('{') {
            let before = self.pending.remove(&key).map(|pending| pending.record);
            self.write(before.into_iter().collect());
            return Some(record);
        }
        let pending = Pending { record, since: clock::now() };
        self.pending.insert(key, pending).map(|pending| pending.record)
    }

    fn finish_pending(&mut self, all: bool) {
        let now = clock::now();
        let over: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| all || pending.since + JOIN_WAIT <= now)
            .map(|(key, _)| key.clone())
            .collect();
        let records =
            over.iter().filter_map(|key| self.pending.remove(key)).map(|pending| pending.record);
        let mut records: Vec<LogRecord> = records.collect();
        records.sort_by_key(|record| record.at_ms);
        self.write(records);
    }

    fn tell_dropped(&self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "lines came faster than the disk takes them; some are lost");
        }
    }

    fn write(&mut self, records: Vec<LogRecord>) {
        let mut by_service: BTreeMap<ServiceName, (u64, Vec<u8>)> = BTreeMap::new();
        for record in &records {
            let (_, lines) = by_service
                .entry(record.instance.service.clone())
                .or_insert_with(|| (record.at_ms, Vec::new()));
            if serde_json::to_writer(&mut *lines, record).is_ok() {
                lines.push(b'\n');
            }
        }
        for (service, (at_ms, lines)) in by_service {
            match self.append(&service, &lines, at_ms) {
                Ok(()) => self.failing = false,
                Err(error) if !self.failing => {
                    self.failing = true;
                    tracing::error!(%service, %error, "could not write logs; lines are lost until it works again");
                }
                Err(_) => {}
            }
        }
        for record in records {
            // Nobody follows: fine.
            let _ = self.live.send(Arc::new(record));
        }
    }

    fn append(&mut self, service: &ServiceName, lines: &[u8], at_ms: u64) -> io::Result<()> {
        if !self.files.contains_key(service) {
            let policy = self.policies.get(service).copied().unwrap_or_default();
            let segments = Segments::open(self.root.join(service.as_str()), policy)?;
            self.files.insert(service.clone(), segments);
        }
        let segments = self.files.get_mut(service).expect("opened just now");
        // Pieces of at most a segment, cut at line ends, so that no file grows beyond its size.
        let mut rest = lines;
        while !rest.is_empty() {
            let end = piece(rest);
            segments.append(&rest[..end], at_ms)?;
            rest = &rest[end..];
        }
        Ok(())
    }
}

fn piece(lines: &[u8]) -> usize {
    let max = usize::try_from(segment::SEGMENT_BYTES / 4).unwrap_or(usize::MAX);
    if lines.len() <= max {
        return lines.len();
    }
    let end = lines[..max].iter().rposition(|byte| *byte == b'\n');
    match end {
        Some(end) => end + 1,
        None => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1),
    }
}
