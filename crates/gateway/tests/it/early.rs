//! Answers before the request has ended, and methods that are about the way itself.

use archipel_gateway::Body;
use archipel_rt::clock;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

/// More than all sockets on the way hold.
const LARGE: usize = 16 << 20;
const ROUNDS: usize = 20;

/// Answers as soon as it has the head, and closes while the body is still coming.
async fn refuses_at_once(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut head).await.unwrap() > 0);
    }
    let answer = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{answer}too large").as_bytes()).await.unwrap();
}

#[tokio::test]
async fn an_app_that_answers_and_closes_during_the_upload_is_heard() {
    let world = World::new();
    let (listener, app) = world.raw().await;
    world.tasks.spawn("test.app", async move {
        loop {
            refuses_at_once(&listener).await;
        }
    });
    world.apply(Plan::default().service("a", &[app]).public(&[], &["/** -> a"]).table()).await;
    let addr = world.addr("public");
    for round in 0..ROUNDS {
        let response = match round % 2 {
            0 => world.send(addr, post("/", vec![b'x'; LARGE])).await,
            _ => {
                let mut client = world.client_http2(addr).await;
                let request = Request::post("http://shop.local/").body(vec![b'x'; LARGE].into());
                client.send_request(request.unwrap()).await.unwrap()
            }
        };
        assert_eq!(response.status(), 413, "round {round}");
        assert_eq!(text(response).await, "too large", "round {round}");
    }
}

#[tokio::test]
async fn an_app_on_http2_that_answers_and_resets_the_upload_is_heard() {
    let world = World::new();
    // hyper's server resets with NO_ERROR what it has answered and not read.
    let app = world
        .app_http2(|_| async {
            let response = Response::builder().status(StatusCode::UNAUTHORIZED);
            response.body(Body::from("who are you")).unwrap()
        })
        .await;
    world.apply(Plan::default().grpc("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    for round in 0..ROUNDS {
        let response = world.send(world.addr("public"), post("/", vec![b'x'; LARGE])).await;
        assert_eq!(response.status(), 401, "round {round}");
        assert_eq!(text(response).await, "who are you", "round {round}");
    }
}

const EXPECTS: &str =
    "POST / HTTP/1.1\r\nhost: shop.local\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = clock::timeout(PATIENCE, stream.read_u8()).await.expect("something comes");
        head.push(read.expect("it stays open"));
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn an_app_that_is_asked_first_may_refuse_without_the_body() {
    let world = World::new();
    let (listener, app) = world.raw().await;
    world.apply(Plan::default().service("a", &[app]).public(&[], &["/** -> a"]).table()).await;
    let mut client = TcpStream::connect(world.addr("public")).await.unwrap();
    client.write_all(EXPECTS.as_bytes()).await.unwrap();
    let (mut app, _) = listener.accept().await.unwrap();
    let head = read_head(&mut app).await;
    assert!(head.contains("expect: 100-continue\r\n"), "{head}");
    app.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let answer = read_head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "without a 100 before it: {answer}");
    // Nothing of the body was asked for, and the connection is not used for anything else.
    let mut rest = Vec::new();
    clock::timeout(PATIENCE, app.read_to_end(&mut rest)).await.expect("it closes").unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn an_app_that_says_go_on_gets_the_body_and_one_that_says_nothing_too() {
    let world = World::new();
    let (listener, app) = world.raw().await;
    world.apply(Plan::default().service("a", &[app]).public(&[], &["/** -> a"]).table()).await;
    for said in ["HTTP/1.1 100 Continue\r\n\r\n", ""] {
        let mut client = TcpStream::connect(world.addr("public")).await.unwrap();
        client.write_all(EXPECTS.as_bytes()).await.unwrap();
        let (mut app, _) = listener.accept().await.unwrap();
        read_head(&mut app).await;
        app.write_all(said.as_bytes()).await.unwrap();
        let go = read_head(&mut client).await;
        assert!(go.starts_with("HTTP/1.1 100 "), "{go}");
        client.write_all(b"hello").await.unwrap();
        let mut body = [0; 5];
        app.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"hello");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        app.write_all(answer).await.unwrap();
        let answer = read_head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn early_hints_do_not_hide_the_answer() {
    let world = World::new();
    let (listener, app) = world.raw().await;
    world.apply(Plan::default().service("a", &[app]).public(&[], &["/** -> a"]).table()).await;
    let mut client = TcpStream::connect(world.addr("public")).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop.local\r\n\r\n").await.unwrap();
    let (mut app, _) = listener.accept().await.unwrap();
    read_head(&mut app).await;
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    app.write_all(hints.repeat(2).as_bytes()).await.unwrap();
    app.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let answer = read_head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("link"), "{answer}");
    let mut body = [0; 2];
    client.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"ok");
}

#[tokio::test]
async fn methods_that_look_at_the_way_see_nothing_of_ours() {
    let world = World::new();
    let app = world.app(ok).await;
    let plan = Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).edge("a");
    world.apply(plan.table()).await;
    for listener in ["public", "a"] {
        let send = |method: &str, left: Option<&str>| {
            let request = Request::builder().method(method).uri("/").header("host", "shop.local");
            let request = match left {
                Some(left) => request.header("max-forwards", left),
                None => request,
            };
            world.send(world.addr(listener), request.body(Body::empty()).unwrap())
        };
        let before = app.count();
        for method in ["TRACE", "CONNECT"] {
            assert_eq!(send(method, None).await.status(), 501, "{method}");
        }
        assert_eq!(send("OPTIONS", Some("0")).await.status(), 204);
        assert_eq!(app.count(), before, "none of them goes on");
        assert_eq!(send("OPTIONS", Some("3")).await.status(), 200);
        assert_eq!(app.last().headers["max-forwards"], "2");
        // It is about no other method.
        assert_eq!(send("GET", Some("0")).await.status(), 200);
        assert_eq!(app.last().headers["max-forwards"], "0");
    }
}
