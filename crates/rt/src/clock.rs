//! The two clocks: monotonic for waiting, wall for showing.

use std::time::SystemTime;

pub use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};

/// Monotonic; stands still under `tokio::time::pause`.
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, for timestamps that people and other systems read; never for waiting,
/// because it jumps.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since 1970 on the wall clock.
pub fn wall_ms() -> u64 {
    let since = wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
