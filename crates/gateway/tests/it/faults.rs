//! Three instances that misbehave in every way, by seed, and clients that must not notice more
//! than is true.
//!
//! What must hold, whatever happens:
//! - an idempotent request is answered, unless the answer broke off half-way, which its client
//!   must see as an error and never as a short answer;
//! - a request with an effect reaches applications at most once;
//! - every answer belongs to its request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_gateway::Body;
use archipel_model::{EdgePolicy, Retry};
use archipel_rt::{CancellationToken, clock};
use archipel_testkit::Rng;
use http::Request;
use hyper::client::conn::http1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::*;

const SEEDS: u64 = 6;
const CLIENTS: u64 = 6;
const REQUESTS: u64 = 80;
/// Instance 0 misbehaves only in ways that a retry elsewhere can mend, so that a healthy way
/// exists; which requests hit it is up to the balancer.
const ATTEMPTS: u32 = 8;

#[derive(Default)]
struct Ledger {
    /// How often each request id was read by an application, whole or in part.
    reached: Mutex<HashMap<String, usize>>,
}

struct Fault {
    ledger: Arc<Ledger>,
    stop: CancellationToken,
}

/// One instance: now and then it stops listening for a while, and its connections end in the
/// ways that connections end.
async fn instance(addr: SocketAddr, fault: Arc<Fault>, seed: u64, tasks: archipel_rt::Tasks) {
    let mut dice = Rng::new(seed);
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(addr).is_err() {
            clock::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let listener = socket.listen(128).unwrap();
        // "kill -9": everything of this life ends at once.
        let life = fault.stop.child_token();
        let end = clock::now() + Duration::from_millis(20 + dice.below(150));
        serve(listener, end, &fault, &life, &mut dice, &tasks).await;
        life.cancel();
        if fault.stop.is_cancelled() {
            return;
        }
        clock::sleep(Duration::from_millis(dice.below(30))).await;
    }
}

async fn serve(
    listener: TcpListener,
    end: clock::Instant,
    fault: &Arc<Fault>,
    life: &CancellationToken,
    dice: &mut Rng,
    tasks: &archipel_rt::Tasks,
) {
    loop {
        let stream = tokio::select! {
            biased;
            () = life.cancelled() => return,
            () = clock::sleep_until(end) => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        if dice.below(15) == 0 {
            // Accepted and reset, perhaps while the first bytes are on their way.
            socket_reset(&stream);
            continue;
        }
        let (fault, life, dice) = (Arc::clone(fault), life.clone(), Rng::new(dice.next_u64()));
        tasks.spawn("test.connection", async move {
            tokio::select! {
                biased;
                () = life.cancelled() => {}
                _ = converse(stream, &fault.ledger, dice) => {}
            }
        });
    }
}

/// Serves requests on one connection until a fault ends it.
async fn converse(mut stream: TcpStream, ledger: &Ledger, mut dice: Rng) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        if dice.below(12) == 0 {
            // Idle for too long, it thinks; perhaps just as the next request is on its way.
            return Ok(());
        }
        let Some((id, body)) = read_request(&mut stream, &mut buffer, ledger).await? else {
            return Ok(());
        };
        match dice.below(20) {
            // Resets without an answer.
            0 => {
                socket_reset(&stream);
                return Ok(());
            }
            // Closes without an answer.
            1 => return Ok(()),
            // Breaks off in the middle of the body.
            2 => {
                let head =
                    format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\ncontent-length: 1000\r\n\r\npart");
                stream.write_all(head.as_bytes()).await?;
                return Ok(());
            }
            // Promises more than it sends, and closes as if that were all.
            4 => {
                let text = format!(
                    "HTTP/1.1 200 OK\r\nx-id: {id}\r\ncontent-length: {}\r\n\r\n{id}:{body}",
                    id.len() + body.len() + 2
                );
                stream.write_all(text.as_bytes()).await?;
                return Ok(());
            }
            // Sends more than it promises: what could be taken for the next answer.
            5 => {
                let text = format!("{id}:{body}");
                let text = format!(
                    "HTTP/1.1 200 OK\r\nx-id: {id}\r\ncontent-length: {}\r\n\r\n{text}\
                     HTTP/1.1 200 OK\r\nx-id: evil\r\ncontent-length: 4\r\n\r\nevil",
                    text.len()
                );
                stream.write_all(text.as_bytes()).await?;
                continue;
            }
            // Slow.
            3 => clock::sleep(Duration::from_millis(dice.below(20))).await,
            _ => {}
        }
        let answer = format!("{id}:{body}");
        let close = dice.below(10) == 0;
        let connection = if close { "close" } else { "keep-alive" };
        let text = match dice.below(2) {
            0 => format!(
                "HTTP/1.1 200 OK\r\nx-id: {id}\r\nconnection: {connection}\r\n\
                 content-length: {}\r\n\r\n{answer}",
                answer.len()
            ),
            _ => format!(
                "HTTP/1.1 200 OK\r\nx-id: {id}\r\nconnection: {connection}\r\n\
                 transfer-encoding: chunked\r\n\r\n{:x}\r\n{answer}\r\n0\r\n\r\n",
                answer.len()
            ),
        };
        // In two writes, so that heads and bodies arrive torn.
        let cut = dice.below(text.len() as u64) as usize;
        stream.write_all(&text.as_bytes()[..cut]).await?;
        if dice.below(3) == 0 {
            tokio::task::yield_now().await;
        }
        stream.write_all(&text.as_bytes()[cut..]).await?;
        if close {
            return Ok(());
        }
    }
}

