//! Randomness that can be repeated.

/// Runs `test` with `count` seeds, or with the one in `ARC_SEED`. A failing seed is printed. The
/// first one is that of `ARC_SEEDS_FROM`, for those that were not tried yet.
pub fn seeds(count: u64, mut test: impl FnMut(u64)) {
    let asked = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if let Some(seed) = asked("ARC_SEED") {
        test(seed);
        return;
    }
    let from = asked("ARC_SEEDS_FROM").unwrap_or_default();
    for seed in from..from.saturating_add(count) {
        let guard = PrintOnPanic(seed);
        test(seed);
        std::mem::forget(guard);
    }
}

struct PrintOnPanic(u64);

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        eprintln!("failed with seed {0}; repeat with ARC_SEED={0}", self.0);
    }
}

/// SplitMix64: small, good enough for tests, the same everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `bound` exclusive.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len() as u64);
        &items[usize::try_from(index).unwrap_or_default()]
    }
}
