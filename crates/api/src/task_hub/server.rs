//! A socket that serves the durabletask protocol alone.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use archipel_rt::{CancellationToken, Tasks, clock};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::service::TaskHub;
use crate::listener::{
    CONNECTION_WINDOW, Executor, PING_EVERY, PING_TIMEOUT, RESETS_PENDING_MAX, STREAM_WINDOW,
    STREAMS_MAX,
};

/// Listening, until it is shut down.
pub struct TaskHubServer {
    pub addr: SocketAddr,
    tasks: Tasks,
}

impl TaskHubServer {
    /// # Errors
    /// When the port cannot be had.
    pub async fn open(
        hub: TaskHub,
        address: IpAddr,
        port: u16,
        stop: &CancellationToken,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((address, port)).await?;
        let (addr, tasks) = (listener.local_addr()?, Tasks::new(stop));
        let own = tasks.clone();
        tasks.spawn("api.task_hub", async move { accept(listener, hub, own).await });
        Ok(Self { addr, tasks })
    }

    /// Breaks off what is left after `grace`, and says how much that was.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.tasks.shutdown(grace).await
    }
}

async fn accept(listener: TcpListener, hub: TaskHub, tasks: Tasks) {
    let stop = tasks.stop_token();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: trying again at once would only burn the processor.
            clock::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (hub, own, stop) = (hub.clone(), tasks.clone(), stop.clone());
        tasks.spawn_unnamed(async move { serve(stream, hub, own, &stop).await });
    }
}

async fn serve(stream: TcpStream, hub: TaskHub, tasks: Tasks, stop: &CancellationToken) {
    // Refused only by a socket that is broken already; the first read will tell.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let hub = hub.clone();
        async move { Ok::<_, Infallible>(hub.answer(request).await) }
    });
    let mut builder = http2::Builder::new(Executor(tasks));
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    builder.initial_connection_window_size(CONNECTION_WINDOW);
    builder.initial_stream_window_size(STREAM_WINDOW);
    builder.max_pending_accept_reset_streams(RESETS_PENDING_MAX);
    // One header less that every client reads with every answer.
    builder.auto_date_header(false);
    builder.keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIMEOUT);
    let ended = tokio::select! {
        biased;
        // Waiting clients and workers would wait for ever: they come back to the next one.
        () = stop.cancelled() => return,
        ended = builder.serve_connection(TokioIo::new(stream), service) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client of the task hub went away");
    }
}
