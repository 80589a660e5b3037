//! How long to wait before the next try.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Doubling waits between `first` and `max`, with full jitter: the wait is anywhere between
/// nothing and the doubled value, so that callers that failed together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (1 or more). `random` is in 0..1.
    pub fn wait(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }
}

/// A number in 0..1, good enough to spread retries.
pub fn jitter() -> f64 {
    let random = uuid::Uuid::now_v7().as_u128() & 0xffff_ffff;
    random as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_bound() {
        let backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(30) };
        assert_eq!(backoff.wait(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff.wait(4, 1.0), Duration::from_secs(4));
        assert_eq!(backoff.wait(u32::MAX, 1.0), Duration::from_secs(30));
        assert_eq!(backoff.wait(4, 0.0), Duration::ZERO);
        assert!((0.0..=1.0).contains(&jitter()));
    }
}
