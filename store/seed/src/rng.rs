//! A small generator of numbers that is the same on every machine and in every release.
//!
//! Skus, prices and stock are promises between services that never read each other's database,
//! so the numbers may not change with the version of a library. SplitMix64 is twelve lines, and
//! a stream can be opened at any place: every product draws from a stream of its own, so product
//! 90 000 costs no more than product 3.

pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of one thing: `seed` says which store, `what` and `index` say which thing.
    pub(crate) fn of(seed: u64, what: u64, index: u64) -> Self {
        let mut rng = Rng(seed ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let a = rng.next();
        Rng(a ^ index.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    /// Uniform in (0, 1].
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Roughly normal with variance 1: the sum of four uniforms. Exact tails do not matter for
    /// prices, and `ln`/`cos` of the platform's libm might differ in the last bit.
    pub(crate) fn normalish(&mut self) -> f64 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732
    }

    /// One of `items`. Panics only on an empty slice, and every list here is a constant.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// `n` different indexes below `len`, in random order.
    pub(crate) fn sample(&mut self, len: usize, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..len).collect();
        let n = n.min(len);
        for i in 0..n {
            let j = i + self.below(len - i);
            all.swap(i, j);
        }
        all.truncate(n);
        all
    }
}
