//! Instances restart all the time, one after the other, politely or by `kill -9`; nobody who asks
//! for what may be asked twice notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use archipel_gateway::Body;
use archipel_model::{EdgePolicy, Retry};
use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_testkit::Rng;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::sync::Mutex;

use crate::support::*;

const CLIENTS: u64 = 16;
const INSTANCES: usize = 3;
/// Something restarts every tenth of a second, and a request may be unlucky several times: at two
/// in a hundred for each try, one in three hundred million has only bad luck.
const ATTEMPTS: u32 = 4;

/// Gives back what the request is called.
async fn name_it(request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    let id = request.headers()["x-id"].clone();
    let body = Body::from(id.to_str().unwrap().to_owned());
    Ok(Response::builder().header("x-id", id).body(body).unwrap())
}

struct Instance {
    addr: SocketAddr,
    /// Whoever holds it may be down.
    turn: Arc<Mutex<()>>,
    restarts: Arc<AtomicU64>,
    stop: CancellationToken,
    tasks: Tasks,
}

async fn instance(of: Instance, seed: u64) {
    let mut dice = Rng::new(seed);
    let mut turn = None;
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(of.addr).is_err() {
            clock::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let listener = socket.listen(1024).unwrap();
        drop(turn.take());
        let (killed, asked) = (CancellationToken::new(), CancellationToken::new());
        let end = clock::now() + Duration::from_millis(100 + dice.below(500));
        let mut next = std::pin::pin!(async {
            clock::sleep_until(end).await;
            of.turn.lock().await
        });
        turn = loop {
            let stream = tokio::select! {
                biased;
                () = of.stop.cancelled() => return killed.cancel(),
                turn = next.as_mut() => break Some(turn),
                accepted = listener.accept() => accepted.unwrap().0,
            };
            let (killed, asked) = (killed.clone(), asked.clone());
            of.tasks.spawn("test.connection", async move {
                let service = service_fn(name_it);
                let builder = http1::Builder::new();
                let mut connection =
                    std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
                tokio::select! {
                    biased;
                    () = killed.cancelled() => return,
                    _ = connection.as_mut() => return,
                    () = asked.cancelled() => {}
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    () = killed.cancelled() => {}
                    _ = connection => {}
                }
            });
        };
        drop(listener);
        if dice.below(2) == 0 {
            asked.cancel();
            clock::sleep(Duration::from_millis(dice.below(10))).await;
        }
        killed.cancel();
        of.restarts.fetch_add(1, Relaxed);
        clock::sleep(Duration::from_millis(dice.below(20))).await;
    }
}

async fn run(seed: u64, requests: u64) {
    let world = World::new();
    let (turn, restarts) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
    let mut addrs = Vec::new();
    for n in 0..INSTANCES as u64 {
        // An address of its own: while it is down, nobody else may get its port.
        let listener = std::net::TcpListener::bind(("127.0.9.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        addrs.push(addr);
        let of = Instance {
            addr,
            turn: Arc::clone(&turn),
            restarts: Arc::clone(&restarts),
            stop: world.tasks.stop_token(),
            tasks: world.tasks.clone(),
        };
        world.tasks.spawn("test.instance", instance(of, seed * 31 + n));
    }
    let retry = Retry { attempts: ATTEMPTS, ..Retry::default() };
    let policy = EdgePolicy { retry, ..EdgePolicy::default() };
    world.apply(Plan::default().service("a", &addrs).edge_with("a", policy).table()).await;
    let addr = world.addr("a");
    let began = clock::now();
    let clients = (0..CLIENTS).map(|client| {
        let world = &world;
        async move {
            let mut sender = world.client(addr).await;
            for n in 0..requests / CLIENTS {
                let id = format!("{client}-{n}");
                let request = Request::get("/").header("host", "a").header("x-id", &id);
                sender.ready().await.expect("the gateway keeps its connections");
                let sent = sender.send_request(request.body(Body::empty()).unwrap());
                let Ok(response) = clock::timeout(PATIENCE, sent).await else {
                    panic!("no answer to {id}: {:#?}", world.gateway.counters().services);
                };
                let response = response.unwrap();
                let (status, headers) = (response.status(), response.headers().clone());
                let body = text(response).await;
                assert_eq!((status.as_u16(), body.as_str()), (200, id.as_str()), "{headers:?}");
                assert_eq!(headers["x-id"], id.as_str());
            }
        }
    });
    futures_util::future::join_all(clients).await;
    let series = world.gateway.counters().series[0].clone();
    println!(
        "seed {seed}: {} requests in {:?}, {} restarts, {} retries, p99 {:?}",
        series.requests(),
        clock::now() - began,
        restarts.load(Relaxed),
        series.retries,
        series.latency.quantile(0.99),
    );
    assert_eq!(series.by_class[2], requests / CLIENTS * CLIENTS, "{series:?}");
    assert!(restarts.load(Relaxed) > 0);
}

fn with_runtime(requests: u64, seeds: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    archipel_testkit::seeds(seeds, |seed| runtime.block_on(run(seed, requests)));
}

#[test]
fn nobody_notices_that_instances_restart() {
    with_runtime(10_000, 2);
}

#[test]
#[ignore = "takes minutes: cargo test --release -p archipel-gateway --test it -- --ignored a_million"]
fn a_million_requests_while_instances_restart() {
    with_runtime(1_000_000, 1);
}
