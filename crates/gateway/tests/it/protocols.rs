//! HTTP in all its forms, streamed both ways.

use std::sync::Arc;

use archipel_gateway::Body;
use archipel_rt::{channel, clock};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

/// A body that the test feeds piece by piece.
fn fed(name: &'static str) -> (archipel_rt::Sender<Bytes>, Body) {
    let (sender, mut receiver) = channel::<Bytes>(name, 1);
    let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, Body::stream(pieces.map(Ok::<_, std::io::Error>)))
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_so_does_one_upstream() {
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let mut client = world.client(world.addr("a")).await;
    for n in 0..50 {
        let body = format!("message {n}");
        client.ready().await.unwrap();
        let response = client.send_request(post("/", body.clone())).await.unwrap();
        assert_eq!(response.headers()["content-length"], body.len().to_string());
        assert_eq!(text(response).await, body);
    }
    assert_eq!(*app.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn both_versions_of_http_come_in_through_one_port() {
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("a", &[app.addr]).public(&[], &["/** -> a"]).table()).await;
    let addr = world.addr("public");
    let mut client = world.client_http2(addr).await;
    let request = Request::post("http://shop.local/x?y=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Body::from("two"))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(text(response).await, "two");
    let seen = app.last();
    assert_eq!(seen.line, "POST /x?y=1");
    assert_eq!(seen.headers["host"], "shop.local");
    assert_eq!(seen.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    assert_eq!(text(world.send(addr, post("/x", "one")).await).await, "one");
    // Many at once on the one connection.
    let mut answers = Vec::new();
    for n in 0..100 {
        let request = Request::post("http://shop.local/").body(Body::from(n.to_string())).unwrap();
        answers.push(client.send_request(request));
    }
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(text(answer.await.unwrap()).await, n.to_string());
    }
}

#[tokio::test]
async fn grpc_streams_both_ways_and_keeps_its_trailers() {
    let world = World::new();
    let app = world
        .app_http2(|request: Request<Incoming>| async {
            let te = request.headers().get("te").cloned();
            let body = Body::from(request.into_body()).into_data_stream();
            let mut end = HeaderMap::new();
            end.insert("grpc-status", HeaderValue::from_static("0"));
            end.insert("te-seen", te.unwrap_or(HeaderValue::from_static("")));
            let end = futures_util::stream::once(async { Ok(Frame::trailers(end)) });
            let frames = body.map(|data| data.map(Frame::data)).chain(end);
            let mut response = Response::new(Body::new(StreamBody::new(frames)));
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("application/grpc"));
            response
        })
        .await;
    world.apply(Plan::default().grpc("g", &[app.addr]).edge("g").table()).await;
    let mut client = world.client_http2(world.addr("g")).await;
    let (feed, body) = fed("test.grpc");
    let request = Request::post("http://inventory/pkg.Inventory/Watch")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let mut response = client.send_request(request).await.unwrap();
    for n in 0..5 {
        let piece = Bytes::from(format!("piece {n}"));
        feed.send(piece.clone()).await.unwrap();
        let frame = response.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece, "each piece passes before the next is sent");
    }
    drop(feed);
    let trailers = loop {
        if let Ok(trailers) = response.frame().await.unwrap().unwrap().into_trailers() {
            break trailers;
        }
    };
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["te-seen"], "trailers");
    assert_eq!(app.last().line, "POST http://inventory/pkg.Inventory/Watch");
    for _ in 0..20 {
        let request = Request::post("http://inventory/x").body(Body::empty()).unwrap();
        client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(*app.connections.lock().unwrap(), 1, "one connection carries all");
    // Over HTTP/1 too, for those who cannot speak the other.
    assert_eq!(world.get(world.addr("g"), "/x").await.status(), 200);
}

#[tokio::test]
async fn grpc_clients_are_refused_in_their_own_words() {
    let world = World::new();
    world.apply(Plan::default().grpc("g", &[]).edge("g").table()).await;
    let mut client = world.client_http2(world.addr("g")).await;
    let request =
        Request::post("http://g/pkg.S/M").header("content-type", "application/grpc+proto");
    let response = client.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert!(response.headers()["grpc-message"].to_str().unwrap().contains("no instance of `g`"));
}

