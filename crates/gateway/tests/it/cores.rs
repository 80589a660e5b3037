//! A client's connection stays on one core, and apps do not notice.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

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
