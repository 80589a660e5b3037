//! How long an instance takes of late: a moving average that believes bad news at once.
//!
//! A sample above the average replaces it, one below pulls it down by and by, and without samples
//! it fades, so that an instance that was slow gets another chance (the "peak EWMA" of Finagle).
//!
//! One atomic word without a lock: of two samples in the same instant one may be lost, which
//! changes nothing about an average.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// After this long without news a third of the average is left.
const FADES_MS: f32 = 2_000.0;
/// What one quick answer leaves of it at most, however soon it comes after the last.
const KEEPS_MAX: f32 = 0.9;

/// The average in microseconds, as `f32`, above the millisecond of the last sample.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

impl Latency {
    pub(crate) fn add(&self, took: Duration, now_ms: u64) {
        let word = self.0.load(Relaxed);
        let took = took.as_secs_f32() * 1e6;
        self.0.store(pack(sample(faded(word, now_ms), stamp(word), took, now_ms), now_ms), Relaxed);
    }

    /// It took at least this long and then came to nothing: never good news.
    pub(crate) fn add_failure(&self, took: Duration, now_ms: u64) {
        if took.as_secs_f32() * 1e6 > faded(self.0.load(Relaxed), now_ms) {
            self.add(took, now_ms);
        }
    }

    /// In microseconds.
    pub(crate) fn now(&self, now_ms: u64) -> f32 {
        faded(self.0.load(Relaxed), now_ms)
    }
}

fn sample(average: f32, last_ms: u32, took: f32, now_ms: u64) -> f32 {
    if took >= average {
        return took;
    }
    let passed = (now_ms as u32).wrapping_sub(last_ms) as f32;
    // `average` has faded by this already, as if nothing had come.
    let faded = (-passed / FADES_MS).exp();
    let keep = faded.min(KEEPS_MAX);
    average * (keep / faded) + took * (1.0 - keep)
}

fn pack(average: f32, now_ms: u64) -> u64 {
    u64::from(average.to_bits()) << 32 | (now_ms & 0xffff_ffff)
}

fn stamp(word: u64) -> u32 {
    word as u32
}

fn faded(word: u64, now_ms: u64) -> f32 {
    let average = f32::from_bits((word >> 32) as u32);
    let passed = (now_ms as u32).wrapping_sub(stamp(word));
    // A sample of another thread may be from a moment later.
    if passed == 0 || passed > u32::MAX / 2 || average == 0.0 {
        return average;
    }
    average * (-(passed as f32) / FADES_MS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn bad_news_counts_at_once_and_good_news_by_and_by() {
        let latency = Latency::default();
        for now in 0..1_000 {
            latency.add(MS, now);
        }
        assert!((900.0..1_100.0).contains(&latency.now(1_000)), "{}", latency.now(1_000));
        latency.add(MS * 100, 1_000);
        assert!(latency.now(1_000) > 99_000.0);
        (0..5).for_each(|_| latency.add(MS, 1_000));
        assert!((50_000.0..70_000.0).contains(&latency.now(1_000)), "{}", latency.now(1_000));
        (0..50).for_each(|_| latency.add(MS, 1_001));
        assert!(latency.now(1_001) < 2_000.0, "{}", latency.now(1_001));
        latency.add(MS * 100, 2_000);
        assert!((30_000.0..40_000.0).contains(&latency.now(4_000)), "without news it fades");
        assert!(latency.now(60_000) < 1.0);
    }

    #[test]
    fn a_failure_is_never_good_news() {
        let latency = Latency::default();
        latency.add(MS * 10, 0);
        latency.add_failure(Duration::from_micros(1), 0);
        assert!(latency.now(0) > 9_000.0);
        latency.add_failure(MS * 500, 0);
        assert!(latency.now(0) > 499_000.0);
    }

    proptest! {
        #[test]
        fn it_lies_between_what_was_seen(
            samples in proptest::collection::vec((0_u64..100, 1_u64..1_000_000), 1..200),
            start in 0_u64..u64::from(u32::MAX) * 2,
        ) {
            let latency = Latency::default();
            let (mut now, mut most) = (start, 0);
            for (wait, micros) in samples {
                now += wait;
                most = most.max(micros);
                latency.add(Duration::from_micros(micros), now);
                let seen = latency.now(now);
                prop_assert!(seen > 0.0 && seen <= most as f32 * 1.001, "{} of {}", seen, most);
            }
        }
    }
}
