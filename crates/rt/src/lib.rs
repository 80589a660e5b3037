//! The surroundings of every component: tasks, stopping, clock, randomness, channels.
//!
//! Product code takes these from here and from nowhere else (`clippy.toml` bans the originals),
//! so that a task always has an owner, a queue always has a bound, and a test can hold the clock.

mod blocking;
mod chain;
mod channel;
pub mod clock;
pub mod random;
mod tasks;

pub use blocking::blocking;
pub use chain::chain;
pub use channel::{Receiver, Sender, channel};
pub use tasks::Tasks;
pub use tokio_util::sync::CancellationToken;
