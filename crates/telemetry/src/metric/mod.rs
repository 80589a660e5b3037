//! Numbers over time: how much processor and memory each instance takes, what passes through each
//! service, how the host is.
//!
//! The last hour is in memory, every few seconds; the means and maxima of whole minutes are on
//! the disk, an hour a file. A crash loses a minute at most.

mod files;
pub mod process;
mod ring;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_rt::blocking;

use crate::OpenError;
use crate::received::{Received, ReceivedMetric, Told};
use files::{Files, Minute};
use ring::{Ring, SAMPLE_MS};

pub use ring::SAMPLE_MS as METRIC_SAMPLE_MS;

const MINUTE_MS: u64 = 60_000;
/// Of instances that come and go, those silent for an hour leave the memory first.
const SERIES_MAX: usize = 50_000;

/// Which number of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricKey {
    pub metric: String,
    /// Empty: of the host.
    pub service: String,
    /// Empty: of the service as a whole.
    pub instance: String,
    /// Of what a service sent: its attributes, as `key="value",…` by key. `None` of our own, in
    /// which nothing of a request is, so that there are as many as are declared.
    pub labels: Option<String>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct MetricPolicy {
    pub bytes_max: u64,
    pub age_max: Duration,
}

impl Default for MetricPolicy {
    fn default() -> Self {
        Self { bytes_max: 128 << 20, age_max: Duration::from_secs(30 * 24 * 3600) }
    }
}

/// Which numbers are asked for.
#[derive(Debug, Clone, Default)]
pub struct MetricQuery {
    /// Empty: all of our own.
    pub metrics: Vec<String>,
    pub service: Option<String>,
    pub since_ms: u64,
    pub until_ms: u64,
    /// At most so many values a line.
    pub points: u64,
}

impl MetricQuery {
    fn takes(&self, key: &MetricKey) -> bool {
        (self.metrics.contains(&key.metric) || self.metrics.is_empty() && key.labels.is_none())
            && self.service.as_ref().is_none_or(|service| key.service == *service)
    }
}

/// An answer: values at `since_ms`, and every `step_ms` from there; `None` where nothing is known.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricLines {
    pub since_ms: u64,
    pub step_ms: u64,
    pub lines: BTreeMap<MetricKey, Vec<Option<f32>>>,
}

#[derive(Default)]
struct Recent {
    rings: BTreeMap<MetricKey, Ring>,
    /// The minute that is not whole yet.
    minute: u64,
    /// Names of our own, which no service may speak for.
    own: BTreeSet<String>,
}

impl Recent {
    fn push(&mut self, key: MetricKey, at_ms: u64, value: f64) {
        let full = self.rings.len() >= SERIES_MAX;
        if full && !self.rings.contains_key(&key) {
            self.rings.retain(|_, ring| !ring.is_silent(at_ms));
            if self.rings.len() >= SERIES_MAX {
                return;
            }
        }
        self.rings.entry(key).or_default().push(at_ms, value as f32);
    }

    fn keep_apart(&self, metric: &mut String) {
        if self.own.contains(metric) {
            metric.insert_str(0, "otel.");
        }
    }
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct MetricStore {
    recent: Arc<Mutex<Recent>>,
    files: Arc<Mutex<Files>>,
    received: Arc<Mutex<Received>>,
}

impl MetricStore {
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(dir: PathBuf, policy: MetricPolicy) -> Result<Self, OpenError> {
        let files =
            Files::open(dir.clone(), policy).map_err(|source| OpenError { path: dir, source })?;
        Ok(Self {
            recent: Arc::default(),
            files: Arc::new(Mutex::new(files)),
            received: Arc::default(),
        })
    }

    /// Takes numbers of our own of one moment. What was a whole minute is written by [`Self::save`].
    pub fn record(&self, at_ms: u64, values: impl IntoIterator<Item = (MetricKey, f64)>) {
        let mut recent = lock(&self.recent);
        for (key, value) in values {
            if !recent.own.contains(&key.metric) {
                recent.own.insert(key.metric.clone());
            }
            recent.push(key, at_ms, value);
        }
    }

