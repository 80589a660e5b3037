//! Faults on purpose: what caller and callee see of each.

use std::time::Duration;

use archipel_gateway::{Caller, Fault, FaultKind};
use archipel_rt::clock;

use crate::support::*;

fn fault(kind: FaultKind) -> Fault {
    Fault { caller: None, callee: Some(name("a")), kind, percent: 100, until: None }
}

async fn world(faults: Vec<Fault>) -> (World, App) {
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("a", &[app.addr]).edge("a").table()).await;
    world.gateway.set_faults(faults);
    (world, app)
}

/// The status that the caller of one POST sees.
async fn ask(world: &World) -> u16 {
    world.send(world.addr("a"), post("/order", "seven")).await.status().as_u16()
}

#[tokio::test]
async fn each_fault_is_seen_on_the_side_where_it_strikes() {
    let short = (Duration::from_millis(1), Duration::from_millis(5));
    let late = FaultKind::Late { min: short.0, max: short.1 };
    let delay = FaultKind::Delay { min: short.0, max: short.1 };
    let cases = [
        (FaultKind::Cut, 502, 0),
        (FaultKind::Refuse, 503, 0),
        (FaultKind::LoseAnswer, 502, 1),
        (FaultKind::Twice, 200, 2),
        (late, 502, 1),
        (delay, 200, 1),
    ];
    for (kind, status, arrived) in cases {
        let (world, app) = world(vec![fault(kind)]).await;
        assert_eq!(ask(&world).await, status, "{kind:?}");
        eventually(|| app.count(), |seen| *seen == arrived).await;
        assert_eq!(world.gateway.faults()[0].struck, 1, "{kind:?}");
        // Healed, everything is as before.
        world.gateway.set_faults(Vec::new());
        assert_eq!(ask(&world).await, 200, "{kind:?}");
    }
}

#[tokio::test]
async fn a_late_request_arrives_whole_and_its_caller_does_not_wait_for_it() {
    let (min, max) = (Duration::from_millis(300), Duration::from_millis(300));
    let (world, app) = world(vec![fault(FaultKind::Late { min, max })]).await;
    let asked = clock::now();
    assert_eq!(ask(&world).await, 502);
    let told = clock::now() - asked;
    eventually(|| app.count(), |seen| *seen == 1).await;
    assert!(told < min && clock::now() - asked >= min, "{told:?}");
    let seen = app.last();
    assert_eq!(
        (seen.line.as_str(), &seen.headers["content-length"]),
        ("POST /order", &"5".parse().unwrap())
    );
    assert_eq!(seen.headers["dapr-caller-app-id"], "web");
}

#[tokio::test]
async fn a_fault_strikes_its_edge_alone_its_share_and_its_time() {
    let other_caller = Fault { caller: Some(Caller::Outside), ..fault(FaultKind::Cut) };
    let other_callee = Fault { callee: Some(name("b")), ..fault(FaultKind::Cut) };
    let never = Fault { percent: 0, ..fault(FaultKind::Cut) };
    let over = Fault { until: Some(clock::now()), ..fault(FaultKind::Cut) };
    let (world, _) = world(vec![other_caller, other_callee, never, over]).await;
    assert_eq!(ask(&world).await, 200);
    let half = Fault { percent: 50, ..fault(FaultKind::Cut) };
    world.gateway.set_faults(vec![half]);
    let mut cut = 0;
    for _ in 0..200 {
        cut += usize::from(ask(&world).await == 502);
    }
    assert!((50..150).contains(&cut), "{cut} of 200");
}
