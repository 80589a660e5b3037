//! The one writer: understands lines, joins them, appends them, keeps the budget.
//!
//! Its turns run on the blocking pool, because a disk may take its time and the runtime's
//! threads may not; between turns it waits for commands like any other loop.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{InstanceId, LogPolicy, ServiceName};
use archipel_rt::clock::{self, Instant};
use tokio::sync::broadcast;

use crate::record::{Line, LogRecord, Stream};
use crate::segment::{self, Segments};
use crate::store::{Backlog, Command, Flushed};
use crate::turns::Turns;
use crate::{Level, join, parse};

/// How long a record waits for the rest of its stack trace.
const JOIN_WAIT: Duration = Duration::from_millis(50);
/// How often services that print nothing are held to their budget.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// A longer line is cut: it is data, and nobody reads it.
const LINE_BYTES_MAX: usize = 64 << 10;

pub(crate) struct Writer {
    root: PathBuf,
    files: BTreeMap<ServiceName, Segments>,
    policies: BTreeMap<ServiceName, LogPolicy>,
    /// The latest record of each stream, which may still grow.
    pending: BTreeMap<(InstanceId, Stream), Pending>,
    backlog: Arc<Backlog>,
    live: broadcast::Sender<Arc<LogRecord>>,
    tidy_at: Instant,
    /// The disk refuses: said once, until it takes something again.
    failing: bool,
}

struct Pending {
    record: LogRecord,
    since: Instant,
}

