//! Stops calling a service that fails, and finds out carefully when it has recovered.
//!
//! ```text
//!          too many of the last seconds failed           open_for is over
//! closed ───────────────────────────────────────▶ open ────────────────────▶ half open
//!    ▲                                              ▲     one trial fails        │
//!    │                                              └────────────────────────────┤
//!    └───────────────────────────────────────────────────────────────────────────┘
//!                                all trials go well
//! ```
//!
//! A state machine of values and milliseconds. Each request gets a pass with the number of the
//! state's life; what a request from an earlier life tells is history and changes nothing.

use archipel_model::Breaker as Policy;

/// Requests that try the service out while the breaker is half open.
pub(crate) const TRIALS: u32 = 3;
/// A trial that has not come back after this many times `open_for` is not waited for any longer.
const TRIAL_PATIENCE: u64 = 4;
/// The window is forgotten in steps of this part of it.
const STEPS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    HalfOpen,
    Open,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    policy: Policy,
    state: State,
    life: u64,
    opened: u64,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: u64 },
    HalfOpen { since: u64, given: u32, well: u32 },
}

/// Admits one request; to be handed back with what became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    life: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Bad,
    /// It says nothing about the service: the caller left, or was wrong.
    Unknown,
}

/// Not now; in milliseconds, when to come again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) wait_ms: u64,
}

impl Breaker {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, state: State::Closed(Window::default()), life: 0, opened: 0 }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed(_) => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How often it has opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    pub(crate) fn ask(&mut self, now: u64) -> Result<Pass, Refused> {
        if let State::Open { until } = self.state {
            if now < until {
                return Err(Refused { wait_ms: until - now });
            }
            self.enter(State::HalfOpen { since: now, given: 0, well: 0 });
        }
        let again = self.open_for();
        if let State::HalfOpen { since, given, .. } = &mut self.state {
            if *given >= TRIALS {
                let stale = *since + again * TRIAL_PATIENCE;
                if now < stale {
                    return Err(Refused { wait_ms: again.min(stale - now) });
                }
                self.enter(State::HalfOpen { since: now, given: 1, well: 0 });
            } else {
                *given += 1;
            }
        }
        Ok(Pass { life: self.life })
    }

    pub(crate) fn tell(&mut self, pass: &Pass, outcome: Outcome, now: u64) {
        if pass.life != self.life {
            return;
        }
        let policy = self.policy;
        match (&mut self.state, outcome) {
            (State::Open { .. }, _) | (State::Closed(_), Outcome::Unknown) => {}
            (State::Closed(window), outcome) => {
                window.add(now, policy.window.as_millis() as u64, outcome == Outcome::Bad);
                let (total, bad) = window.sum();
                let many = u64::from(bad) * 100 >= u64::from(total) * u64::from(policy.errors);
                if bad > 0 && total >= policy.min_requests && many {
                    self.open(now);
                }
            }
            (State::HalfOpen { given, .. }, Outcome::Unknown) => *given -= 1,
            (State::HalfOpen { .. }, Outcome::Bad) => self.open(now),
            (State::HalfOpen { well, .. }, Outcome::Good) => {
                *well += 1;
                if *well >= TRIALS {
                    self.enter(State::Closed(Window::default()));
                }
            }
        }
    }

    fn open(&mut self, now: u64) {
        self.opened += 1;
        self.enter(State::Open { until: now + self.open_for() });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.life += 1;
    }

    fn open_for(&self) -> u64 {
        self.policy.open_for.as_millis() as u64
    }
}

/// What became of the requests of the last seconds.
#[derive(Debug, Default)]
struct Window {
    /// (total, bad) of each step; `newest` counts steps since ever.
    steps: [(u32, u32); STEPS],
    newest: u64,
}

impl Window {
    fn add(&mut self, now: u64, length: u64, bad: bool) {
        let step = now / (length / STEPS as u64).max(1);
        let passed = step.saturating_sub(self.newest).min(STEPS as u64);
        for past in 0..passed {
            self.steps[((step - past) % STEPS as u64) as usize] = (0, 0);
        }
        self.newest = self.newest.max(step);
        let (total, failed) = &mut self.steps[(self.newest % STEPS as u64) as usize];
        *total = total.saturating_add(1);
        *failed = failed.saturating_add(u32::from(bad));
    }

