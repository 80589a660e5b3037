//! When a second instance is asked for the same, because the first takes unusually long.
//!
//! A slow instance then costs a fraction of its slowness, and the service a few percent more
//! requests: never more than that share, or a service that is slow everywhere would get twice
//! the load.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use archipel_model::Hedge as Policy;

use crate::hop::budget::Budget;
use crate::record::counters::{BUCKETS, bucket_of, upper_bound};

/// Of the requests of the last seconds.
const SHARE_PERCENT: u8 = 10;
const FLOOR: u64 = 2;
/// Fewer answers than this do not say what is unusual.
const SAMPLES_MIN: u64 = 20;
/// Below it a second request costs more than it saves.
const SHORTEST: Duration = Duration::from_millis(1);

pub(crate) struct Hedge {
    policy: Policy,
    /// Answers of late by how long they took.
    recent: [AtomicU64; BUCKETS],
    /// The share of them that the policy names took at most this, in microseconds; 0: unknown.
    bound: AtomicU64,
    asked: AtomicU64,
    sent: AtomicU64,
    won: AtomicU64,
    budget: Mutex<Budget>,
}

impl Hedge {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            recent: std::array::from_fn(|_| AtomicU64::new(0)),
            bound: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            won: AtomicU64::new(0),
            budget: Mutex::default(),
        }
    }

    /// How long to wait for the first; `None`: as long as it takes.
    pub(crate) fn after(&self) -> Option<Duration> {
        self.asked.fetch_add(1, Relaxed);
        match self.policy {
            Policy::After(after) => Some(after),
            Policy::Percentile(_) => match self.bound.load(Relaxed) {
                0 => None,
                micros => Some(Duration::from_micros(micros).max(SHORTEST)),
            },
        }
    }

    pub(crate) fn may_send(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = budget.take_of(self.asked.load(Relaxed), SHARE_PERCENT, FLOOR);
        self.sent.fetch_add(u64::from(fits), Relaxed);
        fits
    }

    pub(crate) fn won(&self) {
        self.won.fetch_add(1, Relaxed);
    }

    /// (sent, of these the quicker ones)
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.won.load(Relaxed))
    }

    pub(crate) fn answered(&self, took: Duration) {
        if let Policy::Percentile(_) = self.policy {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let seen = self.recent[bucket_of(micros)].fetch_add(1, Relaxed);
            // The first few, before the first turn, should count too.
            if seen == SAMPLES_MIN && self.bound.load(Relaxed) == 0 {
                self.measure();
            }
        }
    }

    /// Due every few seconds: looks what is usual now, and half forgets what was.
    pub(crate) fn turn(&self) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).turn(self.asked.load(Relaxed));
        if let Policy::Percentile(_) = self.policy {
            self.measure();
            for bucket in &self.recent {
                bucket.store(bucket.load(Relaxed) / 2, Relaxed);
            }
        }
    }

    fn measure(&self) {
        let Policy::Percentile(percent) = self.policy else { return };
        let total: u64 = self.recent.iter().map(|bucket| bucket.load(Relaxed)).sum();
        if total < SAMPLES_MIN {
            return;
        }
        let wanted = (total * u64::from(percent)).div_ceil(100);
        let mut seen = 0;
        let bound = self.recent.iter().position(|bucket| {
            seen += bucket.load(Relaxed);
            seen >= wanted
        });
        self.bound.store(bound.map_or(0, upper_bound), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual_is_learnt_and_forgotten() {
        let hedge = Hedge::new(Policy::Percentile(95));
        assert_eq!(hedge.after(), None);
        let millis = Duration::from_millis;
        for n in 0..1_000 {
            hedge.answered(if n % 20 == 0 { millis(500) } else { millis(10) });
        }
        hedge.turn();
        let after = hedge.after().unwrap();
        assert!(after >= millis(10) && after < millis(15), "{after:?}");
        for _ in 0..10 {
            (0..1_000).for_each(|_| hedge.answered(millis(100)));
            hedge.turn();
        }
        assert!(hedge.after().unwrap() >= millis(100));
    }

    #[test]
    fn only_a_share_is_asked_for_twice() {
        let hedge = Hedge::new(Policy::After(SHORTEST));
        for _ in 0..1_000 {
            hedge.after();
        }
        let sent = (0..1_000).filter(|_| hedge.may_send()).count() as u64;
        assert_eq!(sent, FLOOR + 100);
        assert_eq!(hedge.counts(), (sent, 0));
    }
}
