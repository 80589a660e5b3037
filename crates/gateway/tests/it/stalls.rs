//! Clients that ask and do not read.

use std::time::Duration;

use archipel_gateway::{Body, Limits};
use archipel_rt::clock;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

const STALL: Duration = Duration::from_secs(2);

fn impatient() -> World {
    World::with(Limits {
        client_stall: STALL,
        close_grace: Duration::from_millis(300),
        ..Limits::default()
    })
}

/// Forty pieces of 1 MiB, or one of four bytes.
async fn much(request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() == "/little" {
        return Response::new(Body::from("here"));
    }
    let pieces = futures_util::stream::iter(0..40).map(|_| Ok(Bytes::from(vec![b'x'; 1 << 20])));
    use futures_util::StreamExt;
    Response::new(Body::stream::<_, std::io::Error>(pieces))
}

async fn over_http2(world: &World, listener: &str, window: u32) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(world.addr(listener)).await.unwrap();
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    world.tasks.spawn("test.client", async move {
        let _ = connection.await;
    });
    sender
}

fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://shop.local{path}")).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_stream_whose_client_opens_no_window_is_ended() {
    let world = impatient();
    let app = world.app(much).await;
    world.apply(Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    let mut client = over_http2(&world, "public", 0).await;
    let stalled = client.send_request(request("/much")).await.unwrap();
    assert_eq!(stalled.status(), 200);
    assert_eq!(world.gateway.inflight(&id("a-0")), 1);
    // Also a few bytes hold a stream.
    let also = client.send_request(request("/little")).await.unwrap();
    eventually(|| world.gateway.inflight(&id("a-0")), |inflight| *inflight == 0).await;
    eventually(|| world.gateway.counters().connections, |open| *open == 0).await;
    for response in [stalled, also] {
        assert!(response.into_body().collect().await.is_err(), "it did not end well");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_socket_is_let_go() {
    let world = impatient();
    let app = world.app(much).await;
    world.apply(Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    let mut client = TcpStream::connect(world.addr("public")).await.unwrap();
    client.write_all(b"GET /much HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    client.read_exact(&mut [0; 12]).await.unwrap();
    assert_eq!(world.gateway.inflight(&id("a-0")), 1);
    eventually(|| world.gateway.inflight(&id("a-0")), |inflight| *inflight == 0).await;
    eventually(|| world.gateway.counters().connections, |open| *open == 0).await;
}

#[tokio::test]
async fn a_slow_client_has_its_time_and_so_has_a_service() {
    let world = impatient();
    let app = world.app(much).await;
    let plan = Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).edge("a");
    world.apply(plan.table()).await;
    let slowly = async |mut client: http2::SendRequest<Body>, pauses: Vec<Duration>| {
        let mut response = client.send_request(request("/much")).await.unwrap();
        let (mut pauses, mut got) = (pauses.into_iter(), 0);
        while let Some(frame) = response.frame().await {
            got += frame.unwrap().into_data().unwrap().len();
            if let Some(pause) = pauses.next() {
                clock::sleep(pause).await;
            }
        }
        assert_eq!(got, 40 << 20);
    };
    tokio::join!(
        // Over twice as long as nothing may be taken, and always something.
        slowly(over_http2(&world, "public", 65_535).await, vec![STALL / 60; 150]),
        // A service that is busy with what it has got so far.
        slowly(over_http2(&world, "a", 65_535).await, vec![STALL * 3]),
    );
}