    /// Takes what a service sent: points go into their series by `take`, which gives back what
    /// they say over time.
    pub(crate) fn receive<T>(&self, take: impl FnOnce(&mut Received) -> (Vec<Told>, T)) -> T {
        let (told, rest) = take(&mut lock(&self.received));
        let mut recent = lock(&self.recent);
        for (at_ms, values) in told {
            for (mut key, value) in values {
                recent.keep_apart(&mut key.metric);
                recent.push(key, at_ms, value);
            }
        }
        rest
    }

    /// What services have sent, by name.
    pub fn received(&self) -> Vec<ReceivedMetric> {
        let mut found = lock(&self.received).list();
        let recent = lock(&self.recent);
        found.iter_mut().flat_map(|of| &mut of.lines).for_each(|name| recent.keep_apart(name));
        found
    }

    /// Data points that were refused since the store was opened.
    pub fn refused(&self) -> u64 {
        lock(&self.received).refused()
    }

    /// How often a metric was of another kind than before, since the store was opened.
    pub fn changed(&self) -> u64 {
        lock(&self.received).changed()
    }

    /// Parts of requests of OTLP with what is new since then.
    pub(crate) fn copied(&self, since_ms: u64) -> Vec<(Vec<u8>, u64)> {
        let own = {
            let recent = lock(&self.recent);
            let ours = recent.rings.iter().filter(|(key, _)| key.labels.is_none());
            let latest = ours.filter_map(|(key, ring)| Some((key.clone(), ring.values().last()?)));
            let latest = latest.filter(|(_, (at, _))| *at + SAMPLE_MS > since_ms);
            latest.map(|(key, (at, value))| (key, at, value)).collect()
        };
        let mut parts = crate::export::series::own(own);
        parts.extend(lock(&self.received).copied(since_ms));
        parts
    }

    /// Appends the latest of what services have sent, as Prometheus reads it.
    pub fn expose(&self, out: &mut String) {
        lock(&self.received).expose(archipel_rt::clock::wall_ms(), out);
    }

    /// Writes the minute that has become whole, if one has.
    ///
    /// # Errors
    /// When the disk refuses; the minute is lost then, and the next one is tried.
    pub async fn save(&self, at_ms: u64) -> io::Result<()> {
        let minute = at_ms / MINUTE_MS;
        let block = {
            let mut recent = lock(&self.recent);
            let before = std::mem::replace(&mut recent.minute, minute);
            if before == minute || before == 0 {
                return Ok(());
            }
            recent.rings.retain(|_, ring| !ring.is_silent(at_ms));
            let span = before * MINUTE_MS..(before + 1) * MINUTE_MS;
            let whole = |(key, ring): (&MetricKey, &Ring)| {
                let (mean, max) = ring.summary(span.clone())?;
                Some((key.clone(), vec![Minute { minute: before, mean, max }]))
            };
            recent.rings.iter().filter_map(whole).collect::<BTreeMap<_, _>>()
        };
        let files = self.files.clone();
        blocking(move || {
            let mut files = lock(&files);
            files.append(minute - 1, &block)
        })
        .await
    }

