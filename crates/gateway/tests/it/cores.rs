//! A client's connection stays on one core, and apps do not notice.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use archipel_model::{EdgePolicy, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::*;

#[tokio::test]
async fn an_app_that_serves_one_connection_at_a_time_sees_one() {
    let world = World::new();
    let app = world.app(ok).await;
    world.apply(Plan::default().service("app", &[app.addr]).edge("app").table()).await;
    // Each on the core that has the fewest: all of them.
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(world.client(world.addr("app")).await);
    }
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(text(client.send_request(get("/")).await.unwrap()).await, "ok");
        }
    }
    assert_eq!((app.count(), *app.connections.lock().unwrap()), (18, 1));
}

#[tokio::test]
async fn many_clients_at_once_share_no_answer() {
    const CLIENTS: usize = 16;
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("app", &[app.addr]).edge("app").table()).await;
    let (at, done) = (world.addr("app"), std::sync::Arc::new(AtomicUsize::new(0)));
    for of in 0..CLIENTS {
        let (mut client, done) = (world.client(at).await, std::sync::Arc::clone(&done));
        world.tasks.spawn("test.client", async move {
            for n in 0..100 {
                let said = format!("{of}:{n}");
                let answer = client.send_request(post("/", said.clone())).await.unwrap();
                assert_eq!(text(answer).await, said);
            }
            done.fetch_add(1, SeqCst);
        });
    }
    eventually(|| done.load(SeqCst), |done| *done == CLIENTS).await;
    assert!(*app.connections.lock().unwrap() <= CLIENTS);
}

#[tokio::test]
async fn a_connection_that_was_closed_is_not_taken_over() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (close, mut closing) = mpsc::channel::<()>(1);
    let (closed, mut is_closed) = mpsc::channel::<()>(1);
    world.tasks.spawn("test.app", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = closing.recv().await;
            drop(stream);
            let _ = closed.send(()).await;
        }
    });
    // Sent once only: a request on a dead connection would be lost.
    let once =
        EdgePolicy { retry: Retry { attempts: 0, ..Retry::default() }, ..EdgePolicy::default() };
    world.apply(Plan::default().service("app", &[addr]).edge_with("app", once).table()).await;
    let mut clients =
        [world.client(world.addr("app")).await, world.client(world.addr("app")).await];
    for turn in 0..6 {
        let answer = clients[turn % 2].send_request(get("/")).await.unwrap();
        assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "ok"));
        close.send(()).await.unwrap();
        is_closed.recv().await.unwrap();
    }
}
