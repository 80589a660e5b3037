//! Breaker, bulkhead, hedging and fallbacks, as callers see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use archipel_gateway::{Body, BreakerState, SafeguardCount};
use archipel_model::{
    Breaker, Bulkhead, EdgePolicy, Fallback, FallbackOn, Hedge, Retry, Safeguards, Spare,
};
use archipel_rt::clock;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;

use crate::support::*;

fn with(safeguards: Safeguards) -> EdgePolicy {
    let retry = Retry { attempts: 0, ..Retry::default() };
    EdgePolicy { safeguards, retry, hold: None, ..EdgePolicy::default() }
}

fn falling_back(with: Spare) -> Safeguards {
    let methods = vec!["GET".to_owned(), "HEAD".to_owned()];
    let fallback = Fallback { with, on: FallbackOn::default(), methods };
    Safeguards { fallback: Some(Box::new(fallback)), ..Safeguards::default() }
}

fn count(world: &World) -> SafeguardCount {
    world.gateway.counters().safeguards[0].clone()
}

/// Answers with the status that stands in the cell.
async fn saying(world: &World, status: &Arc<AtomicU16>) -> App {
    let status = Arc::clone(status);
    world
        .app(move |request: Request<Incoming>| {
            let status = status.load(Relaxed);
            let body = format!("{status} {}", request.uri());
            async move { Response::builder().status(status).body(Body::from(body)).unwrap() }
        })
        .await
}

#[tokio::test]
async fn a_breaker_spares_a_service_that_fails_and_lets_a_few_try_it_out() {
    let world = World::new();
    let status = Arc::new(AtomicU16::new(500));
    let app = saying(&world, &status).await;
    let breaker =
        Breaker { min_requests: 10, open_for: Duration::from_millis(1_500), ..Breaker::default() };
    let policy = with(Safeguards { breaker: Some(breaker), ..Safeguards::default() });
    world.apply(Plan::default().service("a", &[app.addr]).edge_with("a", policy).table()).await;
    let addr = world.addr("a");
    for _ in 0..10 {
        assert_eq!(world.get(addr, "/").await.status(), 500);
    }
    assert_eq!(count(&world).breaker, Some((BreakerState::Open, 1)));
    let response = world.get(addr, "/").await;
    assert_eq!((response.status().as_u16(), app.count()), (503, 10), "the app is left alone");
    assert_eq!(response.headers()["x-archipel-refused"], "circuit-open; edge web->a");
    assert_eq!(response.headers()["retry-after"], "2");
    // A change of the table elsewhere forgets nothing.
    status.store(200, Relaxed);
    let mut answers = Vec::new();
    let deadline = clock::now() + PATIENCE;
    while answers.last() != Some(&200) && clock::now() < deadline {
        answers.push(world.get(addr, "/").await.status().as_u16());
        clock::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answers.last(), Some(&200));
    for _ in 0..5 {
        assert_eq!(world.get(addr, "/").await.status(), 200);
    }
    assert_eq!(count(&world).breaker, Some((BreakerState::Closed, 1)));
}

#[tokio::test]
async fn a_full_bulkhead_lets_a_few_wait_and_refuses_the_rest() {
    let world = World::new();
    let (open, gate) = tokio::sync::watch::channel(false);
    let app = world
        .app(move |_| {
            let mut gate = gate.clone();
            async move {
                let _ = gate.wait_for(|open| *open).await;
                Response::new(Body::from("done"))
            }
        })
        .await;
    let bulkhead = Bulkhead { max: 2, queue: 1, wait: PATIENCE };
    let policy = with(Safeguards { bulkhead: Some(bulkhead), ..Safeguards::default() });
    world.apply(Plan::default().service("a", &[app.addr]).edge_with("a", policy).table()).await;
    let addr = world.addr("a");
    let three = futures_util::future::join_all((0..3).map(|_| {
        let world = &world;
        async move { world.get(addr, "/").await.status().as_u16() }
    }));
    let refused = async {
        let inflight = || world.gateway.counters().series[0].inflight;
        eventually(|| (inflight(), app.count()), |seen| *seen == (3, 2)).await;
        let response = world.get(addr, "/").await;
        assert_eq!(response.headers()["x-archipel-refused"], "too-many-inflight; edge web->a");
        assert_eq!(response.headers()["retry-after"], "1");
        let body = text(response).await;
        assert!(body.contains("2 requests to `a` are in flight already, and 1 more"), "{body}");
        open.send(true).unwrap();
    };
    let (answers, ()) = tokio::join!(three, refused);
    assert_eq!(answers, [200, 200, 200]);
}

