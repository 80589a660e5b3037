//! Clients that do not take what they asked for.
//!
//! Whoever asks for something large and then reads nothing, or opens no window on a stream of
//! HTTP/2, would keep the answer, its instance and our buffers for as long as they like. A timer
//! per piece of an answer would cost more than passing it on, so the pieces are counted by the
//! turn in which they were handed out, and somebody looks from time to time whether any of an old
//! turn is still not taken.
//!
//! hyper gives no hold on one stream: what ends is the connection, with GOAWAY first, so that the
//! other requests on it have their time to finish.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What was handed out in the oldest of these turns is overdue.
const TURNS: usize = 4;
/// Turns that pass until then, at least.
pub(crate) const TURNS_OF_PATIENCE: u32 = TURNS as u32 - 1;

/// Pieces of answers that the streams of one connection have not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    turn: AtomicU32,
    untaken: [AtomicU32; TURNS],
}

/// The turn in which a piece was handed out; to be given back when it is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn(usize);

impl Handed {
    pub(crate) fn hand(&self) -> Turn {
        let turn = self.turn.load(Relaxed) as usize % TURNS;
        self.untaken[turn].fetch_add(1, Relaxed);
        Turn(turn)
    }

    pub(crate) fn taken(&self, Turn(turn): Turn) {
        self.untaken[turn].fetch_sub(1, Relaxed);
    }

    /// Begins the next turn. Returns whether something of the oldest one was never taken.
    pub(crate) fn next(&self) -> bool {
        let next = self.turn.load(Relaxed).wrapping_add(1);
        let overdue = self.untaken[next as usize % TURNS].load(Relaxed) > 0;
        self.turn.store(next, Relaxed);
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_never_taken_is_overdue() {
        let handed = Handed::default();
        let mut old = handed.hand();
        for _ in 0..20 {
            let piece = handed.hand();
            assert!(!handed.next(), "always another piece");
            handed.taken(old);
            old = piece;
        }
        assert_eq!((0..TURNS_OF_PATIENCE).filter(|_| handed.next()).count(), 1);
        handed.taken(old);
        assert!((0..10).all(|_| !handed.next()));
    }
}
