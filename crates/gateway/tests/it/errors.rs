//! When no app answers: who is told what.

use std::time::Duration;

use archipel_gateway::{Body, Caller, Problem, Upstream};
use archipel_model::{Bulkhead, EdgePolicy, Protocol, Retry, Safeguards};
use archipel_rt::clock;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

async fn check(world: &World, request: Request<Body>, status: u16, slug: &str) -> String {
    let response = world.send(world.addr("a"), request).await;
    let refused = response.headers().get("x-archipel-refused").cloned();
    assert_eq!(response.status(), status, "{refused:?}");
    assert_eq!(refused.unwrap(), format!("{slug}; edge web->a"));
    text(response).await
}

#[tokio::test]
async fn without_an_instance_the_reason_is_passed_on() {
    let world = World::new();
    let none = Upstream { note: Some("backing-off: exit 1".to_owned()), ..Upstream::default() };
    world.apply(Plan::default().upstream("a", none).edge("a").table()).await;
    let body = check(&world, get("/"), 503, "no-instance").await;
    assert!(body.contains("backing-off: exit 1"), "{body}");

    let raw = Upstream { protocol: Protocol::Tcp, ..Upstream::default() };
    world.apply(Plan::default().upstream("a", raw).edge("a").table()).await;
    check(&world, get("/"), 501, "unsupported").await;

    world.apply(Plan::default().edge("a").table()).await;
    check(&world, get("/"), 404, "unknown-service").await;
}

#[tokio::test]
async fn an_instance_that_refuses_connections() {
    let world = World::new();
    let (listener, addr) = world.raw().await;
    drop(listener);
    world.apply(Plan::default().service("a", &[addr]).edge("a").table()).await;
    let body = check(&world, post("/", "x"), 502, "connect-failed").await;
    assert!(body.contains("`a-0`"), "{body}");
}

#[tokio::test]
async fn an_instance_that_breaks_off_before_the_head() {
    let world = World::new();
    let (listener, addr) = world.raw().await;
    let requests = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&requests);
    let stop = world.tasks.stop_token();
    world.tasks.spawn("test.raw", async move {
        loop {
            let (mut stream, _) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).await.unwrap() > 0 {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    let requests = || requests.load(std::sync::atomic::Ordering::Relaxed);
    let policy =
        EdgePolicy { retry: Retry { attempts: 2, ..Retry::default() }, ..EdgePolicy::default() };
    world.apply(Plan::default().service("a", &[addr]).edge_with("a", policy).table()).await;
    check(&world, post("/", "x"), 502, "upstream-reset").await;
    assert_eq!(requests(), 1, "what may have had an effect is not repeated");
    check(&world, post("/", ""), 502, "upstream-reset").await;
    assert_eq!(requests(), 2);
    check(&world, get("/"), 502, "upstream-reset").await;
    assert_eq!(requests(), 5, "a harmless one is, as often as the policy says");
}

#[tokio::test]
async fn an_instance_that_is_too_slow() {
    let world = World::new();
    let app = world
        .app(|request: Request<hyper::body::Incoming>| async move {
            match request.uri().path() {
                "/never" => std::future::pending().await,
                // Slow after the head: a stream may take its time.
                _ => {
                    let slow = futures_util::stream::once(async {
                        clock::sleep(Duration::from_millis(400)).await;
                        Ok::<_, std::io::Error>(bytes::Bytes::from("late"))
                    });
                    Response::new(Body::stream(slow))
                }
            }
        })
        .await;
    let policy = EdgePolicy { timeout: Some(Duration::from_millis(200)), ..EdgePolicy::default() };
    world
        .apply(Plan::default().service("a", &[app.addr]).edge_with("a", policy.clone()).table())
        .await;
    let body = check(&world, get("/never"), 504, "timeout").await;
    assert!(body.contains("200ms"), "{body}");
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
    assert_eq!(text(world.get(world.addr("a"), "/stream").await).await, "late");
    let refusal =
        world.gateway.call(Caller::Archipel, &name("a"), &policy, get("/never")).await.unwrap_err();
    assert_eq!((refusal.problem, refusal.is_unsent()), (Problem::Timeout, false));
}

#[tokio::test]
async fn an_edge_takes_only_so_many_requests_at_once() {
    let world = World::new();
    let app = world.app(|_| std::future::pending()).await;
    let safeguards = Safeguards { bulkhead: Some(Bulkhead::new(2)), ..Safeguards::default() };
    let policy = EdgePolicy { safeguards, ..EdgePolicy::default() };
    world.apply(Plan::default().service("a", &[app.addr]).edge_with("a", policy).table()).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = world.client(world.addr("a")).await;
        waiting.push((client.send_request(get("/")), client));
    }
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 2).await;
    check(&world, get("/"), 503, "too-many-inflight").await;
    drop(waiting);
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_whole() {
    let world = World::new();
    let (listener, addr) = world.raw().await;
    let stop = world.tasks.stop_token();
    world.tasks.spawn("test.raw", async move {
        loop {
            let (mut stream, _) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            let mut bytes = [0; 1024];
            let n = stream.read(&mut bytes).await.unwrap();
            let chunked = bytes[..n].starts_with(b"GET /chunked");
            let head: &[u8] = match chunked {
                true => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
                false => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
            };
            stream.write_all(head).await.unwrap();
        }
    });
    world.apply(Plan::default().service("a", &[addr]).edge("a").table()).await;
    for path in ["/chunked", "/counted"] {
        let response = world.get(world.addr("a"), path).await;
        assert_eq!(response.status(), 200);
        assert!(Body::from(response.into_body()).collect(100).await.is_err(), "{path}");
    }
    eventually(
        || world.gateway.counters().series[0].clone(),
        |series| (series.requests(), series.broken) == (2, 2),
    )
    .await;
}

#[tokio::test]
async fn who_closes_a_page_that_streams_has_not_seen_a_failure() {
    let world = World::new();
    let (listener, addr) = world.raw().await;
    let stop = world.tasks.stop_token();
    world.tasks.spawn("test.raw", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(head).await.unwrap();
        stop.cancelled().await;
    });
    world.apply(Plan::default().service("a", &[addr]).edge("a").table()).await;
    let response = world.get(world.addr("a"), "/live").await;
    assert_eq!(response.status(), 200);
    drop(response);
    let series = eventually(
        || world.gateway.counters().series[0].clone(),
        |series| (series.requests(), series.inflight) == (1, 0),
    );
    series.await;
    assert_eq!(world.gateway.counters().series[0].broken, 0);
}

