//! Decides what follows a failed try: a fresh connection, another instance, or the end.
//!
//! The rule (RFC 9110, section 9.2.2): what provably never reached an application may go
//! elsewhere whatever its method; what may have reached one is repeated only if doing it twice
//! is the same as doing it once, and only as often as the caller's policy allows.

use archipel_model::{Retry, RetryOn};

/// How far the failed try had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No connection: nothing was sent.
    Nowhere,
    /// The pooled connection was closed before a byte of the request was written.
    Unsent,
    /// Bytes were written; the application may have acted on them.
    Maybe,
    /// It answered that it could not.
    Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The same instance again, on a connection of its own.
    Fresh,
    /// The balancer's next choice, at once.
    Other,
    /// The same after a pause: it may reach the same instance, or meet the same trouble.
    Later,
    GiveUp,
}

/// What the loop around one request remembers between tries.
#[derive(Debug)]
pub(crate) struct Tries {
    /// The request can be repeated: idempotent, and without a body to read twice.
    repeatable: bool,
    on: RetryOn,
    repeats_left: u32,
    connects_left: usize,
    fresh_left: u32,
}

/// A closed connection costs one fresh try; an instance that closes every one of them (h2 with
/// GOAWAY at once) must not hold a request for ever.
const FRESH_MAX: u32 = 3;

impl Tries {
    /// `instances`: how many there are to try; each may refuse a connection once.
    pub(crate) fn new(repeatable: bool, retry: &Retry, instances: usize) -> Self {
        Self {
            repeatable,
            on: retry.on,
            repeats_left: retry.attempts,
            connects_left: instances,
            fresh_left: FRESH_MAX,
        }
    }

    /// Whether a copy of the request must be kept: nobody gives back what was sent.
    pub(crate) fn wants_copy(&self) -> bool {
        self.repeatable && self.repeats_left > 0
    }

    /// `budget` is asked only when there is a use for one more retry.
    pub(crate) fn after(&mut self, reached: Reached, budget: impl FnOnce() -> bool) -> Next {
        match reached {
            Reached::Unsent if self.fresh_left > 0 => {
                self.fresh_left -= 1;
                Next::Fresh
            }
            Reached::Unsent => Next::GiveUp,
            Reached::Nowhere if self.connects_left > 1 => {
                self.connects_left -= 1;
                Next::Other
            }
            Reached::Nowhere if self.on.connect && self.repeats_left > 0 => self.repeat(budget),
            Reached::Nowhere => Next::GiveUp,
            Reached::Maybe if self.on.reset && self.wants_copy() => self.repeat(budget),
            Reached::Maybe => Next::GiveUp,
            Reached::Answered if self.wants_copy() => self.repeat(budget),
            Reached::Answered => Next::GiveUp,
        }
    }

    fn repeat(&mut self, budget: impl FnOnce() -> bool) -> Next {
        if !budget() {
            return Next::GiveUp;
        }
        self.repeats_left -= 1;
        Next::Later
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use archipel_model::Backoff;

    use super::*;
    use proptest::prelude::*;

    fn tries(repeatable: bool, attempts: u32, instances: usize) -> Tries {
        Tries::new(repeatable, &Retry { attempts, ..Retry::default() }, instances)
    }

    #[test]
    fn what_may_have_arrived_is_never_repeated_unless_harmless() {
        let mut post = tries(false, 5, 3);
        assert_eq!(post.after(Reached::Unsent, || true), Next::Fresh);
        assert_eq!(post.after(Reached::Maybe, || true), Next::GiveUp);
        assert_eq!(post.after(Reached::Answered, || true), Next::GiveUp);
        assert!(!post.wants_copy());
        assert!((0..100).any(|_| post.after(Reached::Unsent, || true) == Next::GiveUp), "it ends");
    }

    #[test]
    fn repeats_are_bounded() {
        for reached in [Reached::Maybe, Reached::Answered] {
            let mut get = tries(true, 2, 3);
            assert_eq!(get.after(reached, || true), Next::Later);
            assert_eq!(get.after(reached, || true), Next::Later);
            assert_eq!(get.after(reached, || true), Next::GiveUp);
            let mut get = tries(true, 2, 3);
            assert_eq!(get.after(reached, || false), Next::GiveUp, "the budget is spent");
        }
    }

    #[test]
    fn every_instance_may_refuse_once_and_then_the_policy_counts() {
        for attempts in [0, 2] {
            let mut post = tries(false, attempts, 3);
            let unasked = || unreachable!("to go to another instance is no retry");
            for _ in 0..2 {
                assert_eq!(post.after(Reached::Nowhere, unasked), Next::Other);
            }
            for _ in 0..attempts {
                assert_eq!(post.after(Reached::Nowhere, || true), Next::Later);
            }
            assert_eq!(post.after(Reached::Nowhere, || true), Next::GiveUp);
        }
    }

    #[test]
    fn only_what_the_policy_names_is_retried() {
        let on = RetryOn { connect: false, reset: false, ..RetryOn::ALL };
        let mut get = Tries::new(true, &Retry { on, ..Retry::default() }, 1);
        assert_eq!(get.after(Reached::Nowhere, || true), Next::GiveUp);
        assert_eq!(get.after(Reached::Maybe, || true), Next::GiveUp);
        assert_eq!(get.after(Reached::Answered, || true), Next::Later);
    }

    proptest! {
        #[test]
        fn pauses_grow_to_their_bound(min in 1_u64..1_000, more in 0_u64..10_000, n: u32, draw: u64) {
            let millis = Duration::from_millis;
            let backoff = Backoff { min: millis(min), max: millis(min + more) };
            prop_assert!(backoff.pause(n, draw) <= backoff.max);
            prop_assert!(backoff.pause(0, draw) <= backoff.min);
            prop_assert!(backoff.pause(u32::MAX, u64::MAX) >= backoff.max.min(backoff.min * 65_536));
        }
    }
}
