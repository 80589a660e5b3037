//! Requests wait for a service that is coming up, and for no other.

use std::time::Duration;

use archipel_gateway::{Body, Limits, Upstream};
use archipel_model::EdgePolicy;
use archipel_rt::clock;
use futures_util::FutureExt;
use http::{Method, Request};

use crate::support::*;

/// Nobody is there yet.
fn coming() -> Upstream {
    Upstream { awaited: true, note: Some("a is starting".to_owned()), ..Upstream::default() }
}

fn holding(hold: Duration) -> EdgePolicy {
    EdgePolicy { hold: Some(hold), ..EdgePolicy::default() }
}

/// Applies what changed to the services, and leaves the listeners.
async fn become_now(world: &World, before: &archipel_gateway::Table, upstream: Upstream) {
    let mut table = before.clone();
    table.services.insert(name("a"), upstream);
    world.apply(table).await;
}

fn inflight(world: &World) -> usize {
    world.gateway.counters().series.iter().map(|series| series.inflight).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_the_first_instance_whatever_its_method() {
    let world = World::new();
    let app = world.app(echo).await;
    let mut patient = route("/** -> a");
    patient.hold = Some(PATIENCE);
    let plan = Plan::default().upstream("a", coming()).edge_with("a", holding(PATIENCE));
    let table = plan.public_routes(&[], vec![patient]).table();
    world.apply(table.clone()).await;
    let (edge, public) = (world.addr("a"), world.addr("public"));
    let waiting = futures_util::future::join_all([edge, public].map(|addr| {
        let world = &world;
        async move { text(world.send(addr, post("/", "whole")).await).await }
    }));
    let arrive = async {
        eventually(|| inflight(&world), |n| *n == 2).await;
        // Another table that still has nobody lets nobody go.
        become_now(&world, &table, coming()).await;
        let up = Upstream { endpoints: endpoints("a", &[app.addr]), ..Upstream::default() };
        become_now(&world, &table, up).await;
    };
    let (answers, ()) = tokio::join!(waiting, arrive);
    assert_eq!(answers, ["whole", "whole"]);
    let series = world.gateway.counters().series;
    assert!(series.iter().all(|s| s.refused == 0 && s.by_class[2] <= 1), "{series:?}");
}

#[tokio::test]
async fn when_nobody_comes_in_time_the_reason_says_how_long_it_waited() {
    let world = World::new();
    let policy = holding(Duration::from_millis(150));
    world.apply(Plan::default().upstream("a", coming()).edge_with("a", policy).table()).await;
    let started = clock::now();
    let response = world.get(world.addr("a"), "/").await;
    assert!(clock::now() - started >= Duration::from_millis(150));
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-archipel-refused"], "no-instance; edge web->a");
    assert_eq!(response.headers()["retry-after"], "1");
    let body = text(response).await;
    assert!(body.contains("a is starting; waited 150ms for it"), "{body}");
}

#[tokio::test]
async fn nobody_waits_for_a_service_that_is_not_coming() {
    let world = World::new();
    let long = holding(Duration::from_secs(3_600));
    let stopped = Upstream { note: Some("a is stopped".to_owned()), ..Upstream::default() };
    let table = Plan::default().upstream("a", stopped.clone()).edge_with("a", long).table();
    world.apply(table.clone()).await;
    let body = text(world.get(world.addr("a"), "/").await).await;
    assert!(body.contains("a is stopped"), "{body}");
    // One that is given up while somebody waits lets them go, and says what it has become.
    become_now(&world, &table, coming()).await;
    let give_up = async {
        eventually(|| inflight(&world), |n| *n == 1).await;
        become_now(&world, &table, stopped).await;
    };
    let (response, ()) = tokio::join!(world.get(world.addr("a"), "/"), give_up);
    assert_eq!(response.status(), 503);
    let body = text(response).await;
    assert!(body.contains("a is stopped") && !body.contains("waited"), "{body}");
    // Where the policy says so, nobody waits at all.
    let off = EdgePolicy { hold: None, ..EdgePolicy::default() };
    world.apply(Plan::default().upstream("a", coming()).edge_with("a", off).table()).await;
    assert_eq!(world.get(world.addr("a"), "/").await.status(), 503);
}

#[tokio::test]
async fn only_so_many_wait_and_those_who_go_make_room() {
    let world = World::with(Limits { held_max: 1, ..Limits::default() });
    let long = holding(Duration::from_secs(3_600));
    world.apply(Plan::default().upstream("a", coming()).edge_with("a", long).table()).await;
    let mut client = world.client(world.addr("a")).await;
    let first = client.send_request(get("/"));
    eventually(|| inflight(&world), |n| *n == 1).await;
    let response = world.get(world.addr("a"), "/").await;
    assert_eq!(response.status(), 503);
    let body = text(response).await;
    assert!(body.contains("1 requests wait for it already"), "{body}");
    drop((first, client));
    eventually(|| inflight(&world), |n| *n == 0).await;
    let mut client = world.client(world.addr("a")).await;
    let second = client.send_request(get("/"));
    eventually(|| inflight(&world), |n| *n == 1).await;
    assert!(second.now_or_never().is_none(), "it waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_two_tables_loses_no_request_that_was_not_sent() {
    // What happens here happens within this time, also on a busy machine.
    let world = World::with(Limits { avoid: PATIENCE, ..Limits::default() });
    let app = world.app(echo).await;
    let (dead, addr) = world.raw().await;
    drop(dead);
    let policy = holding(PATIENCE);
    let table = Plan::default().service("a", &[addr]).edge_with("a", policy).table();
    world.apply(table.clone()).await;
    let addr = world.addr("a");
    let send = async { text(world.send(addr, post("/", "once")).await).await };
    let restart = async {
        eventually(|| inflight(&world), |n| *n == 1).await;
        become_now(&world, &table, coming()).await;
        let up = Upstream { endpoints: endpoints("a", &[app.addr]), ..Upstream::default() };
        become_now(&world, &table, up).await;
    };
    let (answer, ()) = tokio::join!(send, restart);
    assert_eq!((answer.as_str(), app.count()), ("once", 1));
}

#[tokio::test]
async fn the_body_of_a_waiting_request_stays_where_it_is() {
    let world = World::new();
    let app = world.app(echo).await;
    let table = Plan::default().upstream("a", coming()).edge_with("a", holding(PATIENCE)).table();
    world.apply(table.clone()).await;
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&taken);
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 1_000;
    let pieces = futures_util::stream::iter(0..PIECES).map(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b'x'; PIECE]))
    });
    use futures_util::StreamExt;
    let request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header("host", "shop.local")
        .body(Body::stream(pieces))
        .unwrap();
    let mut client = world.client(world.addr("a")).await;
    let send = async {
        let answer = client.send_request(request).await.unwrap();
        Body::from(answer.into_body()).collect(PIECE * PIECES).await.unwrap().len()
    };
    let release = async {
        eventually(|| inflight(&world), |n| *n == 1).await;
        // All that fits in the sockets is written, and then no more is.
        let mut last = (0, 0);
        let look = || {
            let now = taken.load(std::sync::atomic::Ordering::Relaxed);
            last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
            last
        };
        eventually(look, |(pieces, looks)| *pieces > 0 && *looks > 10).await;
        let buffered = taken.load(std::sync::atomic::Ordering::Relaxed);
        assert!(buffered < PIECES / 2, "{buffered} of {PIECES} pieces were taken in");
        let up = Upstream { endpoints: endpoints("a", &[app.addr]), ..Upstream::default() };
        become_now(&world, &table, up).await;
    };
    let (length, ()) = tokio::join!(send, release);
    assert_eq!(length, PIECE * PIECES);
}

#[tokio::test]
async fn a_gateway_that_stops_lets_the_waiting_go() {
    let world = World::new();
    let long = holding(Duration::from_secs(3_600));
    world.apply(Plan::default().upstream("a", coming()).edge_with("a", long).table()).await;
    let addr = world.addr("a");
    let stop = async {
        eventually(|| inflight(&world), |n| *n == 1).await;
        world.gateway.shutdown(PATIENCE).await
    };
    let (response, cut) = tokio::join!(world.get(addr, "/"), stop);
    assert_eq!((response.status().as_u16(), cut), (503, 0));
}
