//! Decides what follows a failed try: a fresh connection, another instance, or the end.
//!
//! The rule (RFC 9110, section 9.2.2): what provably never reached an application may go
//! elsewhere whatever its method; what may have reached one is repeated only if doing it twice
//! is the same as doing it once, and only as often as the caller's policy allows.

/// How far the failed try had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No connection: nothing was sent.
    Nowhere,
    /// The pooled connection was closed before a byte of the request was written.
    Unsent,
    /// Bytes were written; the application may have acted on them.
    Maybe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The same instance again, on a connection of its own.
    Fresh,
    /// The balancer's next choice.
    Other,
    GiveUp,
}

/// What the loop around one request remembers between tries.
#[derive(Debug)]
pub(crate) struct Tries {
    /// The request can be repeated: idempotent, and without a body to read twice.
    repeatable: bool,
    repeats_left: u32,
    connects_left: usize,
    fresh_left: u32,
}

/// A closed connection costs one fresh try; an instance that closes every one of them (h2 with
/// GOAWAY at once) must not hold a request for ever.
const FRESH_MAX: u32 = 3;

impl Tries {
    /// `instances`: how many there are to try; each may refuse a connection once.
    pub(crate) fn new(repeatable: bool, attempts: u32, instances: usize) -> Self {
        Self { repeatable, repeats_left: attempts, connects_left: instances, fresh_left: FRESH_MAX }
    }

    /// Whether a copy of the request must be kept for [`Reached::Maybe`].
    pub(crate) fn wants_copy(&self) -> bool {
        self.repeatable && self.repeats_left > 0
    }

    pub(crate) fn after(&mut self, reached: Reached) -> Next {
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
            Reached::Nowhere if self.repeats_left > 0 => {
                self.repeats_left -= 1;
                Next::Other
            }
            Reached::Nowhere => Next::GiveUp,
            Reached::Maybe if self.wants_copy() => {
                self.repeats_left -= 1;
                Next::Other
            }
            Reached::Maybe => Next::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_arrived_is_never_repeated_unless_harmless() {
        let mut post = Tries::new(false, 5, 3);
        assert_eq!(post.after(Reached::Unsent), Next::Fresh);
        assert_eq!(post.after(Reached::Maybe), Next::GiveUp);
        assert!(!post.wants_copy());
        assert!((0..100).any(|_| post.after(Reached::Unsent) == Next::GiveUp), "it ends");
    }

    #[test]
    fn repeats_are_bounded() {
        let mut get = Tries::new(true, 2, 3);
        assert_eq!(get.after(Reached::Maybe), Next::Other);
        assert_eq!(get.after(Reached::Maybe), Next::Other);
        assert_eq!(get.after(Reached::Maybe), Next::GiveUp);
    }

    #[test]
    fn every_instance_may_refuse_once_and_then_the_policy_counts() {
        for attempts in [0, 2] {
            let mut post = Tries::new(false, attempts, 3);
            for _ in 0..2 + attempts {
                assert_eq!(post.after(Reached::Nowhere), Next::Other);
            }
            assert_eq!(post.after(Reached::Nowhere), Next::GiveUp);
        }
    }
}
