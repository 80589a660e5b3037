//! One listening socket of an API: accepts, serves HTTP/1.1 and h2c, closes in good order.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use archipel_gateway::Body;
use archipel_rt::{CancellationToken, Tasks, clock};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::server::{ServiceApi, Shared, answer};

/// As in Dapr: a client that does not finish its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Every client that waits for a workflow is one.
pub(crate) const STREAMS_MAX: u32 = 4_096;
/// Also says how many small frames may wait until we read them: `h2` counts each as 256 bytes and
/// closes the connection (ENHANCE_YOUR_CALM, `too_many_data_frames`) when that is over half of the
/// window. So that a call on every stream at once is served, with room for two frames each. A
/// window that adapts begins at 64 KiB, where some 150 calls are too many.
pub(crate) const CONNECTION_WINDOW: u32 = 2 * 2 * 256 * STREAMS_MAX;
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
/// Calls that were cancelled before we saw them; over 20 of them `h2` would take for an attack.
pub(crate) const RESETS_PENDING_MAX: usize = STREAMS_MAX as usize;
/// A worker of workflows whose machine is gone says nothing; what it had is then for another.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(10);
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Of one service; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;

/// The open API of one service.
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    pub(crate) wanted_port: u16,
    pub(crate) facts: watch::Sender<Arc<ServiceApi>>,
    close: CancellationToken,
    /// Cancelled when the socket is closed, so that another can bind its port.
    closed: CancellationToken,
}

impl Door {
    pub(crate) async fn open(
        api: Arc<ServiceApi>,
        wanted_port: u16,
        shared: Arc<Shared>,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted_port)).await?;
        let (facts, receiver) = watch::channel(api);
        let door = Self {
            addr: listener.local_addr()?,
            wanted_port,
            facts,
            close: tasks.stop_token().child_token(),
            closed: CancellationToken::new(),
        };
        let guest = Guest { shared, facts: receiver, close: door.close.clone() };
        let (closed, own) = (door.closed.clone().drop_guard(), tasks.clone());
        tasks.spawn("api.listener", async move {
            accept(listener, guest, own).await;
            drop(closed);
        });
        Ok(door)
    }

    /// Returns when the port is free; connections finish what they have.
    pub(crate) async fn close(self) {
        self.close.cancel();
        self.closed.cancelled().await;
    }
}

/// What a connection needs to know.
#[derive(Clone)]
struct Guest {
    shared: Arc<Shared>,
    facts: watch::Receiver<Arc<ServiceApi>>,
    close: CancellationToken,
}

async fn accept(listener: TcpListener, guest: Guest, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = guest.close.cancelled() => return,
            next = next => next,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: trying again at once would only burn the processor.
            clock::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (guest, own) = (guest.clone(), tasks.clone());
        tasks.spawn_unnamed(async move {
            serve(stream, guest, own).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, guest: Guest, tasks: Tasks) {
    // Refused only by a socket that is broken already; the first read will tell.
    let _ = stream.set_nodelay(true);
    let close = guest.close.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let guest = guest.clone();
        async move {
            let facts = Arc::clone(&guest.facts.borrow());
            let response: Response<Body> = answer(&guest.shared, &facts, request).await;
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(Executor(tasks));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    builder.http2().initial_connection_window_size(CONNECTION_WINDOW);
    builder.http2().initial_stream_window_size(STREAM_WINDOW);
    builder.http2().max_pending_accept_reset_streams(RESETS_PENDING_MAX);
    builder.http2().keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIMEOUT);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a client of an API went away");
    }
}

/// Lets hyper spawn the tasks of HTTP/2 streams with an owner.
#[derive(Clone)]
pub(crate) struct Executor(pub(crate) Tasks);

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