    /// # Errors
    /// When a file cannot be read.
    pub async fn lines(&self, query: MetricQuery) -> io::Result<MetricLines> {
        let span = query.until_ms.saturating_sub(query.since_ms).max(SAMPLE_MS);
        // A stretch of the last hour is answered in samples, a longer one in minutes.
        let oldest = archipel_rt::clock::wall_ms().saturating_sub(ring::KEPT_MS + MINUTE_MS);
        let fine = query.since_ms >= oldest;
        let unit = if fine { SAMPLE_MS } else { MINUTE_MS };
        let step_ms = span.div_ceil(query.points.clamp(1, 2_000)).div_ceil(unit).max(1) * unit;
        let since_ms = query.since_ms / step_ms * step_ms;
        let count = usize::try_from(query.until_ms.saturating_sub(since_ms) / step_ms + 1);
        let count = count.unwrap_or(usize::MAX).min(4_000);
        let mut sums: BTreeMap<MetricKey, Vec<(f32, u32)>> = BTreeMap::new();
        let mut add = |key: &MetricKey, at_ms: u64, value: f32| {
            let Some(past) = at_ms.checked_sub(since_ms) else { return };
            let at = usize::try_from(past / step_ms).unwrap_or(usize::MAX);
            if at >= count {
                return;
            }
            let line = match sums.get_mut(key) {
                Some(line) => line,
                None => sums.entry(key.clone()).or_insert_with(|| vec![(0.0, 0); count]),
            };
            line[at].0 += value;
            line[at].1 += 1;
        };
        // What the memory holds whole is taken from there, everything before that from the files.
        let known_ms = {
            let recent = lock(&self.recent);
            let first =
                recent.rings.values().filter_map(|ring| Some(ring.values().next()?.0)).min();
            let first = match fine {
                // The files have the whole of the first minute; but not before it is over.
                true => first.map(|ms| match ms >= recent.minute * MINUTE_MS {
                    true => ms,
                    false => ms.div_ceil(MINUTE_MS) * MINUTE_MS,
                }),
                false => (recent.minute > 0).then_some(recent.minute * MINUTE_MS),
            };
            for (key, ring) in recent.rings.iter().filter(|(key, _)| query.takes(key)) {
                let values = ring.values().filter(|(at, _)| first.is_none_or(|first| *at >= first));
                values.for_each(|(at_ms, value)| add(key, at_ms, value));
            }
            first.unwrap_or(query.until_ms).min(query.until_ms)
        };
        if since_ms < known_ms {
            let (files, wanted) = (self.files.clone(), query.clone());
            let minutes = since_ms / MINUTE_MS..known_ms.div_ceil(MINUTE_MS);
            let found = blocking(move || {
                let files = lock(&files);
                files.read(minutes, |key| wanted.takes(key))
            });
            for (key, minutes) in found.await? {
                for of in minutes {
                    // A minute stands for all samples in it.
                    let begin = of.minute * MINUTE_MS;
                    let step = usize::try_from(step_ms.min(MINUTE_MS)).unwrap_or(usize::MAX);
                    (begin..begin + MINUTE_MS).step_by(step).for_each(|at| add(&key, at, of.mean));
                }
            }
        }
        let mean = |(sum, n): (f32, u32)| (n > 0).then(|| sum / n as f32);
        let lines = sums.into_iter().map(|(key, line)| (key, line.into_iter().map(mean).collect()));
        Ok(MetricLines { since_ms, step_ms, lines: lines.collect() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that is opened seconds after the start must not wait for the minute to be over.
    #[tokio::test]
    async fn the_first_numbers_are_seen_at_once_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = MetricStore::open(dir.path().join("m"), MetricPolicy::default()).unwrap();
        let key = MetricKey {
            metric: "cpu".into(),
            service: "a".into(),
            instance: "a-0".into(),
            labels: None,
        };
        let begin = archipel_rt::clock::wall_ms() / MINUTE_MS * MINUTE_MS + 20_000;
        let mut at_ms = begin;
        while at_ms < begin + MINUTE_MS {
            store.record(at_ms, [(key.clone(), 2.0)]);
            store.save(at_ms).await.unwrap();
            let query = MetricQuery {
                since_ms: begin - 30_000,
                until_ms: at_ms,
                points: 1_000,
                ..MetricQuery::default()
            };
            let lines = store.lines(query).await.unwrap().lines;
            let last = lines.get(&key).and_then(|line| line.last().copied().flatten());
            assert_eq!(last, Some(2.0), "{} s after the start", (at_ms - begin) / 1_000);
            at_ms += SAMPLE_MS;
        }
    }
}
