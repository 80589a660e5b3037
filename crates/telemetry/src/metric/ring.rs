//! The last hour of one number.

use std::collections::VecDeque;
use std::ops::Range;

/// Between two samples.
pub const SAMPLE_MS: u64 = 5_000;
pub(super) const KEPT: usize = 720;
pub(super) const KEPT_MS: u64 = SAMPLE_MS * KEPT as u64;

#[derive(Default)]
pub(super) struct Ring {
    /// Of the first value, in samples since 1970.
    first: u64,
    /// Not a number: nothing is known of that moment.
    values: VecDeque<f32>,
}

impl Ring {
    pub(super) fn push(&mut self, at_ms: u64, value: f32) {
        let slot = at_ms / SAMPLE_MS;
        let next = self.first + self.values.len() as u64;
        if self.values.is_empty() || slot >= next + KEPT as u64 {
            self.values.clear();
            self.first = slot;
        } else if slot < next {
            // Two in one stretch, or a clock that was set back: the later one is right.
            if let Some(at) = slot.checked_sub(self.first) {
                self.values[at as usize] = value;
            }
            return;
        } else {
            (next..slot).for_each(|_| self.values.push_back(f32::NAN));
        }
        self.values.push_back(value);
        while self.values.len() > KEPT {
            self.values.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = (u64, f32)> + '_ {
        let at = |(n, value): (usize, &f32)| ((self.first + n as u64) * SAMPLE_MS, *value);
        self.values.iter().enumerate().map(at).filter(|(_, value)| !value.is_nan())
    }

    /// Mean and maximum.
    pub(super) fn summary(&self, span: Range<u64>) -> Option<(f32, f32)> {
        let within = || self.values().filter(|(at, _)| span.contains(at)).map(|(_, value)| value);
        let count = within().count();
        let max = within().reduce(f32::max)?;
        Some((within().sum::<f32>() / count as f32, max))
    }

    /// Nothing came for as long as is kept.
    pub(super) fn is_silent(&self, now_ms: u64) -> bool {
        (self.first + self.values.len() as u64 + KEPT as u64) * SAMPLE_MS < now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps_and_old_values_leave() {
        let mut ring = Ring::default();
        ring.push(10_000, 1.0);
        ring.push(25_000, 4.0);
        assert_eq!(ring.values().collect::<Vec<_>>(), [(10_000, 1.0), (25_000, 4.0)]);
        assert_eq!(ring.summary(0..60_000), Some((2.5, 4.0)));
        ring.push(12_000, 2.0);
        assert_eq!(ring.values().next(), Some((10_000, 2.0)));
        for n in 0..2 * KEPT as u64 {
            ring.push(25_000 + n * SAMPLE_MS, n as f32);
        }
        assert_eq!(ring.values.len(), KEPT);
        ring.push(25_000 + 100 * KEPT_MS, 9.0);
        assert_eq!(ring.values().count(), 1);
        ring.push(0, 5.0);
        assert_eq!(ring.values().count(), 1, "a clock that was set back");
    }
}
