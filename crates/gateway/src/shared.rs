//! What every connection and request needs: bounds, owners of tasks, where numbers go.

use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use archipel_rt::{CancellationToken, Tasks};
use tokio::sync::Semaphore;

use crate::cache::Store;
use crate::guard::crowd::Crowd;
use crate::guard::tally::Tally;
use crate::hop::fault::Faults;
use crate::record::counters::Registry;
use crate::record::tap::Tap;
use crate::route::sticky::Key;
use crate::safeguard;
use crate::shadow::COPIES_MAX;
use crate::shadow::report::Watches;

/// Bounds that hold for every listener and instance.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Until the head of a request is complete; holds to within half of itself.
    pub head_timeout: Duration,
    /// A client's connection without a request is closed after this.
    pub idle_client: Duration,
    pub header_bytes_max: u32,
    /// For HTTP/2; HTTP/1 allows 100.
    pub headers_max: usize,
    /// Client connections of all listeners together; more wait to be accepted.
    pub connections_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// What a closing listener's connections get to finish.
    pub close_grace: Duration,
    pub connect: Duration,
    /// Shorter than what common servers allow, so that we close first: then no request meets a
    /// connection that is just being closed.
    pub idle_upstream: Duration,
    pub idle_upstream_max: usize,
    /// How long an instance that refused a connection is passed over.
    pub avoid: Duration,
    /// Requests that wait for one service to come up; more are refused.
    pub held_max: usize,
    /// How long an instance that joins others gets less than its share.
    pub slow_start: Duration,
    /// Between two looks for a key that a token names and its issuer did not have.
    pub keys_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_client: Duration::from_secs(75),
            header_bytes_max: 64 << 10,
            headers_max: 100,
            connections_max: 16_384,
            streams_max: 256,
            close_grace: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            idle_upstream: Duration::from_millis(1_500),
            idle_upstream_max: 256,
            avoid: Duration::from_secs(1),
            held_max: 1_024,
            slow_start: Duration::from_secs(10),
            keys_pause: Duration::from_secs(5),
        }
    }
}

/// What connections and requests need of the gateway without being able to change it.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    /// Listeners, their connections, tunnels. Its token tells them to finish.
    pub(crate) tasks: Tasks,
    /// Connections to instances that have a task; they end when nobody uses them.
    pub(crate) upstream: Tasks,
    /// The end of patience: drop everything.
    pub(crate) cut: CancellationToken,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) tap: Tap,
    pub(crate) counters: Registry,
    pub(crate) watches: Watches,
    /// Room for copies of requests.
    pub(crate) copies: Arc<Semaphore>,
    /// Under which visitors are hashed.
    pub(crate) visitors: Key,
    pub(crate) tally: Tally,
    pub(crate) crowd: Crowd,
    pub(crate) cache: Arc<Store>,
    pub(crate) faults: Faults,
    pub(crate) safeguards: safeguard::Registry,
    epoch: Instant,
}

impl Shared {
    /// `stop` tells listeners and connections to finish.
    pub(crate) fn new(stop: &CancellationToken, limits: Limits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            limits,
            tasks: Tasks::new(stop),
            // Not told to stop: requests in flight still need them.
            upstream: Tasks::new(&CancellationToken::new()),
            cut: CancellationToken::new(),
            tap: Tap::default(),
            counters: Registry::default(),
            watches: Watches::default(),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
            visitors: Key::default(),
            tally: Tally::default(),
            crowd: Crowd::default(),
            cache: Arc::new(Store::new()),
            faults: Faults::default(),
            safeguards: safeguard::Registry::default(),
            epoch: clock::now(),
        }
    }

    /// Since the gateway was made; small enough for an atomic.
    pub(crate) fn millis(&self) -> u64 {
        self.millis_at(clock::now())
    }

    pub(crate) fn millis_at(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64
    }

    pub(crate) fn executor(&self) -> Executor {
        Executor(self.upstream.clone())
    }
}

/// Lets hyper spawn the tasks of HTTP/2 streams with an owner.
#[derive(Clone)]
pub(crate) struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn_unnamed(async move {
            task.await;
        });
    }
}
