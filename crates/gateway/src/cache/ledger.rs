//! Counts the bytes that stored answers hold.
//!
//! An answer that was evicted while it is being sent still takes memory. So what counts is not
//! what can be found but what is alive, and nothing more is stored while that is too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    alive: AtomicUsize,
    max: AtomicUsize,
}

impl Ledger {
    /// `max`: what may be found; a quarter more may be on its way in or out.
    pub(crate) fn allow(&self, max: usize) {
        self.max.store(max.saturating_add(max / 4), Relaxed);
    }

    pub(crate) fn open(self: &Arc<Self>) -> Charge {
        Charge { ledger: Arc::clone(self), bytes: AtomicUsize::new(0) }
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Relaxed)
    }
}

/// Bytes that somebody holds, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    bytes: AtomicUsize,
}

impl Charge {
    /// Whether there is room for so many more; if so they count.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let before = self.ledger.alive.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > self.ledger.max.load(Relaxed) {
            self.ledger.alive.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.bytes.fetch_add(bytes, Relaxed);
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.alive.fetch_sub(self.bytes(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_let_go() {
        let ledger = Arc::new(Ledger::default());
        ledger.allow(100);
        let (first, second) = (ledger.open(), ledger.open());
        assert!(first.grow(100) && second.grow(25));
        assert!(!second.grow(1), "it is full");
        assert_eq!(ledger.alive(), 125);
        drop(first);
        assert!(second.grow(100));
        drop(second);
        assert_eq!(ledger.alive(), 0);
    }
}