#[tokio::test]
async fn a_websocket_passes_bytes_both_ways() {
    let world = World::new();
    let tasks = world.tasks.clone();
    let app = world
        .app(move |mut request: Request<Incoming>| {
            let tasks = tasks.clone();
            async move {
                assert_eq!(request.headers()["connection"], "upgrade");
                assert_eq!(request.headers()["upgrade"], "websocket");
                let upgrade = hyper::upgrade::on(&mut request);
                tasks.spawn("test.echo", async move {
                    let mut io = TokioIo::new(upgrade.await.unwrap());
                    let mut buffer = [0; 1024];
                    while let Ok(n @ 1..) = io.read(&mut buffer).await {
                        io.write_all(&buffer[..n].to_ascii_uppercase()).await.unwrap();
                    }
                });
                Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "Upgrade")
                    .header("upgrade", "websocket")
                    .header("sec-websocket-accept", "x")
                    .body(Body::empty())
                    .unwrap()
            }
        })
        .await;
    let plan = Plan::default().service("a", &[app.addr]).edge("a");
    world.apply(plan.public(&[], &["/** -> a"]).table()).await;
    for listener in ["a", "public"] {
        let mut stream = TcpStream::connect(world.addr(listener)).await.unwrap();
        let head = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
        // The first bytes may come right behind the head.
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
        let answer = String::from_utf8(seen).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(answer.contains("sec-websocket-accept: x"), "{answer}");
        assert!(answer.contains("upgrade: websocket"), "{answer}");
        for word in ["hello", "again"] {
            stream.write_all(word.as_bytes()).await.unwrap();
            let mut back = [0; 5];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(&back[..], word.to_ascii_uppercase().as_bytes());
        }
        assert_eq!(world.gateway.inflight(&id("a-0")), 1, "an open tunnel is work in flight");
        drop(stream);
        eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
    }
}

#[tokio::test]
async fn a_refused_upgrade_is_a_plain_answer() {
    let world = World::new();
    let app = world.app(ok).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let mut request = get("/ws");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(text(world.send(world.addr("a"), request).await).await, "ok");
    // Changing to HTTP/2 by upgrade is between the client and us, and we do not offer it.
    let mut request = get("/");
    request.headers_mut().insert("connection", "upgrade, http2-settings".parse().unwrap());
    request.headers_mut().insert("upgrade", "h2c".parse().unwrap());
    request.headers_mut().insert("http2-settings", "x".parse().unwrap());
    assert_eq!(text(world.send(world.addr("a"), request).await).await, "ok");
    let seen = app.last();
    assert!(!seen.headers.contains_key("upgrade") && !seen.headers.contains_key("http2-settings"));
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let world = World::new();
    let (feed, body) = fed("test.sse");
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let app = world
        .app(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async { Response::new(body) }
        })
        .await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let mut response = world.get(world.addr("a"), "/events").await;
    for n in 0..5 {
        let event = Bytes::from(format!("data: {n}\n\n"));
        feed.send(event.clone()).await.unwrap();
        assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), event);
    }
    assert_eq!(world.gateway.inflight(&id("a-0")), 1);
    drop(response);
    // The app learns that nobody listens any more.
    eventually(|| feed.is_closed(), |closed| *closed).await;
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
}

