//! An instance that fails while it says that it is ready gets no requests for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use archipel_gateway::{Body, InstanceCount, Limits};
use archipel_model::{EdgePolicy, Retry};
use archipel_rt::clock;
use http::Response;

use crate::support::*;

fn instances(world: &World) -> Vec<InstanceCount> {
    world.gateway.counters().services.into_iter().flat_map(|service| service.instances).collect()
}

/// So that what a client sees is what the instances say.
fn no_retries() -> EdgePolicy {
    let retry = Retry { attempts: 0, ..Retry::default() };
    EdgePolicy { retry, ..EdgePolicy::default() }
}

async fn failing_while(world: &World, ill: &Arc<AtomicBool>) -> App {
    let ill = Arc::clone(ill);
    world
        .app(move |_| {
            let status = if ill.load(Relaxed) { 500 } else { 200 };
            async move { Response::builder().status(status).body(Body::from("x")).unwrap() }
        })
        .await
}

#[tokio::test]
async fn an_instance_that_fails_is_passed_over_and_comes_back_when_it_is_well() {
    let world = World::with(Limits { slow_start: Duration::from_secs(2), ..Limits::default() });
    let ill = Arc::new(AtomicBool::new(true));
    let (sick, well) = (failing_while(&world, &ill).await, world.app(ok).await);
    let plan = Plan::default().service("a", &[sick.addr, well.addr]);
    world.apply(plan.edge_with("a", no_retries()).table()).await;
    let mut client = world.client(world.addr("a")).await;
    let mut failed = 0;
    for _ in 0..200 {
        client.ready().await.unwrap();
        let response = client.send_request(get("/")).await.unwrap();
        failed += usize::from(response.status() == 500);
        text(response).await;
    }
    assert!(failed <= 6, "{failed} of 200 met it");
    let seen = instances(&world);
    assert_eq!((seen[0].ejected, seen[0].ejections, seen[1].ejected), (true, 1, false));
    // It has recovered; once its time is over a few requests find out.
    ill.store(false, Relaxed);
    eventually(|| instances(&world)[0].ejected, |ejected| !ejected).await;
    let before = sick.count();
    let deadline = clock::now() + PATIENCE;
    while sick.count() < before + 20 && clock::now() < deadline {
        client.ready().await.unwrap();
        let response = client.send_request(get("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        text(response).await;
    }
    assert!(sick.count() >= before + 20);
    assert_eq!(instances(&world)[0].ejections, 1);
}

#[tokio::test]
async fn when_all_fail_all_are_used() {
    let world = World::new();
    let ill = Arc::new(AtomicBool::new(true));
    let apps = [failing_while(&world, &ill).await, failing_while(&world, &ill).await];
    let addrs = apps.each_ref().map(|app| app.addr);
    world.apply(Plan::default().service("a", &addrs).edge_with("a", no_retries()).table()).await;
    for _ in 0..60 {
        assert_eq!(world.get(world.addr("a"), "/").await.status(), 500, "the app's own answer");
    }
    let out = instances(&world).iter().filter(|instance| instance.ejected).count();
    assert!(out <= 1, "half of them stay, whatever they answer");
}

#[tokio::test]
async fn one_that_does_not_answer_in_time_is_passed_over() {
    let world = World::new();
    let stuck = world.app(|_| std::future::pending()).await;
    let well = world.app(ok).await;
    let policy = EdgePolicy { timeout: Some(Duration::from_millis(100)), ..no_retries() };
    let plan = Plan::default().service("a", &[stuck.addr, well.addr]).edge_with("a", policy);
    world.apply(plan.table()).await;
    let mut timeouts = 0;
    for _ in 0..60 {
        let response = world.get(world.addr("a"), "/").await;
        timeouts += usize::from(response.status() == 504);
    }
    // Bad news about its latency keeps most away before it is passed over for failing.
    assert!((1..=5).contains(&timeouts), "{timeouts}");
}

#[tokio::test]
async fn a_slow_instance_gets_few_requests_even_one_at_a_time() {
    let world = World::new();
    let slow = world
        .app(|_| async {
            clock::sleep(Duration::from_millis(400)).await;
            Response::new(Body::from("slow"))
        })
        .await;
    let quick = world.app(ok).await;
    world.apply(Plan::default().service("a", &[slow.addr, quick.addr]).edge("a").table()).await;
    let mut client = world.client(world.addr("a")).await;
    for _ in 0..200 {
        client.ready().await.unwrap();
        text(client.send_request(get("/")).await.unwrap()).await;
    }
    assert!(slow.count() <= 10, "{} of 200 waited", slow.count());
}

#[tokio::test]
async fn an_instance_that_joins_begins_with_few_requests() {
    let slow_start = Duration::from_secs(3_600);
    let world = World::with(Limits { slow_start, ..Limits::default() });
    let apps = [world.app(ok).await, world.app(ok).await];
    let addrs = apps.each_ref().map(|app| app.addr);
    let table = Plan::default().service("a", &addrs[..1]).edge("a").table();
    world.apply(table.clone()).await;
    let more = Plan::default().service("a", &addrs).table();
    world.apply(archipel_gateway::Table { services: more.services, ..table }).await;
    let mut client = world.client(world.addr("a")).await;
    for _ in 0..400 {
        client.ready().await.unwrap();
        text(client.send_request(get("/")).await.unwrap()).await;
    }
    let new = apps[1].count();
    assert!((5..=60).contains(&new), "a tenth of its half, not {new} of 400");
}