#[tokio::test]
async fn counters_and_records_tell_what_happened() {
    let world = World::in_one_runtime();
    let app = world.app(echo).await;
    world
        .apply(
            Plan::default()
                .service("a", &[app.addr])
                .edge("a")
                .public(&[], &["GET /x/** -> a"])
                .table(),
        )
        .await;
    let mut records = world.gateway.access(16);
    let mut request = post("/y?secret=1", "12345");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    text(world.send(world.addr("a"), request).await).await;
    text(world.get(world.addr("public"), "/x/1").await).await;
    text(world.get(world.addr("public"), "/nowhere").await).await;

    let mut taken = Vec::new();
    while taken.len() < 3 {
        records.recv_many(&mut taken).await;
    }
    let mut taken = taken.into_iter();
    let edge = taken.next().unwrap();
    assert_eq!(edge.trace_id.to_string(), parent[3..35]);
    assert_eq!(edge.parent.unwrap().to_string(), parent[36..52]);
    let sent = app.seen.lock().unwrap()[0].headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(edge.span_id.to_string(), sent[36..52], "the app's parent is the hop");
    assert_eq!(edge.of.caller, Caller::Service(name("web")));
    assert_eq!(edge.of.callee, Some(name("a")));
    assert_eq!((edge.instance, &*edge.path), (Some(id("a-0")), &b"/y"[..]));
    assert_eq!((edge.status, edge.bytes, edge.refusal), (200, 5, None));
    assert!(edge.head <= edge.duration);
    let route = taken.next().unwrap();
    assert_eq!(route.of.caller, Caller::Outside);
    assert_eq!(route.of.route.as_deref(), Some("GET /x/**"));
    let nowhere = taken.next().unwrap();
    assert_eq!((nowhere.status, nowhere.refusal), (404, Some(Problem::NoRoute)));
    assert_eq!(nowhere.instance, None);

    let counters = world.gateway.counters();
    let edge =
        counters.series.iter().find(|s| s.key.caller == Caller::Service(name("web"))).unwrap();
    assert_eq!((edge.by_class[2], edge.bytes, edge.latency.count()), (1, 5, 1));
    assert!(counters.series.iter().all(|s| s.inflight == 0));
    // A subscriber that does not read loses records and holds nobody up.
    for _ in 0..20 {
        text(world.get(world.addr("a"), "/").await).await;
    }
    assert_eq!(world.gateway.counters().access_dropped, 4);
}

#[tokio::test]
async fn who_is_still_sending_gets_the_refusal_and_keeps_the_connection() {
    let world = World::new();
    let none = Upstream { note: Some("being restarted".to_owned()), ..Upstream::default() };
    world.apply(Plan::default().upstream("a", none).edge("a").table()).await;
    let mut stream = TcpStream::connect(world.addr("a")).await.unwrap();
    for _ in 0..3 {
        let body = vec![b'x'; 100_000];
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&body).await.expect("nobody closes while the body is sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\"rule\":\"edge web->a\"}") {
            let read = clock::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap();
            let so_far = String::from_utf8_lossy(&answer);
            assert!(read.unwrap() > 0, "closed after {so_far}");
        }
        assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn a_program_that_listens_on_the_other_loopback_address_is_served() {
    let world = World::new();
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        eprintln!("skipped: this machine has no ::1");
        return;
    };
    let addr = ([127, 0, 0, 1], listener.local_addr().unwrap().port()).into();
    world.tasks.spawn("test.app", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nsix").await.unwrap();
    });
    world.apply(Plan::default().service("a", &[addr]).edge("a").table()).await;
    assert_eq!(text(world.get(world.addr("a"), "/").await).await, "six");
}
