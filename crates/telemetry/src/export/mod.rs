//! Telemetry to a collector elsewhere, by OTLP.
//!
//! ```text
//! writers of spans and lines ┐
//! series, every 15 s         ┴→ queue (bounded) → request → collector, again until it is taken
//! ```
//!
//! Sending costs the stores nothing but encoding: a collector that is slow or away fills the
//! queue, whose oldest then goes and is counted. What is sent is what was stored, so secrets are
//! hidden and the sender is who it is.

mod answer;
mod client;
mod encode;
mod queue;
pub(crate) mod series;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use archipel_rt::{CancellationToken, Tasks, clock, random};
use tokio::sync::watch;

use crate::otlp::Signal;
use crate::record::LogRecord;
use crate::span::Row;
use crate::{LogStore, MetricStore, SpanStore};
use queue::Queue;

pub use answer::Verdict;
pub use client::{Client, ExportError, Target};

/// How long a request that is not full waits for more.
const GATHER: Duration = Duration::from_secs(1);
const SERIES_EVERY: Duration = Duration::from_secs(15);
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A collector may ask for patience, not for ever.
const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Exporter(Arc<Shared>);

struct Shared {
    target: watch::Sender<Option<Target>>,
    /// Whether anybody wants anything: read for every batch.
    active: AtomicBool,
    spans: Queue,
    lines: Queue,
    points: Queue,
}

/// What has happened to the spans, lines and data points of a signal since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    pub sent: u64,
    /// There was no room, or the collector did not want them.
    pub lost: u64,
}

impl Exporter {
    /// Connects the stores; nothing is sent before there is a target.
    pub fn start(spans: &SpanStore, logs: &LogStore, metrics: &MetricStore, tasks: &Tasks) -> Self {
        let shared = Shared {
            target: watch::Sender::new(None),
            active: AtomicBool::new(false),
            spans: Queue::default(),
            lines: Queue::default(),
            points: Queue::default(),
        };
        let exporter = Self(Arc::new(shared));
        spans.copy_to(exporter.clone());
        logs.copy_to(exporter.clone());
        for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
            let (this, of_loop) = (exporter.clone(), tasks.clone());
            tasks.spawn("telemetry.export", async move { this.run(signal, of_loop).await });
        }
        let (this, metrics, stop) = (exporter.clone(), metrics.clone(), tasks.stop_token());
        tasks.spawn("telemetry.export.series", async move {
            this.gather_series(&metrics, &stop).await;
        });
        exporter
    }

    /// Sends to `target` from now on; the same again changes nothing.
    ///
    /// # Errors
    /// When it cannot be one; nothing is sent then.
    pub fn apply(&self, target: Option<Target>, tasks: &Tasks) -> Result<(), ExportError> {
        let checked = target.as_ref().map(|target| Client::new(target, tasks)).transpose();
        let target = if checked.is_ok() { target } else { None };
        self.0.active.store(target.is_some(), Relaxed);
        self.0.target.send_if_modified(|old| {
            let changed = *old != target;
            *old = target;
            changed
        });
        checked.map(drop)
    }

    pub fn counts(&self, signal: Signal) -> Exported {
        let queue = self.queue(signal);
        Exported { sent: queue.sent.load(Relaxed), lost: queue.lost.load(Relaxed) }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.0.active.load(Relaxed)
    }

    pub(crate) fn spans(&self, rows: &[Row]) {
        encode::spans(rows).into_iter().for_each(|(bytes, n)| self.0.spans.put(bytes, n));
    }

    pub(crate) fn lines(&self, records: &[LogRecord]) {
        encode::lines(records).into_iter().for_each(|(bytes, n)| self.0.lines.put(bytes, n));
    }

    fn queue(&self, signal: Signal) -> &Queue {
        match signal {
            Signal::Traces => &self.0.spans,
            Signal::Logs => &self.0.lines,
            Signal::Metrics => &self.0.points,
        }
    }

    async fn gather_series(&self, metrics: &MetricStore, stop: &CancellationToken) {
        let mut since_ms = clock::wall_ms();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = clock::sleep(SERIES_EVERY) => {}
            }
            let now_ms = clock::wall_ms();
            if self.is_active() {
                let parts = metrics.copied(since_ms);
                parts.into_iter().for_each(|(bytes, n)| self.0.points.put(bytes, n));
            }
            since_ms = now_ms;
        }
    }

    async fn run(&self, signal: Signal, tasks: Tasks) {
        let stop = tasks.stop_token();
        let mut targets = self.0.target.subscribe();
        while !stop.is_cancelled() {
            let target = targets.borrow_and_update().clone();
            let client = target.and_then(|target| Client::new(&target, &tasks).ok());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = targets.changed() => if changed.is_err() { break },
                () = self.send_all(signal, client) => {}
            }
        }
        let lost = self.queue(signal).clear();
        if lost > 0 {
            tracing::warn!(?signal, lost, "stopped before the collector took all telemetry");
        }
    }

    /// Sends what comes, until dropped.
    async fn send_all(&self, signal: Signal, client: Option<Client>) {
        let queue = self.queue(signal);
        let Some(mut client) = client else {
            queue.clear();
            return std::future::pending().await;
        };
        let mut failing = false;
        loop {
            let Some(held) = queue.take() else {
                queue.some.notified().await;
                if !queue.is_ample() {
                    clock::sleep(GATHER).await;
                }
                continue;
            };
            let (items, mut tries) = (held.items(), 0);
            loop {
                match client.send(signal, held.bytes()).await {
                    Verdict::Taken => _ = queue.sent.fetch_add(items, Relaxed),
                    Verdict::Partial(refused, why) => {
                        let refused = refused.min(items);
                        queue.sent.fetch_add(items - refused, Relaxed);
                        self.lose(signal, refused, &why, &mut failing);
                        break;
                    }
                    Verdict::Refused(why) => {
                        self.lose(signal, items, &why, &mut failing);
                        break;
                    }
                    Verdict::Again(after, why) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(
                                ?signal,
                                why,
                                "the collector does not take telemetry; it is sent as soon as it does"
                            );
                        }
                        clock::sleep(wait(tries, after)).await;
                        tries += 1;
                        continue;
                    }
                }
                if std::mem::take(&mut failing) {
                    tracing::info!(?signal, "the collector takes telemetry again");
                }
                break;
            }
            held.done();
        }
    }

    fn lose(&self, signal: Signal, items: u64, why: &str, failing: &mut bool) {
        self.queue(signal).lost.fetch_add(items, Relaxed);
        if !std::mem::replace(failing, true) {
            tracing::warn!(?signal, items, why, "the collector refused telemetry for good");
        }
    }
}

/// Doubles, with up to half of it at random, so that many senders do not come back at once.
fn wait(tries: u32, after: Option<Duration>) -> Duration {
    let whole = BACKOFF_MIN.saturating_mul(1 << tries.min(10)).min(BACKOFF_MAX);
    let half = whole / 2;
    let jitter = random::below(u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1));
    let own = half + Duration::from_millis(jitter);
    after.map_or(own, |after| own.max(after.min(PATIENCE_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_half_a_minute_and_heed_what_is_asked() {
        for tries in 0..40 {
            let wait = wait(tries, None);
            assert!(wait >= BACKOFF_MIN / 2 && wait <= BACKOFF_MAX, "{wait:?}");
        }
        assert!(wait(8, None) >= BACKOFF_MAX / 2);
        let asked = Duration::from_secs(70);
        assert!(wait(0, Some(asked)) >= asked);
        assert_eq!(wait(0, Some(Duration::from_secs(86_400))), PATIENCE_MAX);
    }
}
