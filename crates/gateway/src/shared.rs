//! What every connection and request needs: bounds, owners of tasks, where numbers go.

use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use archipel_rt::{CancellationToken, Tasks};
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use tokio::sync::Semaphore;

use crate::cache::Store;
use crate::cores::Cores;
use crate::guard::crowd::Crowd;
use crate::guard::tally::Tally;
use crate::hop::fault::Faults;
use crate::record::counters::Registry;
use crate::record::tap::Tap;
use crate::route::sticky::Key;
use crate::safeguard;
use crate::safeguard::rank::Ranks;
use crate::shadow::COPIES_MAX;
use crate::shadow::report::Watches;
use crate::tls::{Challenges, Roots};

/// Streams that a client opened and reset before we saw them.
const RESETS_PENDING_MAX: usize = 32;
/// Streams that we had to reset because of what the client did.
const RESETS_OF_OURS_MAX: usize = 256;

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
    /// What a client may send on one HTTP/2 stream before the app has taken it.
    pub stream_window: u32,
    /// The same for all streams of a connection; above `stream_window`, so that an app that does
    /// not read holds up its own request alone.
    pub connection_window: u32,
    /// What is kept of one stream's answer while its client does not take it.
    pub stream_send_max: usize,
    /// An HTTP/2 client that is silent for this long is asked whether it is there.
    pub ping_every: Duration,
    pub ping_timeout: Duration,
    /// A client that sends a body has this long, and then again, to send at least
    /// `upload_min` bytes of it, while we wait for them. Not for gRPC, where silence has meaning.
    pub upload_window: Duration,
    pub upload_min: u64,
    /// A client outside that takes nothing of an answer for this long loses its connection; of a
    /// stream of HTTP/2, the piece that was last read of it (some hundred KiB at most). Holds to
    /// within a third of itself.
    pub client_stall: Duration,
    /// What a closing listener's connections get to finish.
    pub close_grace: Duration,
    pub connect: Duration,
    /// Shorter than what common servers allow, so that we close first: then no request meets a
    /// connection that is just being closed.
    pub idle_upstream: Duration,
    pub idle_upstream_max: usize,
    /// How long an instance that refused a connection is passed over.
    pub avoid: Duration,
    /// For a client's TLS handshake, from the first byte.
    pub handshake_timeout: Duration,
    /// Handshakes at once; a client that is one too many is dropped, so that no number of slow
    /// ones keeps others from being accepted. Below `connections_max`.
    pub handshakes_max: usize,
    /// Between two looks at certificate files.
    pub tls_look: Duration,
    /// Between the first failure to get a certificate by ACME and the next try; then it doubles.
    pub acme_retry: Duration,
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
            stream_window: 512 << 10,
            connection_window: 2 << 20,
            stream_send_max: 256 << 10,
            ping_every: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            upload_window: Duration::from_secs(30),
            upload_min: 1 << 10,
            client_stall: Duration::from_secs(120),
            close_grace: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            idle_upstream: Duration::from_millis(1_500),
            idle_upstream_max: 256,
            avoid: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 4_096,
            tls_look: Duration::from_secs(2),
            acme_retry: Duration::from_secs(120),
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
    pub(crate) handshakes: Semaphore,
    /// Proofs for ACME that are under way.
    pub(crate) challenges: Arc<Challenges>,
    /// Whom foreign systems must be vouched for by.
    pub(crate) roots: Arc<Roots>,
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
    pub(crate) cores: Cores,
    pub(crate) ranks: Ranks,
    epoch: Instant,
}

impl Shared {
    /// `stop` tells listeners and connections to finish.
    pub(crate) fn new(stop: &CancellationToken, limits: Limits, cores: Cores) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            handshakes: Semaphore::new(limits.handshakes_max),
            challenges: Arc::default(),
            roots: Arc::default(),
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
            cores,
            ranks: Ranks::default(),
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

    /// How HTTP/2 is spoken to clients. What a client may make us remember or answer is bounded:
    /// streams it opens and resets at once, and streams that we reset, close the connection when
    /// they are too many (`h2` counts; its own bounds for CONTINUATION, PING and SETTINGS hold
    /// besides).
    pub(crate) fn http2_server(&self) -> http2::Builder<Executor> {
        let limits = &self.limits;
        let mut builder = http2::Builder::new(self.executor());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(limits.header_bytes_max)
            .max_concurrent_streams(limits.streams_max)
            .max_pending_accept_reset_streams(Some(RESETS_PENDING_MAX))
            .max_local_error_reset_streams(Some(RESETS_OF_OURS_MAX))
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .max_send_buf_size(limits.stream_send_max)
            .keep_alive_interval(Some(limits.ping_every))
            .keep_alive_timeout(limits.ping_timeout)
            // WebSocket over HTTP/2 (RFC 8441).
            .enable_connect_protocol();
        builder
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
