//! Instances over HTTP/2 that say good-bye (GOAWAY) after a few requests, or die without a word.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use archipel_gateway::Body;
use archipel_model::{EdgePolicy, Retry};
use archipel_rt::clock;
use archipel_testkit::Rng;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::support::*;

const SEEDS: u64 = 4;
const CLIENTS: u64 = 6;
const REQUESTS: u64 = 60;

/// How often each request was taken by an application.
type Ledger = Arc<Mutex<HashMap<String, usize>>>;

fn serve(world: &World, listener: TcpListener, ledger: &Ledger, seed: u64) {
    let (tasks, stop, ledger) = (world.tasks.clone(), world.tasks.stop_token(), Arc::clone(ledger));
    let mut dice = Rng::new(seed);
    world.tasks.spawn("test.h2", async move {
        loop {
            let (stream, _) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            let after = 1 + dice.below(20);
            let dies = dice.below(3) == 0;
            let (ledger, seen) = (Arc::clone(&ledger), Arc::new(tokio::sync::Semaphore::new(0)));
            let count = Arc::clone(&seen);
            let service = service_fn(move |request: Request<Incoming>| {
                let id = request.headers()["x-id"].to_str().unwrap().to_owned();
                *ledger.lock().unwrap().entry(id.clone()).or_default() += 1;
                count.add_permits(1);
                async move {
                    tokio::task::yield_now().await;
                    let answer = Response::builder().header("x-id", &id);
                    Ok::<_, std::convert::Infallible>(answer.body(Body::from(id)).unwrap())
                }
            });
            let stop = stop.clone();
            tasks.spawn("test.h2.connection", async move {
                let builder = http2::Builder::new(TokioExecutor::new());
                let mut connection =
                    std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    _ = connection.as_mut() => return,
                    _ = seen.acquire_many(after as u32) => {}
                }
                if !dies {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        _ = connection => {}
                    }
                }
            });
        }
    });
}

async fn client(world: &World, seed: u64, ledger: &Ledger) -> [usize; 2] {
    let mut dice = Rng::new(seed);
    let mut sender = world.client_http2(world.addr("a")).await;
    let mut tally = [0, 0];
    for n in 0..REQUESTS {
        let id = format!("{seed}-{n}");
        let idempotent = dice.below(2) == 0;
        let method = if idempotent { "GET" } else { "POST" };
        let request = Request::builder().method(method).uri("http://a/").header("x-id", &id);
        let sent = sender.send_request(request.body(Body::empty()).unwrap());
        let response = clock::timeout(PATIENCE, sent).await.unwrap().unwrap();
        let status = response.status().as_u16();
        let answered_for = response.headers().get("x-id").cloned();
        let refused = response.headers().get("x-archipel-refused").cloned();
        let body = Body::from(response.into_body()).collect(1 << 16).await;
        match (status, body) {
            (200, Ok(body)) => {
                assert_eq!(body, id, "bodies are mixed up");
                assert_eq!(answered_for.unwrap(), id.as_str());
                tally[0] += 1;
            }
            // Died between the head and the body.
            (200, Err(_)) => tally[1] += 1,
            (status, _) => {
                assert!(!idempotent, "{id}: {status} {refused:?}");
                tally[1] += 1;
            }
        }
        let reached = ledger.lock().unwrap().get(&id).copied().unwrap_or_default();
        assert!(idempotent || reached <= 1, "{id} reached applications {reached} times");
    }
    tally
}

async fn run(seed: u64) {
    let world = World::new();
    let ledger = Ledger::default();
    let mut addrs = Vec::new();
    for n in 0..3 {
        let (listener, addr) = world.raw().await;
        addrs.push(addr);
        serve(&world, listener, &ledger, seed * 31 + n);
    }
    let retry = Retry { attempts: 8, budget: None, ..Retry::default() };
    let policy = EdgePolicy { retry, ..EdgePolicy::default() };
    world.apply(Plan::default().grpc("a", &addrs).edge_with("a", policy).table()).await;
    let clients = (0..CLIENTS).map(|n| client(&world, seed * 1_000 + n, &ledger));
    let tallies = futures_util::future::join_all(clients).await;
    let answered: usize = tallies.iter().map(|tally| tally[0]).sum();
    println!("seed {seed}: {tallies:?}");
    assert!(answered as u64 > CLIENTS * REQUESTS * 3 / 4, "{tallies:?}");
}

#[test]
fn a_good_bye_loses_no_request_and_repeats_none() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    archipel_testkit::seeds(SEEDS, |seed| runtime.block_on(run(seed)));
}
