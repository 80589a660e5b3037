//! For tests only: seeds that print themselves, and waiting for a condition instead of for time.

mod eventually;
mod seeds;

pub use eventually::{eventually, eventually_blocking};
pub use seeds::{Rng, seeds};