/// Shortens a line that is longer than any reader's patience, and says so.
pub(crate) fn cut(text: &mut String) {
    if text.len() > LINE_BYTES_MAX {
        let over = text.len() - LINE_BYTES_MAX;
        let end = (0..=LINE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push_str(&format!("… ({over} more bytes)"));
    }
}

/// What a record that waits is counted as.
pub(crate) fn weight(record: &LogRecord) -> usize {
    let of_field = |(key, value): (&String, &serde_json::Value)| {
        key.len() + value.as_str().map_or(16, str::len)
    };
    record.message.len() + record.fields.iter().map(of_field).sum::<usize>()
}

impl Turns for Writer {
    type Command = Command;
    /// Commands handled with one turn.
    const BATCH: usize = 2 << 10;

    fn due(&self) -> Instant {
        let joined = self.pending.values().map(|pending| pending.since + JOIN_WAIT).min();
        joined.map_or(self.tidy_at, |joined| joined.min(self.tidy_at))
    }

    fn turn(mut self, mut batch: Vec<Command>) -> (Self, Vec<Command>) {
        let mut waiting = Vec::new();
        let mut finished = Vec::new();
        for command in batch.drain(..) {
            match command {
                Command::Line(line) => {
                    self.backlog.remove(&line.instance, line.text.len());
                    self.take(line, &mut finished);
                }
                Command::Record(record) => {
                    self.backlog.remove(&record.instance, weight(&record));
                    finished.push(*record);
                }
                Command::Policies(policies) => {
                    self.policies = policies;
                    for (service, segments) in &mut self.files {
                        segments
                            .set_policy(self.policies.get(service).copied().unwrap_or_default());
                    }
                    self.tidy_at = clock::now();
                }
                Command::Flush(wait) => waiting.push(wait),
            }
        }
        self.tell_dropped(&mut finished);
        self.write(finished);
        self.finish_pending(!waiting.is_empty());
        for wait in waiting {
            let marks = segment::marks(&self.root, &self.files);
            let flushed = marks.map(|marks| Flushed { marks, live: self.live.subscribe() });
            // Whoever asked may have gone.
            let _ = wait.send(flushed);
        }
        if self.tidy_at <= clock::now() {
            self.tidy();
        }
        (self, batch)
    }

    fn finish(mut self) {
        self.finish_pending(true);
    }
}

impl Writer {
    pub(crate) fn new(
        root: PathBuf,
        backlog: Arc<Backlog>,
        live: broadcast::Sender<Arc<LogRecord>>,
    ) -> Self {
        Self {
            root,
            files: BTreeMap::new(),
            policies: BTreeMap::new(),
            pending: BTreeMap::new(),
            backlog,
            live,
            tidy_at: clock::now(),
            failing: false,
        }
    }

    /// Joins the line to the record it belongs to, or begins a new one; what is complete by it
    /// goes to `finished`.
    fn take(&mut self, line: Line, finished: &mut Vec<LogRecord>) {
        let key = (line.instance, line.stream);
        if let Some(pending) = self.pending.get_mut(&key)
            && join::continues(&pending.record, &line.text)
        {
            pending.record.message.push('\n');
            pending.record.message.push_str(&parse::without_ansi(&line.text));
            return;
        }
        finished.extend(self.pending.remove(&key).map(Pending::complete));
        let parsed = parse::line(&line.text);
        let record = LogRecord {
            at_ms: line.at_ms,
            instance: key.0.clone(),
            stream: line.stream,
            level: parsed.level,
            message: parsed.message,
            trace_id: parsed.trace_id,
            span_id: parsed.span_id,
            fields: parsed.fields,
        };
        if parsed.structured {
            // Complete by itself: its trace, if any, is a field.
            finished.push(record);
        } else {
            self.pending.insert(key, Pending { record, since: clock::now() });
        }
    }

    fn finish_pending(&mut self, all: bool) {
        let now = clock::now();
        let over = |pending: &Pending| all || pending.since + JOIN_WAIT <= now;
        let keys: Vec<_> =
            self.pending.iter().filter(|(_, p)| over(p)).map(|(key, _)| key.clone()).collect();
        let ended = keys.iter().filter_map(|key| self.pending.remove(key));
        let mut records: Vec<LogRecord> = ended.map(Pending::complete).collect();
        records.sort_by_key(|record| record.at_ms);
        self.write(records);
    }

    /// The gap stands where the lines would have stood.
    fn tell_dropped(&self, finished: &mut Vec<LogRecord>) {
        for (instance, count) in self.backlog.take_dropped() {
            tracing::warn!(%instance, count, "lines came faster than they could be stored");
            finished.push(LogRecord {
                at_ms: clock::wall_ms(),
                instance,
                stream: Stream::Event,
                level: Some(Level::Warn),
                message: format!(
                    "{count} lines are missing here: they came faster than they could be stored"
                ),
                trace_id: None,
                span_id: None,
                fields: serde_json::Map::new(),
            });
        }
    }

    fn write(&mut self, records: Vec<LogRecord>) {
        let mut by_service: BTreeMap<&ServiceName, (u64, Vec<u8>)> = BTreeMap::new();
        for record in &records {
            let (_, lines) = by_service
                .entry(&record.instance.service)
                .or_insert_with(|| (record.at_ms, Vec::new()));
            let whole = lines.len();
            match serde_json::to_writer(&mut *lines, record) {
                Ok(()) => lines.push(b'\n'),
                Err(_) => lines.truncate(whole),
            }
        }
        for (service, (at_ms, lines)) in by_service {
            match append(&self.root, &mut self.files, &self.policies, service, &lines, at_ms) {
                Ok(()) => self.failing = false,
                Err(error) if !self.failing => {
                    self.failing = true;
                    tracing::error!(%service, %error, "could not write logs; lines are lost until it works again");
                }
                Err(_) => {}
            }
        }
        if let Some(exporter) = self.backlog.copies.get().filter(|of| of.is_active()) {
            exporter.lines(&records);
        }
        if self.live.receiver_count() > 0 {
            for record in records {
                let _ = self.live.send(Arc::new(record));
            }
        }
    }

    /// Holds every service to its budget, also those that left the application.
    fn tidy(&mut self) {
        self.tidy_at = clock::now() + TIDY_EVERY;
        if let Err(error) = segment::tidy(&self.root, &self.policies) {
            tracing::warn!(%error, "could not delete old logs; tried again in a minute");
        }
    }
}

impl Pending {
    fn complete(mut self) -> LogRecord {
        let end = self.record.message.trim_end().len();
        self.record.message.truncate(end);
        self.record
    }
}

fn append(
    root: &std::path::Path,
    files: &mut BTreeMap<ServiceName, Segments>,
    policies: &BTreeMap<ServiceName, LogPolicy>,
    service: &ServiceName,
    lines: &[u8],
    at_ms: u64,
) -> io::Result<()> {
    let segments = files.entry(service.clone()).or_insert_with(|| {
        let policy = policies.get(service).copied().unwrap_or_default();
        Segments::new(root.join(service.as_str()), policy)
    });
    // Pieces of at most a quarter segment, cut at line ends, so that files keep to their size.
    let mut rest = lines;
    while !rest.is_empty() {
        let end = piece(rest);
        segments.append(&rest[..end], at_ms)?;
        rest = &rest[end..];
    }
    Ok(())
}

fn piece(lines: &[u8]) -> usize {
    let max = usize::try_from(segment::SEGMENT_BYTES / 4).unwrap_or(usize::MAX);
    if lines.len() <= max {
        return lines.len();
    }
    let end = lines[..max].iter().rposition(|byte| *byte == b'\n');
    let next = || lines.iter().position(|byte| *byte == b'\n');
    end.or_else(next).map_or(lines.len(), |end| end + 1)
}
