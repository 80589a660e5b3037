//! What passes, over time: the gateway's counters, read at a steady pace and kept for some
//! minutes, so that a page that opens now shows what has just been.
//!
//! Memory is bounded by the number of declared edges and routes, never by what requests contain.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_gateway::{BreakerState, Caller, Counters, Gateway, SeriesCount, SeriesKey};
use archipel_rt::CancellationToken;
use tokio::sync::watch;

use crate::view;

const STEP: Duration = Duration::from_secs(2);
/// Five minutes.
const POINTS: usize = 150;
/// Rates and quantiles of «now» are those of the last ten seconds.
const WINDOW: usize = 5;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Traffic {
    tracks: Arc<Mutex<Tracks>>,
    ticks: watch::Receiver<u64>,
}

#[derive(Default)]
struct Tracks {
    at_ms: u64,
    connections: usize,
    series: BTreeMap<SeriesKey, Track>,
}

struct Track {
    /// The last readings, newest last; one more than the window, to subtract from. Where nothing
    /// happened, one stands for several: most lines of a large application are quiet.
    reads: VecDeque<Arc<Read>>,
    /// From the first step on in which something happened.
    points: VecDeque<view::TrafficPoint>,
}

struct Read {
    count: SeriesCount,
    breaker: Option<(BreakerState, u64)>,
    fallbacks: u64,
}

impl Read {
    fn is_like(&self, other: &Self) -> bool {
        let numbers =
            |of: &Self| (of.count.requests(), of.count.inflight, of.breaker, of.fallbacks);
        numbers(self) == numbers(other)
    }
}

impl Traffic {
    /// The loop that reads, for its owner to run.
    pub(crate) fn new(
        gateway: Gateway,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (tick, ticks) = watch::channel(0);
        let tracks = Arc::new(Mutex::new(Tracks::default()));
        let traffic = Self { tracks: tracks.clone(), ticks };
        let run = async move {
            let mut pace = tokio::time::interval(STEP);
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    _ = pace.tick() => {}
                }
                let mut tracks = tracks.lock().unwrap_or_else(PoisonError::into_inner);
                tracks.add(gateway.counters(), archipel_rt::clock::wall_ms());
                drop(tracks);
                tick.send_modify(|n| *n += 1);
            }
        };
        (traffic, run)
    }

    pub(crate) fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.clone()
    }

    /// Every series with its history.
    pub(crate) fn whole(&self) -> view::Traffic {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner).view(true)
    }

    /// What moves now, without history.
    pub(crate) fn now(&self) -> view::Traffic {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner).view(false)
    }
}

impl Tracks {
    fn add(&mut self, counters: Counters, at_ms: u64) {
        self.at_ms = at_ms;
        self.connections = counters.connections;
        let guards: HashMap<_, _> =
            counters.safeguards.iter().map(|of| (&of.key, (of.breaker, of.fallbacks))).collect();
        let mut before = std::mem::take(&mut self.series);
        for count in counters.series {
            let key = count.key.clone();
            let (breaker, fallbacks) = guards.get(&key).copied().unwrap_or_default();
            let mut track = before.remove(&key).unwrap_or_else(Track::new);
            track.add(Read { count, breaker, fallbacks: fallbacks.unwrap_or(0) });
            self.series.insert(key, track);
        }
    }

    fn view(&self, history: bool) -> view::Traffic {
        let series = self.series.iter().filter_map(|(key, track)| track.view(key, history));
        view::Traffic {
            schema: view::Traffic::SCHEMA.to_owned(),
            at_ms: self.at_ms,
            step_ms: u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX),
            connections: u64::try_from(self.connections).unwrap_or(u64::MAX),
            series: series.collect(),
        }
    }
}

impl Track {
    fn new() -> Self {
        Self { reads: VecDeque::with_capacity(WINDOW + 1), points: VecDeque::new() }
    }

    fn add(&mut self, read: Read) {
        if let Some(last) = self.reads.back() {
            let between = Between::new(&last.count, &read.count);
            if between.requests > 0 || !self.points.is_empty() {
                self.points.push_back(view::TrafficPoint(
                    between.requests,
                    between.failed,
                    between.quantile_us(0.95),
                ));
            }
        }
        if self.points.len() > POINTS {
            self.points.pop_front();
        }
        let same = self.reads.back().filter(|last| last.is_like(&read)).cloned();
        self.reads.push_back(same.unwrap_or_else(|| Arc::new(read)));
        if self.reads.len() > WINDOW + 1 {
            self.reads.pop_front();
        }
    }

    fn view(&self, key: &SeriesKey, history: bool) -> Option<view::TrafficSeries> {
        let (first, read) = (self.reads.front()?, self.reads.back()?);
        let last = &read.count;
        // Nothing has ever passed: what is declared is told by the graph.
        if last.requests() == 0 && last.inflight == 0 {
            return None;
        }
        let between = Between::new(&first.count, last);
        let quiet = between.requests == 0 && last.inflight == 0;
        if quiet && !history {
            return None;
        }
        // One that lets a try through now and then is not well yet.
        let opened = |of: &Read| of.breaker.map_or(0, |(_, opened)| opened);
        let is_open = read.breaker.is_some_and(|(state, _)| state != BreakerState::Closed);
        let seconds = STEP.as_secs_f64() * (self.reads.len() - 1).max(1) as f64;
        let ms = |q| (between.requests > 0).then(|| between.quantile_us(q) as f64 / 1000.0);
        let (kind, caller) = match &key.caller {
            Caller::Outside => ("outside", None),
            Caller::Service(name) => ("service", Some(name.to_string())),
            Caller::Archipel => ("archipel", None),
        };
        Some(view::TrafficSeries {
            kind: kind.to_owned(),
            caller,
            callee: key.callee.as_ref().map(ToString::to_string),
            route: key.route.as_deref().map(str::to_owned),
            requests: last.requests(),
            by_class: last.by_class,
            refused: last.refused,
            retries: last.retries,
            broken: last.broken,
            bytes: last.bytes,
            inflight: u64::try_from(last.inflight).unwrap_or(u64::MAX),
            breaker_open: is_open || opened(read) > opened(first),
            fallbacks: read.fallbacks,
            rate: between.requests as f64 / seconds,
            failing: between.failed as f64 / seconds,
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            point: self.points.back().copied().unwrap_or_default(),
            history: if history { self.points.iter().copied().collect() } else { Vec::new() },
        })
    }
}

/// What came between two readings of one series.
struct Between {
    requests: u64,
    /// Answers of 5xx, and those that broke off.
    failed: u64,
    /// Upper bound in microseconds, and how many.
    buckets: Vec<(u64, u64)>,
}

impl Between {
    fn new(from: &SeriesCount, to: &SeriesCount) -> Self {
        let requests = to.requests().saturating_sub(from.requests());
        let mut buckets = Vec::new();
        if requests > 0 {
            let mut before = from.latency.buckets().peekable();
            for (bound, count) in to.latency.buckets() {
                // A bucket that was there before is there still: counters only grow.
                let was = before.next_if(|(known, _)| *known == bound).map_or(0, |(_, n)| n);
                if count > was {
                    buckets
                        .push((u64::try_from(bound.as_micros()).unwrap_or(u64::MAX), count - was));
                }
            }
        }
        let failed = |count: &SeriesCount| count.by_class[5] + count.broken;
        Self { requests, failed: failed(to).saturating_sub(failed(from)), buckets }
    }

    fn quantile_us(&self, q: f64) -> u64 {
        let all: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        let wanted = ((all as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (bound, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                return *bound;
            }
        }
        0
    }
}
