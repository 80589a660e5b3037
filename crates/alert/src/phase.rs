//! When an alert begins and when it is over: a pure function of what is seen and when.

use serde::{Deserialize, Serialize};

/// Where an alert is. One that is over leaves nothing behind but its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Phase {
    Ok,
    /// Holds, and not yet for long enough.
    Pending {
        since_ms: u64,
    },
    Firing {
        since_ms: u64,
        /// When it was last seen to hold.
        held_ms: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    pub hold_ms: u64,
    pub resolve_ms: u64,
}

impl Phase {
    /// The next phase. While it is `quiet` nothing begins to fire: instances come and go then.
    #[must_use]
    pub fn next(self, holds: bool, quiet: bool, timing: Timing, now_ms: u64) -> Self {
        match self.not_after(now_ms) {
            Self::Ok if !holds || quiet => Self::Ok,
            Self::Ok if timing.hold_ms == 0 => Self::Firing { since_ms: now_ms, held_ms: now_ms },
            Self::Ok => Self::Pending { since_ms: now_ms },
            Self::Pending { .. } if !holds => Self::Ok,
            Self::Pending { since_ms }
                if quiet || now_ms < since_ms.saturating_add(timing.hold_ms) =>
            {
                Self::Pending { since_ms }
            }
            Self::Pending { .. } => Self::Firing { since_ms: now_ms, held_ms: now_ms },
            Self::Firing { since_ms, .. } if holds => Self::Firing { since_ms, held_ms: now_ms },
            Self::Firing { held_ms, .. } if now_ms.saturating_sub(held_ms) >= timing.resolve_ms => {
                Self::Ok
            }
            firing @ Self::Firing { .. } => firing,
        }
    }

    /// What seems to lie ahead was before the clock was put back: it counts from now on, or
    /// nothing would begin or end until the clock is there again.
    fn not_after(self, now_ms: u64) -> Self {
        match self {
            Self::Ok => Self::Ok,
            Self::Pending { since_ms } => Self::Pending { since_ms: since_ms.min(now_ms) },
            Self::Firing { since_ms, held_ms } => {
                Self::Firing { since_ms: since_ms.min(now_ms), held_ms: held_ms.min(now_ms) }
            }
        }
    }

    pub fn is_firing(self) -> bool {
        matches!(self, Self::Firing { .. })
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
        }
    }

    pub fn since_ms(self) -> u64 {
        match self {
            Self::Ok => 0,
            Self::Pending { since_ms } | Self::Firing { since_ms, .. } => since_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(seen: &[(u64, bool, bool)], timing: Timing) -> Vec<(u64, Phase)> {
        let mut phase = Phase::Ok;
        let mut now = 1_000;
        let mut all = Vec::new();
        for (step, holds, quiet) in seen {
            now += step;
            phase = phase.next(*holds, *quiet, timing, now);
            all.push((now, phase));
        }
        all
    }

    proptest! {
        #[test]
        fn it_fires_only_after_holding_and_ends_only_after_not_holding(
            seen in prop::collection::vec((1u64..5_000, any::<bool>(), any::<bool>()), 1..200),
            hold_ms in 0u64..20_000,
            resolve_ms in 0u64..20_000,
        ) {
            let timing = Timing { hold_ms, resolve_ms };
            let all = run(&seen, timing);
            for at in 1..all.len() {
                let (now, phase) = all[at];
                let before = all[at - 1].1;
                if phase.is_firing() && !before.is_firing() {
                    prop_assert!(seen[at].1, "it did not hold");
                    prop_assert!(!seen[at].2, "it was quiet");
                    // Everything since `hold_ms` ago held.
                    let within = (0..=at).rev().take_while(|i| all[*i].0 + hold_ms > now);
                    for i in within {
                        prop_assert!(seen[i].1);
                    }
                }
                if before.is_firing() && !phase.is_firing() {
                    prop_assert_eq!(phase, Phase::Ok);
                    let within = (0..=at).rev().take_while(|i| all[*i].0 + resolve_ms > now);
                    for i in within {
                        prop_assert!(!seen[i].1);
                    }
                }
            }
        }

        #[test]
        fn a_clock_that_jumps_back_harms_nothing(
            seen in prop::collection::vec((0u64..u64::MAX, any::<bool>()), 1..50),
        ) {
            let timing = Timing { hold_ms: 1_000, resolve_ms: 1_000 };
            let mut phase = Phase::Ok;
            for (now, holds) in seen {
                phase = phase.next(holds, false, timing, now);
            }
        }
    }

    #[test]
    fn a_clock_that_was_put_back_delays_nothing_by_more_than_its_time() {
        let timing = Timing { hold_ms: 1_000, resolve_ms: 1_000 };
        let day = 86_400_000;
        let pending = Phase::Ok.next(true, false, timing, 10 * day);
        let pending = pending.next(true, false, timing, day);
        let firing = pending.next(true, false, timing, day + 1_000);
        assert!(firing.is_firing(), "{firing:?}");
        let (back, begins) = (Phase::Firing { since_ms: 9 * day, held_ms: 10 * day }, day);
        let firing = back.next(false, false, timing, begins);
        assert!(firing.is_firing());
        assert_eq!(firing.next(false, false, timing, begins + 1_000), Phase::Ok);
    }

    #[test]
    fn a_short_recovery_does_not_end_it() {
        let timing = Timing { hold_ms: 0, resolve_ms: 10 };
        let all = run(
            &[
                (1, true, false),
                (5, false, false),
                (4, true, false),
                (9, false, false),
                (1, false, false),
            ],
            timing,
        );
        let words: Vec<&str> = all.iter().map(|(_, phase)| phase.word()).collect();
        assert_eq!(words, ["firing", "firing", "firing", "firing", "ok"]);
    }
}
