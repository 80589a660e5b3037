//! Randomness for choices that must be even, not secret: balancing, jitter, trace ids.
//!
//! Each thread has its own generator (SplitMix64), so drawing costs a few instructions and
//! shares nothing. Tokens and keys never come from here.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    // `RandomState` is the standard library's way to the system's entropy.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0x5eed));
}

/// An even 64-bit number.
pub fn u64() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        mix(next)
    })
}

/// An even number below `bound`; 0 when `bound` is 0.
pub fn below(bound: u64) -> u64 {
    // The high half of a 128-bit product: even to within bound / 2^64.
    ((u128::from(u64()) * u128::from(bound)) >> 64) as u64
}

/// Makes this thread's numbers replay.
pub fn seed(seed: u64) {
    STATE.with(|state| state.set(seed));
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_bounds_hold() {
        seed(17);
        let first: Vec<u64> = (0..8).map(|_| below(10)).collect();
        seed(17);
        let second: Vec<u64> = (0..8).map(|_| below(10)).collect();
        assert_eq!(first, second);
        assert!(first.iter().all(|n| *n < 10));
        assert_eq!(below(0), 0);
    }
}
