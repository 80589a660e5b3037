//! Bytes that are nearly a request: whatever comes, nothing of ours panics, every connection
//! ends, and the next good request is served.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use archipel_gateway::Limits;
use archipel_rt::clock;
use archipel_testkit::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

const SEEDS: u64 = 300;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of the gateway itself: in a connection's task nobody would see them.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.location().is_some_and(|at| !at.file().contains("tests/it")) {
            PANICS.fetch_add(1, Relaxed);
        }
        before(info);
    }));
}

const PIECES: [&str; 40] = [
    "GET ",
    "POST ",
    "OPTIONS ",
    "CONNECT ",
    "HEAD ",
    "X",
    "/",
    "//",
    "/a",
    "*",
    "/%2e%2e/",
    "/%",
    "?",
    "#",
    "http://h/x",
    "http://",
    "h:99999",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/9.9\r\n",
    "host: a\r\n",
    "host: é\r\n",
    "host:\r\n",
    "Host: [::1]:x\r\n",
    "content-length: 5\r\n",
    "content-length: -1\r\n",
    "transfer-encoding: chunked\r\n",
    "connection: upgrade, host\r\n",
    "upgrade: websocket\r\n",
    "te: trailers, x\r\n",
    "traceparent: 00-x\r\n",
    "cookie: a=b\r\n",
    "expect: 100-continue\r\n",
    "accept: text/html\r\n",
    "content-type: application/grpc\r\n",
    "\r\n\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "\0\u{7f}",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

fn garbage(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    if rng.below(3) > 0 {
        bytes.extend_from_slice(b"GET /a HTTP/1.1\r\nhost: a\r\n");
    }
    for _ in 0..rng.below(14) {
        bytes.extend_from_slice(rng.pick(&PIECES).as_bytes());
    }
    if rng.below(2) == 0 {
        bytes.extend_from_slice(b"\r\n\r\n");
    }
    for _ in 0..rng.below(4) {
        if !bytes.is_empty() {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        }
    }
    bytes
}

async fn throw(addr: std::net::SocketAddr, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let bytes = garbage(&mut rng);
    let cut = rng.below(bytes.len() as u64 + 1) as usize;
    // The gateway may close at any point.
    let _ = stream.write_all(&bytes[..cut]).await;
    tokio::task::yield_now().await;
    let _ = stream.write_all(&bytes[cut..]).await;
    if rng.below(3) == 0 {
        return;
    }
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = clock::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it ends");
    let head = String::from_utf8_lossy(&answer);
    let http2 = answer.len() >= 9 && answer[3] == 4;
    assert!(answer.is_empty() || head.starts_with("HTTP/1.") || http2, "{head:?}");
}

#[tokio::test]
async fn garbage_harms_nobody() {
    count_panics();
    let limits = Limits { head_timeout: Duration::from_millis(400), ..Limits::default() };
    let world = World::with(limits);
    let app = world.app(echo).await;
    let lines = ["/** -> a", "GET h.local/a/*/b -> a", "*.local/a -> a"];
    world
        .apply(Plan::default().service("a", &[app.addr]).edge("a").public(&[], &lines).table())
        .await;
    let seeds: Vec<u64> = match std::env::var("ARC_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..SEEDS).collect(),
    };
    for chunk in seeds.chunks(20) {
        let throws = chunk
            .iter()
            .flat_map(|seed| [throw(world.addr("a"), *seed), throw(world.addr("public"), *seed)]);
        futures_util::future::join_all(throws).await;
        assert_eq!(PANICS.load(Relaxed), 0, "one of the seeds {chunk:?}");
        assert_eq!(text(world.get(world.addr("public"), "/a").await).await, "");
    }
    eventually(|| world.gateway.counters().connections, |n| *n == 0).await;
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
}
