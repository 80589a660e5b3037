//! Tables change and gateways stop without a request being lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use archipel_gateway::{Body, Entrance, Listener, Table};
use archipel_model::EdgePolicy;
use archipel_rt::clock;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_tables_under_load_lose_no_request() {
    let world = World::new();
    let mut apps = Vec::new();
    for _ in 0..4 {
        apps.push(world.app(echo).await);
    }
    let listeners = Plan::default().edge("a").public(&[], &["/** -> a"]).table().listeners;
    let table = |first: usize, count: usize| {
        let addrs: Vec<_> = (0..count).map(|i| apps[(first + i) % apps.len()].addr).collect();
        let plan = Plan::default().service("a", &addrs);
        Table { listeners: listeners.clone(), services: plan.table().services }
    };
    world.apply(table(0, 2)).await;
    let (edge, public) = (world.addr("a"), world.addr("public"));
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let load = (0..8).map(|n| {
        let (world, done, served) = (&world, Arc::clone(&done), Arc::clone(&served));
        async move {
            let mut client = world.client(if n % 2 == 0 { edge } else { public }).await;
            let mut round = 0;
            while !done.load(Relaxed) {
                let body = format!("{n}-{round}");
                round += 1;
                client.ready().await.unwrap();
                let response = client.send_request(post("/", body.clone())).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(text(response).await, body);
                served.fetch_add(1, Relaxed);
            }
        }
    });
    let changes = async {
        for n in 0..200 {
            let before = served.load(Relaxed);
            world.apply(table(n % 4, 1 + n % 3)).await;
            eventually(|| served.load(Relaxed), |now| *now > before).await;
        }
        done.store(true, Relaxed);
    };
    tokio::join!(changes, futures_util::future::join_all(load));
    assert_eq!((world.addr("a"), world.addr("public")), (edge, public), "nothing was bound anew");
    assert!(apps.iter().all(|app| app.count() > 0));
}

#[tokio::test]
async fn a_taken_address_is_reported_and_the_others_open() {
    let world = World::new();
    let app = world.app(ok).await;
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut table = Plan::default().service("a", &[app.addr]).edge("a").table();
    let entrance =
        Entrance::Edge { caller: name("web"), callee: name("a"), policy: EdgePolicy::default() };
    let taken = holder.local_addr().unwrap();
    table.listeners.insert(0, Listener { id: "taken".to_owned(), addr: taken, entrance });
    let errors = world.gateway.apply(table.clone()).await;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].is_conflict() && errors[0].addr == taken, "{}", errors[0]);
    assert_eq!(world.get(world.addr("a"), "/").await.status(), 200);
    drop(holder);
    world.apply(table).await;
    assert_eq!(world.get(taken, "/").await.status(), 200);
}

/// An app that answers with the head at once and the body when told.
async fn held(world: &World) -> (App, archipel_rt::Sender<Bytes>) {
    let (feed, receiver) = archipel_rt::channel::<Bytes>("test.held", 1);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let app = world
        .app(move |_| {
            let receiver = receiver.lock().unwrap().take();
            async move {
                let Some(mut receiver) = receiver else { return Response::new("ok".into()) };
                let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
                Response::new(Body::stream(pieces.map(Ok::<_, std::io::Error>)))
            }
        })
        .await;
    (app, feed)
}

#[tokio::test]
async fn a_removed_listener_finishes_what_it_has_and_its_address_is_free() {
    let world = World::new();
    let (app, feed) = held(&world).await;
    let before = Plan::default().service("a", &[app.addr]).edge("a").table();
    world.apply(before.clone()).await;
    let addr = world.addr("a");
    let mut idle = world.client(addr).await;
    let response = world.get(addr, "/").await;
    // The same address under another name: another identity, so another socket.
    let mut after = before;
    after.listeners[0].id = "b".to_owned();
    after.listeners[0].addr = addr;
    world.apply(after).await;
    assert_eq!((world.gateway.bound("a"), world.addr("b")), (None, addr));
    assert_eq!(world.get(addr, "/").await.status(), 200);
    eventually(|| idle.is_closed(), |closed| *closed).await;
    assert!(idle.send_request(get("/")).await.is_err());
    feed.send(Bytes::from("whole")).await.unwrap();
    drop(feed);
    assert_eq!(text(response).await, "whole");
}

#[tokio::test]
async fn a_removed_instance_is_drained() {
    let world = World::new();
    let (app, feed) = held(&world).await;
    let table = Plan::default().service("a", &[app.addr]).edge("a").table();
    world.apply(table.clone()).await;
    let response = world.get(world.addr("a"), "/").await;
    let other = world.app(ok).await;
    let mut next = table;
    next.services = services(&[("a", other.addr)]);
    world.apply(next).await;
    assert_eq!(world.gateway.inflight(&id("a-0")), 1, "still counted after it left");
    text(world.get(world.addr("a"), "/").await).await;
    assert_eq!((app.count(), other.count()), (1, 1));
    feed.send(Bytes::from("whole")).await.unwrap();
    drop(feed);
    assert_eq!(text(response).await, "whole");
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
}

#[tokio::test]
async fn shutdown_lets_requests_finish() {
    let world = World::new();
    let (app, feed) = held(&world).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let addr = world.addr("a");
    let idle = world.client(addr).await;
    let idle_http2 = world.client_http2(addr).await;
    let response = world.get(addr, "/").await;
    let gateway = world.gateway.clone();
    let stopping = async {
        let started = clock::now();
        (gateway.shutdown(PATIENCE).await, clock::now() - started)
    };
    let client = async {
        eventually(|| idle.is_closed() && idle_http2.is_closed(), |closed| *closed).await;
        assert!(TcpStream::connect(addr).await.is_err(), "nobody is let in any more");
        feed.send(Bytes::from("whole")).await.unwrap();
        drop(feed);
        text(response).await
    };
    let ((cut, took), body) = tokio::join!(stopping, client);
    assert_eq!((cut, body.as_str()), (0, "whole"));
    assert!(took < PATIENCE / 2, "{took:?}");
}

#[tokio::test]
async fn shutdown_has_an_end() {
    let world = World::new();
    let (app, feed) = held(&world).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    let mut client = world.client_http2(world.addr("a")).await;
    let request = Request::get("http://a/").body(Body::empty()).unwrap();
    let mut response = client.send_request(request).await.unwrap();
    feed.send(Bytes::from("part")).await.unwrap();
    response.frame().await.unwrap().unwrap();
    let cut = world.gateway.shutdown(Duration::from_millis(100)).await;
    assert!(cut >= 1);
    assert!(response.frame().await.unwrap().is_err(), "the client learns that it is not whole");
    eventually(|| world.gateway.counters().connections, |n| *n == 0).await;
}