    fn sum(&self) -> (u32, u32) {
        self.steps.iter().fold((0, 0), |(total, bad), step| {
            (u32::saturating_add(total, step.0), u32::saturating_add(bad, step.1))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    const MIN: u32 = 10;

    fn breaker() -> Breaker {
        Breaker::new(Policy {
            errors: 50,
            window: Duration::from_secs(10),
            min_requests: MIN,
            open_for: Duration::from_secs(5),
        })
    }

    fn run(breaker: &mut Breaker, now: u64, outcome: Outcome, times: u32) {
        for _ in 0..times {
            let pass = breaker.ask(now).unwrap();
            breaker.tell(&pass, outcome, now);
        }
    }

    #[test]
    fn it_opens_tries_again_and_closes() {
        let mut breaker = breaker();
        run(&mut breaker, 0, Outcome::Good, MIN / 2);
        run(&mut breaker, 0, Outcome::Bad, MIN / 2);
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 1));
        assert_eq!(breaker.ask(1_000), Err(Refused { wait_ms: 4_000 }));
        let trials: Vec<Pass> = (0..TRIALS).map(|_| breaker.ask(5_000).unwrap()).collect();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(breaker.ask(5_000).is_err(), "only a few try it out");
        for trial in &trials {
            breaker.tell(trial, Outcome::Good, 5_100);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        run(&mut breaker, 5_200, Outcome::Bad, MIN - 1);
        assert_eq!(breaker.state(), BreakerState::Closed, "what was before is forgotten");
    }

    #[test]
    fn one_failed_trial_opens_it_again_and_one_without_an_end_makes_room() {
        let mut breaker = breaker();
        run(&mut breaker, 0, Outcome::Bad, MIN);
        let left = breaker.ask(5_000).unwrap();
        breaker.tell(&left, Outcome::Unknown, 5_000);
        let trials: Vec<Pass> = (0..TRIALS).map(|_| breaker.ask(5_000).unwrap()).collect();
        breaker.tell(&trials[0], Outcome::Bad, 5_000);
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 2));
        breaker.tell(&trials[1], Outcome::Good, 5_000);
        assert_eq!(breaker.state(), BreakerState::Open, "the others come too late");
        // Trials that hang for ever do not keep it half open for ever.
        for _ in 0..TRIALS {
            breaker.ask(10_000).unwrap();
        }
        assert!(breaker.ask(29_999).is_err());
        assert!(breaker.ask(30_000).is_ok());
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let mut breaker = breaker();
        for second in 0..100 {
            run(&mut breaker, second * 2_000, Outcome::Bad, 1);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    proptest! {
        #[test]
        fn it_opens_only_for_cause_and_never_stays_open(
            steps in proptest::collection::vec((0_u64..3_000, 0_u8..3, 0_u64..30_000), 1..300),
        ) {
            let mut breaker = breaker();
            let mut now = 0;
            let mut under_way: Vec<(u64, Pass, Outcome)> = Vec::new();
            let mut told: Vec<(u64, Outcome)> = Vec::new();
            for (wait, outcome, takes) in steps {
                now += wait;
                let outcome = [Outcome::Good, Outcome::Bad, Outcome::Unknown][usize::from(outcome)];
                match breaker.ask(now) {
                    Ok(pass) => under_way.push((now + takes, pass, outcome)),
                    Err(refused) => {
                        prop_assert!(breaker.state() != BreakerState::Closed);
                        prop_assert!(refused.wait_ms > 0 && refused.wait_ms <= 5_000);
                    }
                }
                under_way.sort_by_key(|(at, ..)| *at);
                while under_way.first().is_some_and(|(at, ..)| *at <= now) {
                    let (_, pass, outcome) = under_way.remove(0);
                    let (before, opened) = (breaker.state(), breaker.opened());
                    told.push((now, outcome));
                    breaker.tell(&pass, outcome, now);
                    if breaker.opened() > opened && before == BreakerState::Closed {
                        let recent = told.iter().filter(|(at, _)| at + 11_000 >= now);
                        let bad = recent.clone().filter(|(_, o)| *o == Outcome::Bad).count();
                        let good = recent.filter(|(_, o)| *o == Outcome::Good).count();
                        prop_assert!(outcome == Outcome::Bad || good > 0);
                        prop_assert!(bad + good >= MIN as usize, "{} {}", bad, good);
                    }
                }
            }
            // Whatever happened: once it goes well, it closes.
            now += 5_000 * (TRIAL_PATIENCE + 1);
            for _ in 0..TRIALS * 2 {
                let pass = breaker.ask(now);
                prop_assert!(pass.is_ok());
                breaker.tell(&pass.unwrap(), Outcome::Good, now);
            }
            prop_assert_eq!(breaker.state(), BreakerState::Closed);
        }
    }
}