#[tokio::test]
async fn a_read_that_takes_long_is_asked_for_at_another_instance_too() {
    let world = World::new();
    let left = Arc::new(AtomicUsize::new(0));
    let (gone, came) = (Arc::clone(&left), Arc::new(AtomicUsize::new(0)));
    // As many as may be sent twice whatever the traffic.
    const STUCK: usize = 2;
    let stuck = world
        .app(move |_| {
            let hangs = came.fetch_add(1, Relaxed) < STUCK;
            let note = hangs.then(|| CountDrop(Arc::clone(&gone)));
            async move {
                if let Some(_note) = note {
                    std::future::pending::<()>().await;
                }
                Response::new(Body::from("ok"))
            }
        })
        .await;
    let well = world.app(ok).await;
    let hedge = Some(Hedge::After(Duration::from_millis(200)));
    let policy = with(Safeguards { hedge, ..Safeguards::default() });
    let plan = Plan::default().service("a", &[stuck.addr, well.addr]).edge_with("a", policy);
    world.apply(plan.table()).await;
    let addr = world.addr("a");
    let (mut asked, deadline) = (0, clock::now() + PATIENCE);
    while stuck.count() < STUCK && clock::now() < deadline {
        let response = world.get(addr, "/").await;
        assert_eq!(response.status(), 200);
        text(response).await;
        asked += 1;
    }
    let (sent, won) = count(&world).hedges.unwrap();
    assert!(sent >= STUCK as u64 && won >= STUCK as u64, "{sent} {won}");
    eventually(|| left.load(Relaxed), |n| *n == STUCK).await;
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
    assert_eq!(world.gateway.counters().series[0].requests(), asked, "for callers it is one");
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn what_has_an_effect_is_never_hedged() {
    let world = World::new();
    let slow = async |world: &World| {
        world
            .app(|_| async {
                clock::sleep(Duration::from_millis(60)).await;
                Response::new(Body::from("done"))
            })
            .await
    };
    let apps = [slow(&world).await, slow(&world).await];
    let hedge = Some(Hedge::After(Duration::from_millis(5)));
    let policy = with(Safeguards { hedge, ..Safeguards::default() });
    let addrs = apps.each_ref().map(|app| app.addr);
    world.apply(Plan::default().service("a", &addrs).edge_with("a", policy).table()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = Request::builder().method(method).uri("/").header("host", "a");
        let response = world.send(world.addr("a"), request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
    }
    assert_eq!(apps[0].count() + apps[1].count(), 4);
    assert_eq!(count(&world).hedges, Some((0, 0)));
}

fn marks(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap());
    (text("x-archipel-fallback"), text("x-archipel-refused"))
}

#[tokio::test]
async fn a_static_answer_stands_in_for_a_service_that_cannot() {
    let world = World::new();
    let status = Arc::new(AtomicU16::new(200));
    let app = saying(&world, &status).await;
    let spare = Spare::Static {
        status: 200,
        content_type: "application/json".to_owned(),
        body: "[]".to_owned(),
    };
    let safeguards = falling_back(spare);
    let mut public = route("/** -> a");
    public.safeguards = safeguards.clone();
    let plan = Plan::default().service("a", &[app.addr]).edge_with("a", with(safeguards));
    let table = plan.public_routes(&[], vec![public]).table();
    world.apply(table.clone()).await;
    let mut records = world.gateway.access(64);
    for listener in ["a", "public"] {
        let addr = world.addr(listener);
        status.store(404, Relaxed);
        assert_eq!(world.get(addr, "/").await.status(), 404, "that is an answer");
        status.store(500, Relaxed);
        let response = world.get(addr, "/").await;
        assert_eq!(response.status(), 200);
        assert_eq!(marks(response.headers()), (Some("static; 500"), None));
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(text(response).await, "[]");
        assert_eq!(world.send(addr, post("/", "")).await.status(), 500, "an order is no badge");
    }
    let nobody = archipel_gateway::Upstream::default();
    let services = [(name("a"), nobody)].into();
    world.apply(archipel_gateway::Table { services, ..table }).await;
    let response = world.get(world.addr("a"), "/").await;
    assert_eq!(marks(response.headers()), (Some("static; connect"), None));
    let mut seen = Vec::new();
    let wanted = (200, Some("static"), Some(archipel_gateway::Problem::NoInstance));
    while !seen
        .iter()
        .any(|a: &archipel_gateway::Access| (a.status, a.fallback, a.refusal) == wanted)
    {
        let came = clock::timeout(PATIENCE, records.recv_many(&mut seen)).await;
        assert!(came.is_ok_and(|came| came > 0), "{seen:?}");
    }
    assert!(world.gateway.counters().safeguards.iter().all(|of| of.fallbacks >= Some(1)));
}

#[tokio::test]
async fn nothing_can_be_an_answer() {
    let world = World::new();
    let (dead, addr) = world.raw().await;
    drop(dead);
    let policy = with(falling_back(Spare::Skip));
    world.apply(Plan::default().service("a", &[addr]).edge_with("a", policy).table()).await;
    let response = world.get(world.addr("a"), "/").await;
    assert_eq!(response.status(), 204);
    assert_eq!(marks(response.headers()), (Some("skip; connect"), None));
}

#[tokio::test]
async fn the_last_good_answer_is_given_again_and_never_to_somebody_else() {
    let world = World::new();
    let status = Arc::new(AtomicU16::new(200));
    let app = saying(&world, &status).await;
    let policy = with(falling_back(Spare::Stale(Duration::from_secs(60))));
    let table = Plan::default().service("a", &[app.addr]).edge_with("a", policy).table();
    world.apply(table.clone()).await;
    let addr = world.addr("a");
    let ask = async |path: &str, header: Option<(&'static str, &'static str)>| {
        let mut request = get(path);
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let response = world.send(addr, request).await;
        let mark = marks(response.headers()).0.map(str::to_owned);
        (response.status().as_u16(), mark, text(response).await)
    };
    assert_eq!(ask("/x?a=1", None).await.0, 200);
    let mine = Some(("cookie", "who=me"));
    let named = Some(("x-customer-id", "7"));
    assert_eq!(ask("/mine", mine).await.0, 200);
    assert_eq!(ask("/named", named).await.0, 200);
    status.store(503, Relaxed);
    // What was kept outlives a change of the table.
    world.apply(table).await;
    let stale = Some("stale; 503".to_owned());
    assert_eq!(ask("/x?a=1", None).await, (200, stale.clone(), "200 /x?a=1".to_owned()));
    assert_eq!(ask("/x?a=2", None).await.0, 503, "another page");
    assert_eq!(ask("/mine", mine).await.0, 503, "nothing personal is kept");
    assert_eq!(ask("/mine", None).await.0, 503);
    assert_eq!(ask("/named", None).await.0, 503);
    assert_eq!(ask("/named", Some(("x-customer-id", "8"))).await.0, 503);
    assert_eq!(ask("/named", named).await, (200, stale, "200 /named".to_owned()));
}

#[tokio::test]
async fn an_open_breaker_has_a_fallback_too_and_calls_share_it() {
    let world = World::new();
    let status = Arc::new(AtomicU16::new(500));
    let app = saying(&world, &status).await;
    let breaker = Breaker { min_requests: 5, ..Breaker::default() };
    let policy = with(Safeguards { breaker: Some(breaker), ..falling_back(Spare::Skip) });
    let plan = Plan::default().service("a", &[app.addr]).edge_with("a", policy.clone());
    world.apply(plan.table()).await;
    for _ in 0..5 {
        assert_eq!(world.get(world.addr("a"), "/").await.status(), 204);
    }
    // A call of the same edge that does not come through its port.
    let caller = archipel_gateway::Caller::Service(name("web"));
    let call = world.gateway.call(caller, &name("a"), &policy, get("/")).await;
    assert_eq!(marks(call.unwrap().headers()).0, Some("skip; breaker"));
    assert_eq!(app.count(), 5);
}
