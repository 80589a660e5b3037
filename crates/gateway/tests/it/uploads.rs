//! Clients that send bodies: too large ones, slow ones, and what they see of the answer.

use std::net::SocketAddr;
use std::time::Duration;

use archipel_gateway::{Body, Limits};
use archipel_rt::clock;
use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;
use crate::tls_support::*;

/// Sends the whole body before it reads, as simple clients do, and returns the answer.
async fn send_all_then_read<S>(stream: &mut S, head: &str, body: usize) -> String
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 64 << 10];
    let mut left = body;
    while left > 0 {
        let n = left.min(piece.len());
        stream.write_all(&piece[..n]).await.expect("the gateway takes what is sent");
        left -= n;
    }
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = clock::timeout(PATIENCE, read).await.expect("it closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Answers when it has all.
async fn takes_all(request: Request<hyper::body::Incoming>) -> Response<Body> {
    let _ = Body::from(request.into_body()).collect(16 << 20).await;
    Response::new(Body::from("ok"))
}

fn limited(app: &App) -> Plan {
    let mut route = route("/** -> a");
    route.body_max = Some(archipel_model::Bytes(1 << 20));
    Plan::default().service("a", &[app.addr]).public_routes(&[], vec![route])
}

#[tokio::test]
async fn a_client_whose_upload_is_refused_reads_why() {
    const BODY: usize = 8 << 20;
    let (world, authority) = (World::new(), Authority::new());
    let app = world.app(takes_all).await;
    world.apply(limited(&app).table()).await;
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY}\r\n\r\n");
    let mut plain = TcpStream::connect(world.addr("public")).await.unwrap();
    let answer = send_all_then_read(&mut plain, &head, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
    assert!(answer.ends_with('}'), "{answer}");
    // Nobody knows beforehand how large it gets.
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n800000\r\n";
    let mut plain = TcpStream::connect(world.addr("public")).await.unwrap();
    let answer = send_all_then_read(&mut plain, chunked, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
    // And by an app that answers without having read.
    let early = answers_early(&world, false).await;
    let files = vec![authority.files_for("shop.test")];
    let plan = Plan::default().service("a", &[early]).public(&[], &["/** -> a"]);
    world.apply(plan.with_tls(&tls(files, authority.dir.path())).table()).await;
    let mut secure =
        connect(world.addr("public"), authority.client_config(), "shop.test", &[]).await.unwrap();
    let answer = send_all_then_read(&mut secure, &head, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer:?}");
    assert!(answer.ends_with("no"), "{answer}");
    assert_eq!(app.count(), 1, "the one whose length was not known");
}

/// An app that says no after the first bytes; then it reads on, or does not.
async fn answers_early(world: &World, reads_on: bool) -> SocketAddr {
    let (listener, addr) = world.raw().await;
    world.tasks.spawn("test.early", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 64]).await;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        if !reads_on {
            std::future::pending::<()>().await;
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    addr
}

/// Whether the app has read all before its answer is seen is a race that both may win: then the
/// request is over as any other, and the connection stays.
#[tokio::test]
async fn an_answer_in_the_middle_of_an_upload_comes_through_whoever_is_faster() {
    const BODY: usize = 8 << 20;
    let (world, authority) = (World::new(), Authority::new());
    let early = answers_early(&world, true).await;
    let files = vec![authority.files_for("shop.test")];
    let plan = Plan::default().service("a", &[early]).public(&[], &["/** -> a"]);
    world.apply(plan.with_tls(&tls(files, authority.dir.path())).table()).await;
    let mut stream =
        connect(world.addr("public"), authority.client_config(), "shop.test", &[]).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; BODY]).await.expect("the gateway takes what is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nno") {
        let read = clock::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        assert_ne!(read.expect("it answers").unwrap(), 0, "{answer:?}");
    }
    assert!(answer.starts_with(b"HTTP/1.1 403 "), "{answer:?}");
    // Refused by the gateway itself, if it is heard.
    let mut after = Vec::new();
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    let read = clock::timeout(PATIENCE, stream.read_to_end(&mut after)).await;
    let closed = read.expect("it closes or answers").is_err() || after.is_empty();
    let text = String::from_utf8_lossy(&after);
    assert!(closed || text.starts_with("HTTP/1.1 400 "), "{text}");
}

#[tokio::test]
async fn an_upload_that_only_trickles_is_ended() {
    let limits = Limits {
        upload_window: Duration::from_millis(300),
        upload_min: 1_000,
        ..Limits::default()
    };
    let world = World::with(limits);
    let app = world.app(takes_all).await;
    world.apply(Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    let addr = world.addr("public");
    // One that stops, and one of which something always comes.
    for drip in [false, true] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let dripping = async {
            while write.write_all(b"x").await.is_ok() {
                clock::sleep(Duration::from_millis(20)).await;
                if !drip {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = [0; 12];
        let reading = async { clock::timeout(PATIENCE, read.read_exact(&mut answer)).await };
        tokio::select! {
            () = dripping => panic!("cut without an answer"),
            read = reading => drop(read.expect("an answer comes").unwrap()),
        }
        assert_eq!(&answer, b"HTTP/1.1 408", "drip: {drip}");
    }
}

#[tokio::test]
async fn a_slow_app_is_not_taken_for_a_slow_client_and_grpc_may_be_silent() {
    let limits = Limits {
        upload_window: Duration::from_millis(200),
        upload_min: 1_000,
        ..Limits::default()
    };
    let world = World::with(limits);
    let slow = world
        .app(|request: Request<hyper::body::Incoming>| async move {
            clock::sleep(Duration::from_millis(700)).await;
            echo(request).await
        })
        .await;
    let plan = Plan::default().service("a", &[slow.addr]).public(&[], &["/** -> a"]);
    world.apply(plan.table()).await;
    let addr = world.addr("public");
    let body = vec![b'x'; 4 << 20];
    let answer = world.send(addr, post("/", body.clone())).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(Body::from(answer.into_body()).collect(8 << 20).await.unwrap(), body);
    // A stream of calls says nothing for longer than an upload may.
    let pieces = futures_util::stream::unfold(0, |n| async move {
        clock::sleep(Duration::from_millis(400)).await;
        (n < 2).then_some((Ok::<_, std::io::Error>(Bytes::from_static(b"call")), n + 1))
    });
    let mut request = post("/", Body::stream(pieces));
    request.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    assert_eq!(text(world.send(addr, request).await).await, "callcall");
}