/// Makes the close of this socket a reset.
fn socket_reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Reads one request as the gateway writes them: a head, and a body of known length.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    ledger: &Ledger,
) -> std::io::Result<Option<(String, String)>> {
    let mut noted = false;
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let field = |name: &str| {
                head.lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
                    .map(str::to_owned)
            };
            let id = field("x-id:").expect("every request has an id");
            if !std::mem::replace(&mut noted, true) {
                *ledger.reached.lock().unwrap().entry(id.clone()).or_default() += 1;
            }
            let length: usize = field("content-length:").map_or(0, |n| n.parse().unwrap());
            let whole = end + 4 + length;
            if buffer.len() >= whole {
                let body = String::from_utf8(buffer[end + 4..whole].to_vec()).unwrap();
                buffer.drain(..whole);
                return Ok(Some((id, body)));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    broken: usize,
    refused: usize,
}

async fn client(world: &World, addr: SocketAddr, seed: u64, ledger: &Ledger) -> Tally {
    let mut dice = Rng::new(seed);
    let mut tally = Tally::default();
    let mut sender: Option<http1::SendRequest<Body>> = None;
    for n in 0..REQUESTS {
        let id = format!("{seed}-{n}");
        let idempotent = dice.below(2) == 0;
        let effect = !idempotent && dice.below(2) == 0;
        let body = if effect { "x".repeat(dice.below(5000) as usize) } else { String::new() };
        let method = if idempotent { "GET" } else { "POST" };
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "a")
            .header("x-id", &id)
            .body(Body::from(body.clone()))
            .unwrap();
        let mut kept = sender.take();
        if let Some(open) = &mut kept
            && open.ready().await.is_err()
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(open) => open,
            None => world.client(addr).await,
        };
        let sent = clock::timeout(PATIENCE, connection.send_request(request)).await;
        let response = sent.expect("an answer comes").expect("the gateway itself never breaks off");
        let status = response.status();
        let answered_for = response.headers().get("x-id").map(|v| v.to_str().unwrap().to_owned());
        let refused = response.headers().get("x-archipel-refused").cloned();
        let body_back = Body::from(response.into_body()).collect(1 << 20).await;
        match (status.as_u16(), body_back) {
            (200, Ok(back)) => {
                assert_eq!(answered_for.as_deref(), Some(id.as_str()));
                assert_eq!(back, format!("{id}:{body}"), "bodies are mixed up");
                tally.answered += 1;
            }
            (200, Err(_)) => {
                assert_eq!(answered_for.as_deref(), Some(id.as_str()));
                tally.broken += 1;
                continue; // that connection is gone, as it must be
            }
            (_, Ok(_)) => {
                let refused = refused.expect("what is not the app's answer says so");
                assert!(!idempotent, "{id} was refused: {status} {refused:?}");
                assert!(refused.to_str().unwrap().starts_with("upstream-reset;"), "{refused:?}");
                tally.refused += 1;
            }
            (_, Err(error)) => panic!("a refusal broke off: {error}"),
        }
        if !idempotent {
            let reached = ledger.reached.lock().unwrap().get(&id).copied().unwrap_or_default();
            assert!(reached <= 1, "{id} reached applications {reached} times");
        }
        sender = Some(connection);
    }
    tally
}

async fn run(seed: u64) {
    let world = World::new();
    let ledger = Arc::new(Ledger::default());
    let fault = Arc::new(Fault { ledger: Arc::clone(&ledger), stop: world.tasks.stop_token() });
    let mut addrs = Vec::new();
    for n in 0..3 {
        // Reserved by binding and freeing it; the instance binds it again in each life.
        let (listener, addr) = world.raw().await;
        drop(listener);
        addrs.push(addr);
        let task = instance(addr, Arc::clone(&fault), seed * 31 + n, world.tasks.clone());
        world.tasks.spawn("test.instance", task);
    }
    let steady = steady(&world, &fault).await;
    addrs.push(steady);
    let policy = EdgePolicy {
        retry: Retry { attempts: ATTEMPTS, budget: None, ..Retry::default() },
        ..EdgePolicy::default()
    };
    world.apply(Plan::default().service("a", &addrs).edge_with("a", policy).table()).await;
    let addr = world.addr("a");
    let clients = (0..CLIENTS).map(|n| client(&world, addr, seed * 1000 + n, &ledger));
    let tallies = futures_util::future::join_all(clients).await;
    let sum = tallies.iter().fold(Tally::default(), |sum, t| Tally {
        answered: sum.answered + t.answered,
        broken: sum.broken + t.broken,
        refused: sum.refused + t.refused,
    });
    println!("seed {seed}: {sum:?}");
    assert!(sum.answered as u64 > CLIENTS * REQUESTS / 2, "{sum:?}");
    for instance in ["a-0", "a-1", "a-2", "a-3"] {
        eventually(|| world.gateway.inflight(&id(instance)), |n| *n == 0).await;
    }
}

/// A fourth instance that stays: the three may all be dead at once, and then a 502 is the truth.
async fn steady(world: &World, fault: &Arc<Fault>) -> SocketAddr {
    let (listener, addr) = world.raw().await;
    let (fault, tasks) = (Arc::clone(fault), world.tasks.clone());
    world.tasks.spawn("test.steady", async move {
        let mut dice = Rng::new(1);
        let far = clock::now() + Duration::from_secs(3600);
        let life = fault.stop.child_token();
        serve(listener, far, &fault, &life, &mut dice, &tasks).await;
    });
    addr
}

#[test]
fn instances_that_misbehave_do_not_spoil_what_is_right() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    archipel_testkit::seeds(SEEDS, |seed| runtime.block_on(run(seed)));
}
