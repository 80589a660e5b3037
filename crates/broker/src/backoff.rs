//! How long to wait before the next attempt.

use std::time::Duration;

use archipel_model::Backoff;

/// A point in `0..1`, drawn by the caller so that this stays pure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roll(f64);

impl Roll {
    pub(crate) fn draw() -> Self {
        Self::of(archipel_rt::random::u64())
    }

    pub(crate) fn of(bits: u64) -> Self {
        // 53 bits are what a float holds.
        Self((bits >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Exponential with full jitter: anywhere between nothing and the bound, which doubles from `min`
/// to `max`. Full, because failures come in herds, and half a herd is still one.
pub(crate) fn delay(backoff: Backoff, failures: u32, roll: Roll) -> Duration {
    let doubled = backoff.min.saturating_mul(1_u32 << failures.saturating_sub(1).min(30));
    doubled.min(backoff.max).mul_f64(roll.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_and_stays_below_the_maximum() {
        let backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(60) };
        let top = Roll::of(u64::MAX);
        for (failures, bound_ms) in
            [(0, 500), (1, 500), (2, 1_000), (8, 60_000), (u32::MAX, 60_000)]
        {
            let found = delay(backoff, failures, top).as_millis();
            assert!(found <= bound_ms && found >= bound_ms - 1, "{failures}: {found}");
        }
        assert_eq!(delay(backoff, 5, Roll::of(0)), Duration::ZERO);
    }
}
