//! How values are spread: counts between bounds.

/// More is refused; SDKs send fifteen, or at most 160 of the exponential kind.
pub(crate) const BOUNDS_MAX: usize = 512;
/// Bounds of exponential histograms are the powers of the square root of two: two that were
/// measured at different scales share them, so they can be added.
const SCALE: i32 = 1;

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Buckets {
    /// Upper ones, ascending; what is over the last is only in `count`.
    pub(crate) bounds: Vec<f64>,
    /// As many as bounds.
    pub(crate) counts: Vec<u64>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Buckets {
    /// Of an explicit histogram, whose last count has no bound. `None` when it is none.
    pub(crate) fn explicit(bounds: Vec<f64>, mut counts: Vec<u64>, count: u64) -> Option<Self> {
        let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if bounds.len() > BOUNDS_MAX || !rising || bounds.iter().any(|bound| bound.is_nan()) {
            return None;
        }
        // Neither of them: only count and sum are known.
        if counts.is_empty() && bounds.is_empty() {
            return Some(Self { count, ..Self::default() });
        }
        if counts.len() != bounds.len() + 1 {
            return None;
        }
        counts.pop();
        Some(Self { bounds, counts, count, sum: 0.0 })
    }

    /// Of an exponential one: bucket `offset + n` reaches to `base^(offset + n + 1)`, where
    /// `base` is `2^(2^-scale)`. Zero and what is below lie under the first bound.
    pub(crate) fn exponential(
        scale: i32,
        offset: i32,
        counts: &[u64],
        below: u64,
        count: u64,
    ) -> Option<Self> {
        if counts.len() > BOUNDS_MAX || !(-10..=20).contains(&scale) {
            return None;
        }
        // Coarser by so many halvings: bucket i becomes i >> shift.
        let shift = (scale - SCALE).max(0);
        let step = f64::from(scale.min(SCALE));
        let bound_of = |index: i32| (f64::from(index) * (-step).exp2()).exp2();
        let mut out = Self { count, ..Self::default() };
        let first = offset >> shift;
        if below > 0 || !counts.is_empty() {
            out.bounds.push(bound_of(first));
            out.counts.push(below);
        }
        for (n, more) in counts.iter().enumerate() {
            let index = offset.checked_add(i32::try_from(n).ok()?)? >> shift;
            let at = usize::try_from(index - first).ok()? + 1;
            while out.bounds.len() <= at {
                let next = first.checked_add(i32::try_from(out.bounds.len()).ok()?)?;
                out.bounds.push(bound_of(next));
                out.counts.push(0);
            }
            out.counts[at] = out.counts[at].saturating_add(*more);
        }
        // Beyond what a number can be: the last bucket.
        let whole = out.bounds.iter().take_while(|bound| bound.is_finite()).count();
        out.bounds.truncate(whole);
        out.counts.truncate(whole);
        Some(out)
    }

    /// Where bounds differ, a count stays at its upper one.
    pub(crate) fn add(&mut self, more: &Self) {
        self.count = self.count.saturating_add(more.count);
        self.sum += more.sum;
        if self.bounds == more.bounds {
            let counts = self.counts.iter_mut().zip(&more.counts);
            counts.for_each(|(sum, more)| *sum = sum.saturating_add(*more));
            return;
        }
        for (bound, count) in more.bounds.iter().zip(&more.counts) {
            match self.bounds.binary_search_by(|own| own.total_cmp(bound)) {
                Ok(at) => self.counts[at] = self.counts[at].saturating_add(*count),
                Err(at) if self.bounds.len() < BOUNDS_MAX => {
                    self.bounds.insert(at, *bound);
                    self.counts.insert(at, *count);
                }
                // Into the next one up, or only into `count`.
                Err(at) => {
                    if let Some(own) = self.counts.get_mut(at) {
                        *own = own.saturating_add(*count);
                    }
                }
            }
        }
    }

    /// What came after `before`; all of it when that cannot be told.
    pub(crate) fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.count <= self.count) else {
            return self.clone();
        };
        let mut out = self.clone();
        out.count -= before.count;
        out.sum -= before.sum;
        for (bound, count) in before.bounds.iter().zip(&before.counts) {
            let at = out.bounds.partition_point(|own| own < bound);
            if let Some(own) = out.counts.get_mut(at) {
                *own = own.saturating_sub(*count);
            }
        }
        out
    }

    /// Evenly between the bounds of its bucket; the last bound for what is over it.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = *self.bounds.last()?;
        if self.count == 0 {
            return None;
        }
        let wanted = share * self.count as f64;
        let mut below = 0.0;
        let mut lower = self.bounds[0].min(0.0);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let within = *count as f64;
            if within > 0.0 && below + within >= wanted {
                return Some(lower + (bound - lower) * (wanted - below) / within);
            }
            below += within;
            lower = *bound;
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let of = Buckets::explicit(vec![1.0, 2.0, 4.0], vec![0, 50, 50, 0], 100).unwrap();
        assert_eq!(of.quantile(0.5), Some(2.0));
        assert_eq!(of.quantile(0.75), Some(3.0));
        assert_eq!(Buckets::explicit(vec![1.0], vec![0, 9], 9).unwrap().quantile(0.5), Some(1.0));
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert!(Buckets::explicit(vec![2.0, 1.0], vec![0, 0, 0], 0).is_none());
        assert!(Buckets::explicit(vec![1.0], vec![0], 0).is_none());
    }

    #[test]
    fn exponential_buckets_of_any_scale_can_be_added() {
        // Scale 3: bucket 0 reaches from 1 to 2^(1/8), bucket 8 from 2.
        let fine = Buckets::exponential(3, 0, &[1, 0, 0, 0, 0, 0, 0, 0, 5], 2, 8).unwrap();
        assert_eq!(fine.bounds.len(), fine.counts.len());
        assert_eq!(fine.counts, [2, 1, 0, 5]);
        let bounds: Vec<i64> = fine.bounds.iter().map(|of| (of * 1000.0).round() as i64).collect();
        assert_eq!(bounds, [1000, 1414, 2000, 2828]);
        // Scale 0: bucket 1 reaches from 2 to 4.
        let coarse = Buckets::exponential(0, 1, &[3], 0, 3).unwrap();
        assert_eq!(coarse.bounds, [2.0, 4.0]);
        let mut sum = fine;
        sum.add(&coarse);
        assert_eq!(sum.count, 11);
        assert_eq!(sum.counts.iter().sum::<u64>(), 11);
        assert!(sum.quantile(0.99).unwrap() > 2.8);
    }

    /// Counts and offsets are what a service says.
    #[test]
    fn numbers_at_the_end_of_their_range_do_not_overflow() {
        for (scale, offset) in [(0, i32::MAX), (0, i32::MIN), (20, i32::MAX), (-10, i32::MAX - 2)] {
            let most = [u64::MAX; 3];
            if let Some(mut of) = Buckets::exponential(scale, offset, &most, u64::MAX, u64::MAX) {
                of.add(&of.clone());
                of.add(&Buckets::explicit(vec![1.0], vec![u64::MAX, 1], u64::MAX).unwrap());
                assert_eq!(of.count, u64::MAX);
            }
        }
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let before = Buckets::explicit(vec![1.0, 2.0], vec![5, 1, 0], 6).unwrap();
        let now = Buckets::explicit(vec![1.0, 2.0], vec![5, 4, 1], 10).unwrap();
        let step = now.since(Some(&before));
        assert_eq!((step.count, step.counts), (4, vec![0, 3]));
        assert_eq!(before.since(Some(&now)).count, 6, "it began anew");
    }
}
