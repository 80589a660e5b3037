//! Very many calls at once over one connection, with cancelled ones in between: what a client that
//! begins and awaits workflows does, and what a worker does that answers a full line of work.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use archipel_api::Conduct;
use archipel_rt::clock;
use dapr_durabletask_proto::{GetInstanceRequest, GetWorkItemsRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::task_hub::{WITHIN, hub, run};
use crate::world::World;

/// As many as HTTP/2 lets a client of ours have open, less a few.
const CALLS: u32 = 4_000;

#[tokio::test]
async fn clients_wait_by_the_thousand_over_one_connection() {
    for calls in [512, 2_000] {
        let mut hub = hub(Conduct::Full).await;
        let mut waits = JoinSet::new();
        let mut cancelled = Vec::new();
        for number in 0..calls {
            let mut client = hub.client.clone();
            let request =
                GetInstanceRequest { instance_id: "one".to_owned(), ..Default::default() };
            let wait = async move { client.wait_for_instance_start(request).await };
            let handle = waits.spawn(wait);
            if number % 3 == 0 {
                cancelled.push(handle);
            }
        }
        // Answered after those before it: they are open by now.
        hub.client.hello(()).await.expect("hello");
        cancelled.iter().for_each(tokio::task::AbortHandle::abort);
        let items = hub.client.get_work_items(GetWorkItemsRequest::default()).await;
        run(&mut hub, &mut items.expect("streams").into_inner(), "one").await;

        let mut answered = 0;
        while let Some(wait) = clock::timeout(WITHIN, waits.join_next()).await.expect("in time") {
            match wait {
                Ok(wait) => assert!(wait.expect("an answer").into_inner().exists),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
            answered += 1;
        }
        assert_eq!(answered, calls);
    }
}

#[tokio::test]
async fn a_burst_that_comes_before_we_read_it_is_served() {
    let hub = hub(Conduct::Full).await;
    burst(hub.server.addr).await;
}

#[tokio::test]
async fn so_it_is_by_the_api_of_a_service() {
    let world = World::new().await;
    burst(world.addr("orders").await).await;
    burst(world.grpc_addr("orders").await).await;
}

/// The frames are written by hand: a client library would hold back what is cancelled at once.
async fn burst(addr: SocketAddr) {
    let stream = TcpStream::connect(addr).await.expect("connects");
    let (mut from, mut to) = stream.into_split();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut sent, SETTINGS, 0, 0, &[]);
    let mut open = HashSet::new();
    for id in (0..CALLS).map(|number| 2 * number + 1) {
        frame(&mut sent, HEADERS, END_HEADERS, id, &hello());
        frame(&mut sent, DATA, 0, id, &[0; 5]);
        if id % 3 == 0 {
            frame(&mut sent, RESET, 0, id, &8_u32.to_be_bytes());
        } else {
            frame(&mut sent, DATA, END_STREAM, id, &[]);
            open.insert(id);
        }
    }
    let sent: Arc<[u8]> = sent.into();
    let mut writer = JoinSet::new();
    writer.spawn(async move { to.write_all(&sent).await.map(|()| to) });
    let read = async {
        while !open.is_empty() {
            let mut head = [0; 9];
            from.read_exact(&mut head).await.expect("the connection stays open");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; usize::try_from(length).expect("fits")];
            from.read_exact(&mut payload).await.expect("the connection stays open");
            assert_ne!(head[3], GOAWAY, "{}", String::from_utf8_lossy(&payload));
            if head[3] == HEADERS && head[4] & END_STREAM != 0 {
                open.remove(&id);
            }
        }
    };
    let ended = clock::timeout(WITHIN, read).await;
    assert!(ended.is_ok(), "calls without an answer: {}", open.len());
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("is short").to_be_bytes();
    to.extend_from_slice(&length[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&id.to_be_bytes());
    to.extend_from_slice(payload);
}

/// The head of a call of `Hello`, in HPACK: POST and http by their numbers, the rest spelled out.
fn hello() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (":path", "/TaskHubSidecarService/Hello"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).expect("is short"));
            head.extend_from_slice(text.as_bytes());
        }
    }
    head
}
