//! How many requests a key may still make: the generic cell rate algorithm, in fixed memory.
//!
//! Of each key one moment is kept: when it would have its whole burst back. A request moves it by
//! one interval into the future, and is refused when it would come to lie further ahead than a
//! burst lasts. So a key gets at most `burst + rate * t` in any time `t`, without ticks or windows.
//!
//! The moments stand in a count-min sketch: each key has one cell in each of four rows, its moment
//! is the earliest of its cells, and cells only move forward. Keys that share a cell can make each
//! other's moment look later and never earlier: whoever sends a flood of keys can neither use up
//! memory nor push a key out to have its limit forgotten. For a key to be refused because of
//! others, all four of its cells must be shared with keys that are near their own limit; with ten
//! thousand such keys that happens to one in two thousand.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const ROWS: usize = 4;
/// Cells of a row; a power of two. All rows together are two mebibytes.
const CELLS: usize = 1 << 16;
/// Locks by key, so that two requests with one key do not both take the last place.
const STRIPES: usize = 64;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Nanoseconds between two requests at the full rate.
    interval: u64,
    /// How far ahead of now the moment of a key may lie.
    depth: u64,
    burst: u32,
}

/// Where a key stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) admitted: bool,
    /// Requests that would be admitted at once.
    pub(crate) remaining: u32,
    /// Until the whole burst is there again.
    pub(crate) reset: Duration,
    /// Until one more would be admitted; nothing when one is.
    pub(crate) retry: Duration,
}

impl Pace {
    pub(crate) fn new(count: u32, per: Duration, burst: u32) -> Self {
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX / 4);
        // Rounded up: never faster than declared.
        let interval = per.div_ceil(u64::from(count.max(1))).max(1);
        let burst = burst.max(1);
        Self { interval, depth: interval.saturating_mul(u64::from(burst)), burst }
    }

    pub(crate) fn burst(&self) -> u32 {
        self.burst
    }

    /// In which an unused key gets its burst back.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_nanos(self.depth)
    }

    /// Pure: the new moment if the request is admitted, and where its key stands.
    fn decide(&self, moment: u64, now: u64) -> (Option<u64>, Standing) {
        let from = moment.max(now);
        let next = from.saturating_add(self.interval);
        let ahead = next - now;
        if ahead > self.depth {
            let standing = Standing {
                admitted: false,
                remaining: 0,
                reset: Duration::from_nanos(from - now),
                retry: Duration::from_nanos(ahead - self.depth),
            };
            return (None, standing);
        }
        let standing = Standing {
            admitted: true,
            remaining: u32::try_from((self.depth - ahead) / self.interval).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(ahead),
            retry: Duration::ZERO,
        };
        (Some(next), standing)
    }
}

/// The moments of all keys of one limit.
pub(crate) struct Moments {
    cells: Box<[AtomicU64]>,
    stripes: [Mutex<()>; STRIPES],
    seed: RandomState,
}

impl Moments {
    pub(crate) fn new() -> Self {
        Self {
            cells: (0..ROWS * CELLS).map(|_| AtomicU64::new(0)).collect(),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            seed: RandomState::new(),
        }
    }

    /// `now`: nanoseconds on a clock that does not go back.
    pub(crate) fn take(&self, key: &impl Hash, pace: &Pace, now: u64) -> Standing {
        // Which cells share is secret, so nobody can aim at somebody else's.
        let hash = self.seed.hash_one(key);
        let cells = self.cells_of(hash);
        let stripe = &self.stripes[(hash >> 58) as usize % STRIPES];
        let _one_at_a_time = stripe.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = cells.iter().map(|cell| cell.load(Relaxed)).min().unwrap_or(0);
        let (next, standing) = pace.decide(moment, now);
        if let Some(next) = next {
            for cell in cells {
                cell.fetch_max(next, Relaxed);
            }
        }
        standing
    }

    fn cells_of(&self, hash: u64) -> [&AtomicU64; ROWS] {
        // Two halves make as many positions as are wanted (Kirsch and Mitzenmacher, 2006).
        let (a, b) = (hash as u32, (hash >> 32) as u32 | 1);
        std::array::from_fn(|row| {
            let mixed = a.wrapping_add(b.wrapping_mul(row as u32 + 1));
            // Low bits of a sum of products repeat from row to row; high ones do not.
            let at = (u64::from(mixed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % CELLS;
            &self.cells[row * CELLS + at]
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_never_gets_more_than_its_burst_and_its_rate(
            count in 1u32..2_000,
            per_ms in prop::sample::select(vec![1_000u64, 60_000, 3_600_000]),
            burst in 1u32..50,
            pauses in prop::collection::vec(0u64..400_000_000, 1..400),
            others in any::<bool>(),
        ) {
            let pace = Pace::new(count, Duration::from_millis(per_ms), burst);
            let moments = Moments::new();
            let mut now = 1_000_000_000u64;
            let mut admitted_at = Vec::new();
            for pause in pauses {
                now += pause;
                if others {
                    moments.take(&("other", now), &pace, now);
                }
                let standing = moments.take(&"key", &pace, now);
                prop_assert_eq!(standing.admitted, standing.retry.is_zero());
                if standing.admitted {
                    admitted_at.push(now);
                }
            }
            // Over every stretch of time, not only from the start.
            for (first, from) in admitted_at.iter().enumerate() {
                for (last, to) in admitted_at.iter().enumerate().skip(first) {
                    let got = (last - first + 1) as f64;
                    let may = f64::from(burst)
                        + f64::from(count) * (to - from) as f64 / (per_ms as f64 * 1e6);
                    prop_assert!(got <= may + 1e-6, "{} of {} in {} ns", got, may, to - from);
                }
            }
        }

        #[test]
        fn who_waits_as_long_as_told_is_let_in(burst in 1u32..20, count in 1u32..1_000) {
            let pace = Pace::new(count, Duration::from_secs(1), burst);
            let moments = Moments::new();
            let mut now = 5u64;
            for _ in 0..burst {
                prop_assert!(moments.take(&1, &pace, now).admitted);
            }
            let refused = moments.take(&1, &pace, now);
            prop_assert!(!refused.admitted);
            now += u64::try_from(refused.retry.as_nanos()).unwrap();
            prop_assert!(moments.take(&1, &pace, now).admitted);
            prop_assert!(!moments.take(&1, &pace, now).admitted);
        }
    }

    #[test]
    fn a_flood_of_keys_does_not_make_a_limit_forget() {
        let pace = Pace::new(1, Duration::from_secs(60), 3);
        let moments = Moments::new();
        for _ in 0..3 {
            assert!(moments.take(&"victim", &pace, 1).admitted);
        }
        for key in 0..300_000u32 {
            moments.take(&key, &pace, 2);
        }
        assert!(!moments.take(&"victim", &pace, 3).admitted);
    }

    #[test]
    fn strangers_at_their_limit_hardly_ever_cost_anybody_a_request() {
        let pace = Pace::new(1, Duration::from_secs(60), 3);
        let moments = Moments::new();
        for key in 0..10_000u32 {
            for _ in 0..3 {
                moments.take(&key, &pace, 1);
            }
        }
        let refused = (0..20_000u32).filter(|key| !moments.take(&("new", key), &pace, 1).admitted);
        let refused = refused.count();
        assert!(refused < 40, "{refused} of 20000 refused");
    }

    #[test]
    fn two_at_once_do_not_both_take_the_last_place() {
        let pace = Pace::new(1, Duration::from_secs(3_600), 1_000);
        let moments = Moments::new();
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if moments.take(&"same", &pace, 1).admitted {
                            admitted.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.load(Relaxed), 1_000);
    }
}
