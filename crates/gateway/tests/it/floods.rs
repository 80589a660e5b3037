//! HTTP/2 clients that make much work with little, and WebSocket over HTTP/2.

use std::time::Duration;

use archipel_gateway::{Body, Limits};
use archipel_rt::clock;
use http::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::smuggling::frames::{fields, frame, open, read_frame};
use crate::support::*;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

async fn world(limits: Limits) -> (World, App) {
    let world = World::with(limits);
    let app = world.app(ok).await;
    world.apply(Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    (world, app)
}

fn request() -> Vec<u8> {
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    fields(&[
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":path", "/"),
        field(":authority", "a.test"),
    ])
}

/// Writes until the gateway has had enough; what it says then, if it says something.
async fn until_it_is_over(stream: &mut TcpStream, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let (mut read, mut write) = stream.split();
    let writing = async {
        for n in 0..2_000_000 {
            if write.write_all(&next(n)).await.is_err() {
                return true;
            }
        }
        false
    };
    let reading = async {
        let mut buffer = vec![0; 64 << 10];
        while matches!(read.read(&mut buffer).await, Ok(1..)) {}
    };
    let both = async {
        tokio::select! {
            over = writing => over,
            () = reading => true,
        }
    };
    clock::timeout(PATIENCE, both).await.unwrap_or(false)
}

#[tokio::test]
async fn a_client_that_opens_and_resets_streams_is_sent_away() {
    let (world, app) = world(Limits::default()).await;
    let mut stream = open(world.addr("public")).await;
    let over = until_it_is_over(&mut stream, |n| {
        let id = 1 + 2 * n;
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, id, &request());
        both.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        both
    })
    .await;
    assert!(over, "it goes on for ever");
    assert!(app.count() < 10_000, "{} requests went through", app.count());
    assert_eq!(text(world.get(world.addr("public"), "/").await).await, "ok");
}

#[tokio::test]
async fn headers_without_end_are_cut() {
    let (world, app) = world(Limits::default()).await;
    let mut stream = open(world.addr("public")).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, &request())).await.unwrap();
    let field = fields(&[(b"x-a".to_vec(), vec![b'y'; 100])]);
    assert!(until_it_is_over(&mut stream, |_| frame(CONTINUATION, 0, 1, &field)).await);
    // Empty ones too, which bring nothing that a limit of bytes would notice.
    let mut stream = open(world.addr("public")).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, &request())).await.unwrap();
    assert!(until_it_is_over(&mut stream, |_| frame(CONTINUATION, 0, 1, &[])).await);
    assert_eq!(app.count(), 0);
}

/// A client that asks and does not read: our answers must not pile up in memory, so we stop
/// reading too, and the client's own writing stops.
#[tokio::test]
async fn who_does_not_read_the_answers_is_not_listened_to() {
    for kind in [PING, SETTINGS] {
        let (world, _app) = world(Limits::default()).await;
        let mut stream = open(world.addr("public")).await;
        let one = match kind {
            PING => frame(PING, 0, 0, &[0; 8]),
            _ => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        };
        let many: Vec<u8> = one.iter().copied().cycle().take(one.len() * 4096).collect();
        let mut sent = 0_u64;
        while let Ok(written) =
            clock::timeout(Duration::from_millis(500), stream.write_all(&many)).await
        {
            if written.is_err() {
                break;
            }
            sent += many.len() as u64;
            assert!(sent < 256 << 20, "it takes as much as one likes to send");
        }
        assert_eq!(text(world.get(world.addr("public"), "/").await).await, "ok");
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed_by_a_ping() {
    let limits = Limits {
        ping_every: Duration::from_millis(100),
        ping_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let world = World::with(limits);
    let app = world.app(|_| std::future::pending::<Response<Body>>()).await;
    world.apply(Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    let mut stream = open(world.addr("public")).await;
    let ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request());
    stream.write_all(&ask).await.unwrap();
    eventually(|| app.count(), |n| *n == 1).await;
    // It answers no ping, as somebody does whose machine has no power any more.
    let mut pinged = false;
    let reading = async {
        while let Some((kind, _, _)) = read_frame(&mut stream).await {
            pinged |= kind == PING;
            if kind == GOAWAY {
                break;
            }
        }
    };
    clock::timeout(PATIENCE, reading).await.expect("the connection ends");
    assert!(pinged);
    eventually(|| world.gateway.counters().connections, |n| *n == 0).await;
}

#[tokio::test]
async fn one_upload_that_nobody_reads_does_not_hold_up_the_others() {
    let (world, stuck) = (World::new(), World::new());
    let app = world.app(echo).await;
    let (_listener, silent) = stuck.raw().await;
    let plan = Plan::default().service("a", &[app.addr]).service("b", &[silent]);
    world.apply(plan.public(&[], &["/a/** -> a", "/b/** -> b"]).table()).await;
    let client = world.client_http2(world.addr("public")).await;
    let send = |path: &str| {
        let body = Body::from(vec![b'x'; 4 << 20]);
        let request = Request::post(format!("http://a.test{path}")).body(body).unwrap();
        let mut client = client.clone();
        async move { client.send_request(request).await }
    };
    let held = send("/b/x");
    let flowing = async {
        for _ in 0..3 {
            let answer = send("/a/x").await.unwrap();
            let body = Body::from(answer.into_body()).collect(8 << 20).await.unwrap();
            assert_eq!(body.len(), 4 << 20);
        }
    };
    tokio::select! {
        _ = held => panic!("nobody answers there"),
        done = clock::timeout(PATIENCE, flowing) => done.expect("they flow"),
    }
}

#[tokio::test]
async fn a_websocket_goes_over_a_stream_of_http2() {
    let world = World::new();
    let tasks = world.tasks.clone();
    let app = world
        .app(move |mut request| {
            let tasks = tasks.clone();
            async move {
                if request.uri().path() != "/socket" {
                    return Response::new(Body::from("no socket here"));
                }
                let upgrade = hyper::upgrade::on(&mut request);
                tasks.spawn("test.socket", async move {
                    let mut io = TokioIo::new(upgrade.await.unwrap());
                    let (mut read, mut write) = tokio::io::split(&mut io);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
                Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "upgrade")
                    .header("upgrade", "websocket")
                    .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                    .header("sec-websocket-protocol", "chat")
                    .body(Body::empty())
                    .unwrap()
            }
        })
        .await;
    world.apply(Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    let mut client = world.client_http2(world.addr("public")).await;
    let connect = |path: &str| {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://a.test{path}"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "chat")
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        request
    };
    let mut answer = client.send_request(connect("/socket")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let seen = app.last();
    assert_eq!(seen.line, "GET /socket");
    assert_eq!(seen.headers["upgrade"], "websocket");
    assert_eq!(seen.headers["sec-websocket-key"].len(), 24);
    let mut socket = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    for size in [5, 100_000] {
        let (mut read, mut write) = tokio::io::split(&mut socket);
        let (sent, mut came) = (vec![b'w'; size], vec![0; size]);
        let (written, read) = tokio::join!(write.write_all(&sent), read.read_exact(&mut came));
        written.unwrap();
        read.unwrap();
        assert_eq!(sent, came);
    }
    // An app that knows of no socket must not be taken for one.
    let refused = client.send_request(connect("/page")).await.unwrap();
    assert_eq!(refused.status(), 501);
}