#[tokio::test]
async fn an_upload_and_its_answer_stream_at_the_same_time() {
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let (feed, body) = fed("test.upload");
    let mut response = world.send(world.addr("a"), post("/", body)).await;
    for n in 0..5 {
        let piece = Bytes::from(format!("piece {n}"));
        feed.send(piece.clone()).await.unwrap();
        assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(feed);
    assert!(response.frame().await.is_none());
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let addr = world.addr("a");
    let body: Bytes =
        (0..8_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let known = world.send(addr, post("/", body.clone())).await;
    assert_eq!(known.into_body().collect().await.unwrap().to_bytes(), body);
    let pieces: Vec<_> =
        body.chunks(70_001).map(|c| Ok::<_, std::io::Error>(body.slice_ref(c))).collect();
    let chunked =
        world.send(addr, post("/", Body::stream(futures_util::stream::iter(pieces)))).await;
    assert_eq!(chunked.into_body().collect().await.unwrap().to_bytes(), body);
}

#[tokio::test]
async fn a_slow_reader_holds_the_app_back() {
    let world = World::new();
    let produced = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&produced);
    let app = world
        .app(move |_| {
            let count = Arc::clone(&count);
            async move {
                let piece = Bytes::from(vec![0; 64 << 10]);
                let pieces = futures_util::stream::repeat_with(move || {
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok::<_, std::io::Error>(piece.clone())
                });
                Response::new(Body::stream(pieces.take(4096)))
            }
        })
        .await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let mut response = world.get(world.addr("a"), "/").await;
    response.frame().await.unwrap().unwrap();
    // Nobody reads on: what is under way settles at what buffers and sockets hold.
    let read = || produced.load(std::sync::atomic::Ordering::Relaxed);
    let mut before = usize::MAX;
    while before != read() {
        before = read();
        clock::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(before < 1024, "{before} of 4096 pieces were produced for nobody");
    let mut total = 0;
    while let Some(frame) = response.frame().await {
        total += frame.unwrap().into_data().unwrap().len();
    }
    assert!(total > 255 << 20, "{total}");
}

#[tokio::test]
async fn the_go_ahead_for_a_body_comes_when_an_instance_takes_it() {
    let world = World::new();
    // It reads the body before it answers, which is how it asks for it.
    let app = world
        .app(|request: Request<Incoming>| async move {
            let whole = request.into_body().collect().await.unwrap();
            Response::new(Body::from(whole.to_bytes()))
        })
        .await;
    world
        .apply(
            Plan::default()
                .service("a", &[app.addr])
                .service("none", &[])
                .edge("a")
                .edge("none")
                .table(),
        )
        .await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = TcpStream::connect(world.addr("a")).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
    assert!(seen.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&seen));
    stream.write_all(b"hello").await.unwrap();
    while !seen.ends_with(b"hello") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
    assert_eq!(app.last().headers["expect"], "100-continue", "it is the app that is asked");
    // Without an instance the client is spared the upload.
    let mut stream = TcpStream::connect(world.addr("none")).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    stream.read_buf(&mut seen).await.unwrap();
    assert!(seen.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&seen));
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let world = World::new();
    let app = world
        .app(|request: Request<Incoming>| async move {
            let body = if request.method() == "HEAD" { Body::empty() } else { "12345".into() };
            Response::builder().header("content-length", "5").body(body).unwrap()
        })
        .await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let mut client = world.client(world.addr("a")).await;
    for _ in 0..3 {
        let request = Request::head("/").header("host", "a").body(Body::empty()).unwrap();
        client.ready().await.unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.headers()["content-length"], "5");
        assert_eq!(text(response).await, "");
        client.ready().await.unwrap();
        assert_eq!(text(client.send_request(get("/")).await.unwrap()).await, "12345");
    }
    assert_eq!(*app.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn grpc_instances_may_close_their_connection_whenever_they_like() {
    let world = World::new();
    let (listener, addr) = world.raw().await;
    let (tasks, stop) = (world.tasks.clone(), world.tasks.stop_token());
    let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    world.tasks.spawn("test.app", async move {
        loop {
            let (stream, _) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let enough = archipel_rt::CancellationToken::new();
            let served = enough.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let served = served.clone();
                async move {
                    // After its first answer it says that it will take no more.
                    served.cancel();
                    Ok::<_, std::convert::Infallible>(Response::new(Body::from(
                        request.into_body(),
                    )))
                }
            });
            tasks.spawn("test.connection", async move {
                let executor = hyper_util::rt::TokioExecutor::new();
                let builder = hyper::server::conn::http2::Builder::new(executor);
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    biased;
                    () = enough.cancelled() => {}
                    _ = connection.as_mut() => return,
                }
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            });
        }
    });
    world.apply(Plan::default().grpc("g", &[addr]).edge("g").table()).await;
    let mut client = world.client_http2(world.addr("g")).await;
    for n in 0..50 {
        let body = n.to_string();
        let request = Request::post("http://g/pkg.S/M").body(Body::from(body.clone())).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200, "{:?}", response.headers());
        assert_eq!(text(response).await, body);
    }
    let connections = connections.load(std::sync::atomic::Ordering::Relaxed);
    assert!(connections > 10, "{connections}");
}

#[tokio::test]
async fn an_instance_that_speaks_the_other_protocol_is_a_clear_failure() {
    let world = World::new();
    let app = world.app(ok).await;
    world.apply(Plan::default().grpc("g", &[app.addr]).edge("g").table()).await;
    let response = world.get(world.addr("g"), "/").await;
    assert_eq!(response.status(), 502);
    assert!(response.headers().contains_key("x-archipel-refused"));
}
