//! Which instance gets a request.

use std::time::Duration;

use archipel_gateway::Body;
use archipel_rt::clock;
use http::Response;

use crate::support::*;

#[tokio::test]
async fn requests_spread_over_the_instances() {
    let world = World::new();
    let apps = [world.app(ok).await, world.app(ok).await, world.app(ok).await];
    let addrs = apps.each_ref().map(|app| app.addr);
    world.apply(Plan::default().service("a", &addrs).edge("a").table()).await;
    let mut client = world.client(world.addr("a")).await;
    for _ in 0..300 {
        client.ready().await.unwrap();
        text(client.send_request(get("/")).await.unwrap()).await;
    }
    let counts = apps.each_ref().map(|app| app.count());
    assert!(counts.iter().all(|n| *n > 50), "{counts:?}");
}

#[tokio::test]
async fn a_busy_instance_gets_fewer() {
    let world = World::new();
    let slow = world
        .app(|_| async {
            clock::sleep(Duration::from_millis(300)).await;
            Response::new(Body::from("slow"))
        })
        .await;
    let quick = world.app(ok).await;
    world.apply(Plan::default().service("a", &[slow.addr, quick.addr]).edge("a").table()).await;
    let addr = world.addr("a");
    let requests = (0..4).map(|_| async {
        let mut client = world.client(addr).await;
        for _ in 0..25 {
            client.ready().await.unwrap();
            text(client.send_request(get("/")).await.unwrap()).await;
        }
    });
    futures_util::future::join_all(requests).await;
    assert!(slow.count() * 3 < quick.count(), "{} {}", slow.count(), quick.count());
}

#[tokio::test]
async fn an_instance_that_is_gone_costs_nobody_a_request() {
    let world = World::new();
    let (dead, dead_addr) = world.raw().await;
    drop(dead);
    let app = world.app(echo).await;
    world.apply(Plan::default().service("a", &[dead_addr, app.addr]).edge("a").table()).await;
    for n in 0..50 {
        let body = format!("{n}");
        assert_eq!(text(world.send(world.addr("a"), post("/", body.clone())).await).await, body);
    }
    let retries = world.gateway.counters().series[0].retries;
    assert!((1..10).contains(&retries), "it is passed over after the first refusal: {retries}");
}

#[tokio::test]
async fn a_connection_that_the_app_closed_is_not_used_for_a_purchase() {
    let world = World::new();
    // Closes each connection right after its answer, without announcing it.
    let (listener, addr) = world.raw().await;
    let stop = world.tasks.stop_token();
    world.tasks.spawn("test.raw", async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut stream, _) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).await.unwrap() > 0 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    });
    world.apply(Plan::default().service("a", &[addr]).edge("a").table()).await;
    let mut client = world.client(world.addr("a")).await;
    for _ in 0..100 {
        client.ready().await.unwrap();
        let response = client.send_request(post("/buy", "1")).await.unwrap();
        assert_eq!(text(response).await, "ok");
        // Until the close has arrived at the gateway's machine; on loopback that is at once.
        clock::sleep(Duration::from_millis(1)).await;
    }
}
