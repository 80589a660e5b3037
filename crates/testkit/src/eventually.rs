//! The one blessed way to wait in a test.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

/// Asks `probe` until it answers `Ok`, at most `within`; then panics with the last `Err`.
///
/// The probe describes what it saw, so that a timeout tells what was missing.
pub async fn eventually<T, E, F>(within: Duration, mut probe: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let deadline = tokio::time::Instant::now() + within;
    let mut pause = Duration::from_millis(5);
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if tokio::time::Instant::now() >= deadline => {
                panic!("not within {within:?}; last seen: {seen:?}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// [`eventually`] for tests without a runtime.
#[expect(clippy::disallowed_methods, reason = "polling needs a pause, and this is the place")]
pub fn eventually_blocking<T, E: Debug>(
    within: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = std::time::Instant::now() + within;
    let mut pause = Duration::from_millis(5);
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if std::time::Instant::now() >= deadline => {
                panic!("not within {within:?}; last seen: {seen:?}");
            }
            Err(_) => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
