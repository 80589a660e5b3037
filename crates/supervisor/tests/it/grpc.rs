//! The standard gRPC health service, and loopback over IPv6.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use archipel_model::{Check, Health, InstanceState, Probe, Protocol};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::*;

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
/// Answers with the gRPC status UNIMPLEMENTED.
const NO_HEALTH_SERVICE: u8 = 200;

/// A server inside the test, which answers with whatever `status` says now.
async fn serve(listener: TcpListener, status: Arc<AtomicU8>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let status = status.clone();
        let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
            let status = status.load(Ordering::Relaxed);
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(path, "/grpc.health.v1.Health/Check");
                assert_eq!(body, Bytes::from_static(&[0; 5]));
                let code = if status == NO_HEALTH_SERVICE { "12" } else { "0" };
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static(code));
                let data = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
                let frames =
                    [Ok::<_, Infallible>(Frame::data(data)), Ok(Frame::trailers(trailers))];
                let body = StreamBody::new(futures_util::stream::iter(frames));
                Ok::<_, Infallible>(Response::new(body))
            }
        });
        connections.spawn(async move {
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http2.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_server_is_asked_for_its_health() {
    let world = World::new().await;
    let port = world.ports.get("grpc").unwrap();
    // The process only stands for the server, which comes up after it.
    let mut spec = sh("grpc-0", "sleep 1000");
    spec.port = Some(port);
    spec.protocol = Protocol::Grpc;
    let probe = |probe: Probe| Probe { every: Duration::from_millis(30), ..probe };
    spec.health = Health {
        startup: probe(Probe::startup(Check::Grpc)),
        ready: probe(Probe::ready(Check::Grpc)),
        live: None,
    };
    world.apply(vec![spec]).await;
    let says = |part: &'static str| {
        move |s: &archipel_supervisor::InstanceStatus| {
            s.probe_last.as_ref().is_some_and(|probe| probe.detail.contains(part))
        }
    };
    world.wait("grpc-0", says("nothing listens on port")).await;
    // On IPv6 only, as some runtimes do when told `localhost`.
    let listener = TcpListener::bind(("::1", port)).await.unwrap();
    let status = Arc::new(AtomicU8::new(NO_HEALTH_SERVICE));
    let mut server = JoinSet::new();
    server.spawn(serve(listener, status.clone()));
    world.wait("grpc-0", says("it has no health service (UNIMPLEMENTED)")).await;
    status.store(NOT_SERVING, Ordering::Relaxed);
    world.wait("grpc-0", says("NOT_SERVING")).await;
    status.store(SERVING, Ordering::Relaxed);
    world.wait_state("grpc-0", InstanceState::Ready).await;
    status.store(NOT_SERVING, Ordering::Relaxed);
    let degraded = world.wait_state("grpc-0", InstanceState::Degraded).await;
    assert_eq!(degraded.reason.as_deref(), Some("readiness probe fails: NOT_SERVING"));
    world.down().await;
}
