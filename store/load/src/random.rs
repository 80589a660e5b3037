//! Chance that can be repeated: SplitMix64, and the distributions that people follow.

#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In 0..1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// The wait until the next of many independent events, `mean` on average.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    /// How long people look at a page: most briefly, some for long.
    pub(crate) fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        let (u, v) = (1.0 - self.share(), self.share());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        median * (spread * normal).exp()
    }

    /// Favours what comes first, as shoppers do: the n-th is taken 1/n as often as the first.
    pub(crate) fn zipf<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let total: f64 = (1..=items.len()).map(|n| 1.0 / n as f64).sum();
        let mut left = self.share() * total;
        items.iter().enumerate().find_map(|(i, item)| {
            left -= 1.0 / (i + 1) as f64;
            (left <= 0.0).then_some(item)
        })
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[(self.next() % items.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_taken_most_and_the_rest_now_and_then() {
        let mut random = Random::new(3);
        let items: Vec<usize> = (0..10).collect();
        let mut taken = [0; 10];
        for _ in 0..10_000 {
            taken[*random.zipf(&items).unwrap()] += 1;
        }
        assert!(taken[0] > 2 * taken[2] && taken[9] > 100, "{taken:?}");
        assert!(random.zipf::<u8>(&[]).is_none());
    }

    #[test]
    fn events_come_at_the_asked_rate() {
        let mut random = Random::new(3);
        let sum: f64 = (0..20_000).map(|_| random.exponential(0.2)).sum();
        assert!((sum / 20_000.0 - 0.2).abs() < 0.01, "{sum}");
    }
}
