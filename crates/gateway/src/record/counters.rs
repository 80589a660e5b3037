//! What passed, in numbers: one series per edge and per route, so their count is that of the
//! declared lines and never depends on what a request contains.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_model::ServiceName;

use crate::Caller;
use crate::hop::budget::Budget;

/// Latency buckets: four per doubling, from a microsecond to about a minute and a half. The
/// error of a quantile is below a quarter of its value, whatever its scale.
pub(crate) const BUCKETS: usize = 108;

/// Whose traffic a series counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    pub caller: Caller,
    /// `None`: requests that found no route.
    pub callee: Option<ServiceName>,
    /// The public route, as it stands in the file.
    pub route: Option<Arc<str>>,
}

/// One series at one moment; all but `inflight` only grow.
#[derive(Debug, Clone)]
pub struct SeriesCount {
    pub key: SeriesKey,
    /// Answers by first digit of the status: `[1]` is 1xx … `[5]` is 5xx; `[0]` got none,
    /// because the caller went away.
    pub by_class: [u64; 6],
    /// Of these, answers that we made ourselves.
    pub refused: u64,
    /// Further tries that a failed one led to.
    pub retries: u64,
    /// Answers that broke off in the middle of the body.
    pub broken: u64,
    pub bytes: u64,
    pub inflight: usize,
    /// Until the end of the body.
    pub latency: Histogram,
}

impl SeriesCount {
    pub fn requests(&self) -> u64 {
        self.by_class.iter().sum()
    }
}

#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    pub sum: Duration,
}

impl Histogram {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper bound of the bucket in which the fraction `q` (0 to 1) of all answers lies.
    pub fn quantile(&self, q: f64) -> Duration {
        let wanted = (self.count() as f64 * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(upper_bound(bucket));
            }
        }
        Duration::ZERO
    }

    /// Buckets as (upper bound, count), without the empty ones.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let with_bound = |(i, n): (usize, &u64)| (Duration::from_micros(upper_bound(i)), *n);
        self.counts.iter().enumerate().map(with_bound).filter(|(_, n)| *n > 0)
    }
}

/// Values 0 to 3 have a bucket each; from 4 on, two bits after the leading one choose it.
pub(crate) fn bucket_of(micros: u64) -> usize {
    if micros < 4 {
        return micros as usize;
    }
    let log = 63 - micros.leading_zeros() as usize;
    let quarter = (micros >> (log - 2)) as usize & 3;
    ((log - 1) * 4 + quarter).min(BUCKETS - 1)
}

pub(crate) fn upper_bound(bucket: usize) -> u64 {
    let next = bucket + 1;
    if next <= 4 {
        return next as u64;
    }
    (4 + next as u64 % 4) << (next / 4 - 1)
}

/// The live counters of one series.
#[derive(Debug)]
pub(crate) struct Series {
    key: Arc<SeriesKey>,
    by_class: [AtomicU64; 6],
    refused: AtomicU64,
    retries: AtomicU64,
    broken: AtomicU64,
    bytes: AtomicU64,
    pub(crate) inflight: AtomicUsize,
    micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    budget: Mutex<Budget>,
}

/// What one finished request adds to its series.
pub(crate) struct Finished {
    pub(crate) status: u16,
    pub(crate) refused: bool,
    pub(crate) broken: bool,
    pub(crate) retries: u32,
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
}

impl Series {
    pub(crate) fn new(key: SeriesKey) -> Self {
        Self {
            key: Arc::new(key),
            by_class: Default::default(),
            refused: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            inflight: AtomicUsize::new(0),
            micros: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            budget: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> &Arc<SeriesKey> {
        &self.key
    }

    pub(crate) fn add(&self, finished: &Finished) {
        let class = match finished.status / 100 {
            class @ 1..=5 => usize::from(class),
            _ => 0,
        };
        self.by_class[class].fetch_add(1, Relaxed);
        let micros = u64::try_from(finished.duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
        // The rest is zero nearly always, and a locked add is not free.
        for (counter, more) in [
            (&self.bytes, finished.bytes),
            (&self.refused, u64::from(finished.refused)),
            (&self.broken, u64::from(finished.broken)),
            (&self.retries, u64::from(finished.retries)),
        ] {
            if more > 0 {
                counter.fetch_add(more, Relaxed);
            }
        }
    }

    /// Whether one more retry fits into what retries may add.
    pub(crate) fn may_retry(&self, percent: u8) -> bool {
        self.budget().take(self.requests(), percent)
    }

    /// Also those under way: when an instance dies, these are the ones that want a retry.
    fn requests(&self) -> u64 {
        let finished: u64 = self.by_class.iter().map(|class| class.load(Relaxed)).sum();
        finished + self.inflight.load(Relaxed) as u64
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self) -> SeriesCount {
        SeriesCount {
            key: (*self.key).clone(),
            by_class: std::array::from_fn(|i| self.by_class[i].load(Relaxed)),
            refused: self.refused.load(Relaxed),
            retries: self.retries.load(Relaxed),
            broken: self.broken.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            inflight: self.inflight.load(Relaxed),
            latency: Histogram {
                counts: self.buckets.iter().map(|b| b.load(Relaxed)).collect(),
                sum: Duration::from_micros(self.micros.load(Relaxed)),
            },
        }
    }
}

/// All series. They outlive a change of the table, so that a counter never falls.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    all: Mutex<HashMap<SeriesKey, Arc<Series>>>,
}

impl Registry {
    pub(crate) fn series(&self, key: &SeriesKey) -> Arc<Series> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Series::new(key.clone()));
        Arc::clone(all.entry(key.clone()).or_insert_with(new))
    }

    /// Forgets series that nothing can add to any more.
    pub(crate) fn prune(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, series| Arc::strong_count(series) > 1);
    }

    /// Due every [`budget::TURN`](crate::hop::budget::TURN).
    pub(crate) fn turn_budgets(&self) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for series in all.values() {
            series.budget().turn(series.requests());
        }
    }

    pub(crate) fn read(&self) -> Vec<SeriesCount> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<SeriesCount> = all.values().map(|series| series.read()).collect();
        drop(all);
        counts.sort_by(|a, b| a.key.cmp(&b.key));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_within_a_quarter_of_its_bucket(micros in 0u64..100_000_000) {
            let bound = upper_bound(bucket_of(micros));
            prop_assert!(micros < bound, "{} {}", micros, bound);
            prop_assert!(bound <= (micros + 1).max(micros + micros.div_ceil(3)), "{} {}", micros, bound);
        }
    }

    #[test]
    fn quantiles_are_read_off() {
        let registry = Registry::default();
        let key = SeriesKey { caller: Caller::Outside, callee: None, route: None };
        let series = registry.series(&key);
        for micros in 1..=1000 {
            series.add(&Finished {
                status: 200,
                refused: false,
                broken: false,
                retries: 0,
                bytes: 10,
                duration: Duration::from_micros(micros),
            });
        }
        let read = &registry.read()[0];
        assert_eq!((read.requests(), read.by_class[2], read.bytes), (1000, 1000, 10_000));
        let median = read.latency.quantile(0.5).as_micros();
        assert!((500..=640).contains(&median), "{median}");
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        drop(series);
        registry.prune();
        assert!(registry.read().is_empty());
    }
}
