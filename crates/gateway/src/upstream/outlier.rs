//! Passes over an instance that fails while it says that it is ready.
//!
//! Readiness is what an instance says about itself; this is what its callers see. Several failures
//! in a row, or half of the last seconds' requests, put it out for a while that doubles each time.
//! Then it is tried with a trickle of requests, and the first failure puts it out again.
//!
//! Whether there are enough others is for [`Service::eject`](super::service::Service::eject) to
//! say. A request that goes well costs two loads and an add, one that fails a short lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many in a row, or one right after it came back.
const IN_A_ROW: u32 = 5;
/// Successes after which an instance that came back is like the others again.
const PROVEN: u32 = 10;
/// The share of failures in percent, of at least so many requests of the last seconds.
const SHARE: u64 = 50;
const SHARE_OF: u32 = 20;
const OUT_MIN: Duration = Duration::from_secs(5);
const OUT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Outlier {
    /// Failures since the last success.
    row: AtomicU32,
    /// Successes still to come before it counts as well; 0 nearly always.
    proving: AtomicU32,
    total: AtomicU32,
    failed: AtomicU32,
    out_until: AtomicU64,
    ejections: AtomicU64,
    past: Mutex<Past>,
}

/// What decides how long the next time will be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Past {
    times: u32,
    back_at: u64,
}

impl Past {
    /// Twice as long as the last time; a good while in between takes one doubling back.
    fn next(self, now: u64) -> (Self, Duration) {
        let good = now.saturating_sub(self.back_at) / OUT_MAX.as_millis() as u64;
        let times = self.times.saturating_sub(u32::try_from(good).unwrap_or(u32::MAX));
        let out = OUT_MIN.saturating_mul(1 << times.min(16)).min(OUT_MAX);
        (Self { times: times.saturating_add(1), back_at: now + out.as_millis() as u64 }, out)
    }
}

impl Outlier {
    pub(crate) fn is_out(&self, now_ms: u64) -> bool {
        self.out_until.load(Relaxed) > now_ms
    }

    /// When it came back from being out; 0: it never was.
    pub(crate) fn back_at(&self) -> u64 {
        self.out_until.load(Relaxed)
    }

    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    pub(crate) fn good(&self) {
        self.total.fetch_add(1, Relaxed);
        if self.row.load(Relaxed) != 0 {
            self.row.store(0, Relaxed);
        }
        let proving = self.proving.load(Relaxed);
        if proving != 0 {
            self.proving.store(proving - 1, Relaxed);
        }
    }

    /// Whether that was one too many.
    pub(crate) fn bad(&self) -> bool {
        let row = self.row.fetch_add(1, Relaxed) + 1;
        let total = self.total.fetch_add(1, Relaxed) + 1;
        let failed = self.failed.fetch_add(1, Relaxed) + 1;
        let share = u64::from(failed) * 100 >= u64::from(total) * SHARE;
        row >= IN_A_ROW || self.proving.load(Relaxed) > 0 || (total >= SHARE_OF && share)
    }

    /// Puts it out; returns for how long, or `None` when it is out already.
    pub(crate) fn eject(&self, now_ms: u64) -> Option<Duration> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_out(now_ms) {
            return None;
        }
        let (next, out) = past.next(now_ms);
        *past = next;
        self.out_until.store(next.back_at, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        self.row.store(0, Relaxed);
        self.proving.store(PROVEN, Relaxed);
        self.turn();
        Some(out)
    }

    /// Due every few seconds: what was before no longer counts.
    pub(crate) fn turn(&self) {
        self.total.store(0, Relaxed);
        self.failed.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn failures_in_a_row_put_it_out_and_one_more_after_it_came_back() {
        let outlier = Outlier::default();
        for _ in 0..3 {
            assert!((1..IN_A_ROW).all(|_| !outlier.bad()));
            outlier.good();
        }
        outlier.turn();
        assert!((1..IN_A_ROW).all(|_| !outlier.bad()));
        assert!(outlier.bad());
        assert_eq!(outlier.eject(0), Some(OUT_MIN));
        assert_eq!(outlier.eject(10), None, "it is out");
        assert!(outlier.is_out(4_999) && !outlier.is_out(5_000));
        assert!(outlier.bad(), "it has not proved itself");
        assert_eq!(outlier.eject(5_000), Some(OUT_MIN * 2));
        (0..PROVEN).for_each(|_| outlier.good());
        assert!(!outlier.bad());
    }

    #[test]
    fn half_of_many_is_enough() {
        let outlier = Outlier::default();
        let put_out = (0..SHARE_OF).any(|n| {
            if n % 2 == 0 {
                outlier.good();
            }
            n % 2 == 1 && outlier.bad()
        });
        assert!(put_out);
        let outlier = Outlier::default();
        for n in 0..10_000 {
            if n % 3 == 0 { assert!(!outlier.bad()) } else { outlier.good() }
        }
    }

    proptest! {
        #[test]
        fn the_time_out_is_bounded_and_shrinks_again(waits in proptest::collection::vec(0_u64..500_000, 1..60)) {
            let (mut past, mut now) = (Past::default(), 0);
            for wait in waits {
                let (next, out) = past.next(now);
                prop_assert!(out >= OUT_MIN && out <= OUT_MAX);
                past = next;
                now = past.back_at + wait;
            }
            now += OUT_MAX.as_millis() as u64 * u64::from(past.times);
            prop_assert_eq!(past.next(now).1, OUT_MIN);
        }
    }
}
