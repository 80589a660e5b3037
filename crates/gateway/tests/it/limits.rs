//! What a client may not do, and how long it may take.

use std::net::SocketAddr;
use std::time::Duration;

use archipel_gateway::{Body, Limits};
use archipel_rt::clock;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

/// Sends bytes as they are and returns all that comes back until the connection closes.
pub(crate) async fn raw(addr: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The gateway may close before it has read everything.
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = clock::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn headers_have_a_limit() {
    let world = World::new();
    let app = world.app(ok).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let addr = world.addr("a");
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(70 << 10));
    for lines in [many, long] {
        let answer = raw(addr, &format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let mut client = world.client_http2(addr).await;
    let mut request = Request::get("http://a/").body(Body::empty()).unwrap();
    for n in 0..120 {
        let name: http::HeaderName = format!("x-{n}").parse().unwrap();
        request.headers_mut().insert(name, "1".parse().unwrap());
    }
    assert_eq!(client.send_request(request).await.unwrap().status(), 431);
    assert_eq!(app.count(), 0);
    // Just below both it passes.
    let lines: String = (0..60).map(|n| format!("x-{n}: {}\r\n", "y".repeat(1000))).collect();
    let answer =
        raw(addr, &format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn ambiguous_framing_goes_no_further() {
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let addr = world.addr("a");
    for (lines, body) in [
        ("host: a\r\ncontent-length: 3\r\ncontent-length: 5\r\n", "hello"),
        ("host: a\r\ntransfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("host: a\r\ntransfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("host: a\r\ncontent-length: +5\r\n", "hello"),
        ("host: a\r\nhost: b\r\ncontent-length: 0\r\n", ""),
        ("content-length: 0\r\n", ""),
        ("host: a\r\ncontent-length : 0\r\n", ""),
        ("host: a\r\n folded: 0\r\n", ""),
    ] {
        let request = format!("POST / HTTP/1.1\r\nconnection: close\r\n{lines}\r\n{body}");
        let answer = raw(addr, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines:?}: {answer}");
    }
    assert_eq!(app.count(), 0);
    // With both, the app gets one: what hyper understood, written anew.
    let both = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\
                transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = raw(addr, both).await;
    if answer.starts_with("HTTP/1.1 200 ") {
        assert!(!app.last().headers.contains_key("content-length"), "{:?}", app.last());
    }
    let tunnel =
        raw(addr, "CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\nconnection: close\r\n\r\n").await;
    assert!(tunnel.starts_with("HTTP/1.1 501 "), "{tunnel}");
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_dropped() {
    let limits = Limits { head_timeout: Duration::from_millis(200), ..Limits::default() };
    let world = World::with(limits);
    let app = world.app(ok).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let addr = world.addr("a");
    assert_eq!(raw(addr, "").await, "", "says nothing");
    assert_eq!(raw(addr, "GET / HTTP/1.1\r\nhost").await, "", "stops in the middle");
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        stream.read_buf(&mut answer).await.unwrap();
    }
    // Byte by byte, so that something always comes.
    let dripping = async {
        for byte in request.as_bytes().iter().cycle() {
            clock::sleep(Duration::from_millis(20)).await;
            if stream.write_all(&[*byte]).await.is_err() || *byte == b'\n' {
                break;
            }
        }
        stream.read_to_end(&mut answer).await
    };
    let _ = clock::timeout(PATIENCE, dripping).await.expect("it is dropped");
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn idle_clients_are_let_go_and_busy_ones_are_not() {
    let limits = Limits {
        head_timeout: Duration::from_millis(100),
        idle_client: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::with(limits);
    let app = world
        .app(|_| async {
            clock::sleep(Duration::from_millis(900)).await;
            Response::new(Body::from("late"))
        })
        .await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let mut http1 = world.client(world.addr("a")).await;
    assert_eq!(text(http1.send_request(get("/")).await.unwrap()).await, "late");
    eventually(|| http1.is_closed(), |closed| *closed).await;
    eventually(|| world.gateway.counters().connections, |n| *n == 0).await;
    let mut http2 = world.client_http2(world.addr("a")).await;
    let request = Request::get("http://a/").body(Body::empty()).unwrap();
    assert_eq!(text(http2.send_request(request).await.unwrap()).await, "late");
    eventually(|| http2.is_closed(), |closed| *closed).await;
    eventually(|| world.gateway.counters().connections, |n| *n == 0).await;
}
