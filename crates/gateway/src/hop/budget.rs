//! Bounds what retries may add to a service that is already in trouble.
//!
//! Of the requests of the last seconds a share may be sent once more, and a few in any case, so
//! that an edge with little traffic may retry at all. A count per request would not do: when
//! everything fails, it multiplies the load by the attempts exactly when there is least to spare.
//!
//! Reads the counters that exist anyway when a retry is wanted and every few seconds, so requests
//! that go well pay nothing for it.

use std::time::Duration;

/// How often [`Budget::turn`] is due; what counts as recent is one to two of these.
pub(crate) const TURN: Duration = Duration::from_secs(5);
/// Allowed in a recent time whatever the traffic was.
const FLOOR: u64 = 20;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    requests: u64,
    retries: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Budget {
    retries: u64,
    /// Where the counters stood at the turn before the last one, and at the last one.
    marks: [Mark; 2],
}

impl Budget {
    /// Takes one retry out of the budget, if there is one. `requests` counts since ever.
    pub(crate) fn take(&mut self, requests: u64, percent: u8) -> bool {
        self.take_of(requests, percent, FLOOR)
    }

    pub(crate) fn take_of(&mut self, requests: u64, percent: u8, floor: u64) -> bool {
        let recent = requests.saturating_sub(self.marks[0].requests);
        let spent = self.retries - self.marks[0].retries;
        let fits = spent < floor + recent.saturating_mul(percent.into()) / 100;
        self.retries += u64::from(fits);
        fits
    }

    pub(crate) fn turn(&mut self, requests: u64) {
        self.marks = [self.marks[1], Mark { requests, retries: self.retries }];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quiet_edge_may_retry_and_a_failing_one_not_for_ever() {
        let mut budget = Budget::default();
        assert_eq!((0..100).filter(|_| budget.take(0, 20)).count() as u64, FLOOR);
        assert!(!budget.take(4, 20) && budget.take(5, 20), "a fifth of what came since");
        budget.turn(5);
        assert!(!budget.take(5, 20), "what was spent just now counts");
        budget.turn(5);
        assert!(budget.take(5, 20), "and after a while no more");
    }

    proptest! {
        #[test]
        fn retries_stay_within_their_share(
            steps in proptest::collection::vec((0_u64..200, 0_u64..200), 1..50),
            percent in 0_u8..=100,
        ) {
            let mut budget = Budget::default();
            let (mut requests, mut earlier) = (0, [0, 0]);
            let mut taken = [0, 0];
            for (arrived, wanted) in steps {
                requests += arrived;
                let granted = (0..wanted).filter(|_| budget.take(requests, percent)).count();
                taken[1] += granted as u64;
                let share = (requests - earlier[0]) * u64::from(percent) / 100;
                // Those of before may have been within a share that has since passed.
                prop_assert!(granted == 0 || taken[0] + taken[1] <= FLOOR + share);
                budget.turn(requests);
                earlier = [earlier[1], requests];
                taken = [taken[1], 0];
            }
        }
    }
}
