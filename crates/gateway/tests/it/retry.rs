//! What is sent again, how often, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use archipel_gateway::Body;
use archipel_model::{EdgePolicy, Retry, RetryOn};
use http::{Request, Response};
use hyper::body::Incoming;

use crate::support::*;

/// Answers with the statuses in its path, one after the other, and then with 200.
async fn stumbling(world: &World, headers: &'static [(&'static str, &'static str)]) -> App {
    let asked = Arc::new(AtomicUsize::new(0));
    world
        .app(move |request: Request<Incoming>| {
            let n = asked.fetch_add(1, Relaxed);
            let path = request.uri().path().to_owned();
            let status = path.split('/').filter(|word| !word.is_empty()).nth(n).unwrap_or("200");
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            let answer = answer.body(Body::from(format!("try {}", n + 1))).unwrap();
            async move { answer }
        })
        .await
}

fn retrying(retry: Retry) -> EdgePolicy {
    EdgePolicy { retry, ..EdgePolicy::default() }
}

#[tokio::test]
async fn an_app_that_cannot_now_is_asked_again_where_that_is_harmless() {
    let check = async |retry: Retry, request: Request<Body>, status: u16, tries: usize| {
        let world = World::new();
        let app = stumbling(&world, &[]).await;
        let plan = Plan::default().service("a", &[app.addr]).edge_with("a", retrying(retry));
        world.apply(plan.table()).await;
        let what = format!("{} {}", request.method(), request.uri());
        let response = world.send(world.addr("a"), request).await;
        assert_eq!((response.status().as_u16(), app.count()), (status, tries), "{what}");
        assert_eq!(response.headers().get("x-archipel-refused"), None, "it is the app's answer");
        assert_eq!(text(response).await, format!("try {tries}"), "{what}");
        let series = world.gateway.counters().series[0].clone();
        assert_eq!(series.retries as usize, tries - 1);
        assert_eq!(series.requests(), 1, "for the caller it is one request");
    };
    let default = Retry::default();
    check(default, get("/503/502"), 200, 3).await;
    check(default, get("/504/503/502"), 502, 3).await;
    check(default, get("/500"), 500, 1).await;
    check(default, post("/503", ""), 503, 1).await;
    let put = Request::put("/503").header("host", "shop.local");
    check(default, put.body(Body::from("whole")).unwrap(), 503, 1).await;
    check(Retry { attempts: 0, ..default }, get("/503"), 503, 1).await;
    let not_that = Retry { on: RetryOn { unavailable: false, ..RetryOn::ALL }, ..default };
    check(not_that, get("/502/503"), 503, 2).await;
}

#[tokio::test]
async fn another_instance_is_asked_when_there_is_one() {
    let world = World::new();
    let ill =
        world.app(|_| async { Response::builder().status(503).body("ill".into()).unwrap() }).await;
    let well = world.app(ok).await;
    let plan = Plan::default().service("a", &[ill.addr, well.addr]).edge("a");
    world.apply(plan.table()).await;
    for _ in 0..20 {
        assert_eq!(world.get(world.addr("a"), "/").await.status(), 200);
    }
    assert_eq!(well.count(), 20, "no request was tried on the ill one twice");
}

#[tokio::test]
async fn an_app_that_says_when_to_come_back_is_left_alone() {
    let world = World::new();
    let app = stumbling(&world, &[("retry-after", "7")]).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let response = world.get(world.addr("a"), "/503").await;
    assert_eq!((response.status().as_u16(), app.count()), (503, 1));
    assert_eq!(response.headers()["retry-after"], "7");
}

#[tokio::test]
async fn retries_do_not_multiply_the_load_on_a_service_that_fails() {
    const REQUESTS: usize = 400;
    let world = World::new();
    let app =
        world.app(|_| async { Response::builder().status(503).body("no".into()).unwrap() }).await;
    let millis = Duration::from_millis;
    let retry = Retry {
        attempts: 5,
        budget: Some(10),
        backoff: archipel_model::Backoff { min: millis(1), max: millis(1) },
        ..Retry::default()
    };
    let plan = Plan::default().service("a", &[app.addr]).edge_with("a", retrying(retry));
    world.apply(plan.table()).await;
    let mut client = world.client(world.addr("a")).await;
    for _ in 0..REQUESTS {
        client.ready().await.unwrap();
        let response = client.send_request(get("/")).await.unwrap();
        assert_eq!(response.status(), 503);
        text(response).await;
    }
    let more = app.count() - REQUESTS;
    assert!(more > 0 && more <= REQUESTS / 10 + 60, "{more} retries for {REQUESTS} requests");
}

#[tokio::test]
async fn a_key_that_the_callee_knows_again_makes_any_request_repeatable() {
    let world = World::new();
    let bodies = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let app = world
        .app(move |request: Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let key = request.headers().contains_key("idempotency-key");
                let length = Body::from(request.into_body()).collect(1 << 20).await.unwrap().len();
                let mut seen = seen.lock().unwrap();
                seen.push((key, length));
                let status = if seen.len() == 1 { 503 } else { 201 };
                Response::builder().status(status).body(Body::empty()).unwrap()
            }
        })
        .await;
    let policy =
        EdgePolicy { idempotency: Some("idempotency-key".to_owned()), ..EdgePolicy::default() };
    world.apply(Plan::default().service("a", &[app.addr]).edge_with("a", policy).table()).await;
    let charge = |key: bool, body: Body| {
        let request = Request::post("/charges").header("host", "shop.local");
        let request = if key { request.header("Idempotency-Key", "k1") } else { request };
        request.body(body).unwrap()
    };
    let unnamed = Request::post("/charges").header("host", "shop.local");
    let unnamed = unnamed.header("Idempotency-Key", "").body("five5".into()).unwrap();
    let streamed =
        || Body::stream(futures_util::stream::iter([Ok::<_, std::io::Error>("x".into())]));
    for (request, status, all) in [
        (charge(true, "five5".into()), 201, vec![(true, 5), (true, 5)]),
        (charge(true, Body::empty()), 201, vec![(true, 0), (true, 0)]),
        (charge(true, vec![7; 64 << 10].into()), 201, vec![(true, 64 << 10); 2]),
        (charge(false, "five5".into()), 503, vec![(false, 5)]),
        (unnamed, 503, vec![(true, 5)]),
        (charge(true, vec![7; (64 << 10) + 1].into()), 503, vec![(true, (64 << 10) + 1)]),
        (charge(true, streamed()), 503, vec![(true, 1)]),
    ] {
        let response = world.send(world.addr("a"), request).await;
        assert_eq!(response.status(), status, "{all:?}");
        assert_eq!(std::mem::take(&mut *bodies.lock().unwrap()), all);
    }
}
