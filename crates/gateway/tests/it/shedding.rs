//! A service that gets more than it can do: those who matter get through, and quickly.

use std::sync::Arc;
use std::time::Duration;

use archipel_gateway::Body;
use archipel_model::{Priority, Route, Safeguards};
use archipel_rt::clock;
use http::Response;
use tokio::sync::Semaphore;

use crate::support::*;

const WORK: Duration = Duration::from_millis(20);
const WORKERS: usize = 5;

fn ranked(line: &str, priority: Priority) -> Route {
    let mut route = route(line);
    route.safeguards = Safeguards { priority: Some(priority), ..Safeguards::default() };
    route
}

/// Milliseconds of the answered, sorted, and how many were refused.
#[derive(Debug, Default)]
struct Seen {
    took: Vec<u128>,
    refused: usize,
}

impl Seen {
    fn quantile(&mut self, percent: usize) -> u128 {
        self.took.sort_unstable();
        self.took[(self.took.len() - 1) * percent / 100]
    }
}

/// Asks every `pause`, whether or not there are answers, for as long as said.
async fn flood(world: &World, path: &'static str, pause: Duration, time: Duration) -> Seen {
    let (addr, end) = (world.addr("public"), clock::now() + time);
    let mut waiting = tokio::task::JoinSet::new();
    let mut seen = Seen::default();
    let mut next = clock::now();
    let note = |seen: &mut Seen, (status, took): (u16, Duration)| match status {
        200 => seen.took.push(took.as_millis()),
        503 => seen.refused += 1,
        other => panic!("{other}"),
    };
    while clock::now() < end {
        clock::sleep_until(next).await;
        next += pause;
        let mut client = world.client(addr).await;
        waiting.spawn(async move {
            let asked = clock::now();
            let response = client.send_request(get(path)).await.unwrap();
            let status = response.status().as_u16();
            if status == 503 {
                assert_eq!(response.headers()["retry-after"], "1");
                let refused = response.headers()["x-archipel-refused"].to_str().unwrap();
                assert!(refused.starts_with("overloaded; route "), "{refused}");
            }
            text(response).await;
            (status, clock::now() - asked)
        });
        while let Some(done) = waiting.try_join_next() {
            note(&mut seen, done.unwrap());
        }
    }
    while let Some(done) = waiting.join_next().await {
        note(&mut seen, done.unwrap());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_the_critical_get_through_and_nobody_waits_long() {
    let world = World::new();
    let workers = Arc::new(Semaphore::new(WORKERS));
    let app = world
        .app(move |_| {
            let workers = Arc::clone(&workers);
            async move {
                let _worker = workers.acquire().await.unwrap();
                clock::sleep(WORK).await;
                Response::new(Body::from("ok"))
            }
        })
        .await;
    let routes = vec![
        ranked("/buy/** -> a", Priority::Critical),
        route("/** -> a"),
        ranked("/more/** -> a", Priority::Low),
    ];
    let plan = Plan::default().service("a", &[app.addr]).public_routes(&[], routes);
    world.apply(plan.table()).await;
    // What it can do is not refused: it learns what an answer takes.
    let seen = flood(&world, "/", Duration::from_millis(10), Duration::from_secs(1)).await;
    assert_eq!(seen.refused, 0, "{seen:?}");
    // 250 a second are possible; 50 critical ones come, and 500 others.
    let time = Duration::from_secs(4);
    let (mut buy, mut normal, low) = tokio::join!(
        flood(&world, "/buy/1", Duration::from_millis(20), time),
        flood(&world, "/", Duration::from_millis(4), time),
        flood(&world, "/more", Duration::from_millis(4), time),
    );
    let share = |seen: &Seen| seen.refused * 100 / (seen.refused + seen.took.len());
    let shares = [share(&buy), share(&normal), share(&low)];
    println!("refused in percent {shares:?}, p99 {} {} ms", buy.quantile(99), normal.quantile(99));
    assert!(shares[0] <= 10, "of the critical {} % were refused", shares[0]);
    assert!(shares[1] < shares[2], "the low are refused first: {shares:?}");
    // Without shedding the last of four seconds would wait for over four.
    assert!(buy.quantile(95) < 1_000, "{buy:?}");
    assert!(normal.quantile(95) < 1_000, "{normal:?}");
    let limit = world.gateway.counters().services[0].limit.unwrap();
    assert!(limit.1 > 0, "and it is counted: {limit:?}");
}
