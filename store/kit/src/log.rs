//! One JSON object per line on standard output.
//!
//! Lines go through a bounded queue to a thread of its own: whoever reads our output may be
//! slow or gone (a full pipe blocks its writer), and a request must not wait for that. When the
//! queue is full lines are dropped and their number is said as soon as there is room again.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::time::Clock;
use crate::trace;

const QUEUE_LINES: usize = 4096;

enum Line {
    Text(String),
    Flush(SyncSender<()>),
}

/// Flushes the log when the service ends.
pub(crate) struct Log {
    lines: SyncSender<Line>,
}

/// Sends the log of this process to standard output. Does nothing when it already goes
/// somewhere, as in tests.
pub(crate) fn start(level: Level) -> Log {
    let (lines, queue) = sync_channel(QUEUE_LINES);
    let writer = std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&queue));
    if writer.is_ok() {
        let subscriber = Json { level, lines: lines.clone(), dropped: AtomicU64::new(0) };
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
    Log { lines }
}

impl Log {
    /// Waits until what was logged so far is written, but not for ever.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_millis(500));
        }
    }
}

fn write_lines(queue: &Receiver<Line>) {
    let mut out = std::io::stdout();
    while let Ok(line) = queue.recv() {
        match line {
            // Nobody can be told that the log cannot be written.
            Line::Text(text) => drop(out.write_all(text.as_bytes())),
            Line::Flush(done) => drop((out.flush(), done.try_send(()))),
        }
    }
}

struct Json {
    level: Level,
    lines: SyncSender<Line>,
    dropped: AtomicU64,
}

impl Json {
    fn send(&self, mut body: Map<String, Value>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            body.insert("lines_dropped_before".into(), dropped.into());
        }
        let text = format!("{}\n", Value::Object(body));
        if self.lines.try_send(Line::Text(text)).is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

impl Subscriber for Json {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries may warn; the rest of what they say is for their authors.
        let ours = ["hyper", "h2", "tokio", "axum", "mio", "tower", "tonic", "dapr_durabletask"]
            .iter()
            .all(|lib| !metadata.target().starts_with(lib));
        *metadata.level() <= if ours { self.level } else { Level::WARN.min(self.level) }
    }

    fn event(&self, event: &Event<'_>) {
        let mut body = Map::new();
        body.insert("time".into(), Clock::default().now().to_string().into());
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        body.insert("level".into(), level.into());
        body.insert("msg".into(), "".into());
        if let Some(trace) = trace::current() {
            body.insert("trace_id".into(), trace.trace_id().into());
        }
        event.record(&mut Fields(&mut body));
        self.send(body);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}
