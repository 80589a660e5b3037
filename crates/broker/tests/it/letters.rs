//! Dead letters: how events die, and what people do with them.

use std::time::Duration;

use archipel_broker::{Broker, DeadError, DeadFilter, DeadLetter, DeadState, Reason};

use crate::fake::{Fixture, publish, service, status, until};

async fn letters(broker: &Broker, count: usize) -> Vec<DeadLetter> {
    until(async || {
        let letters = broker.dead_letters(&DeadFilter::default()).await.expect("lists");
        if letters.len() == count { Ok(letters) } else { Err(format!("{letters:#?}")) }
    })
    .await
}

fn fixture() -> Fixture {
    Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.attempts_max = 3)
        .subscribe("other", "order.placed", |_| {})
}

#[tokio::test(start_paused = true)]
async fn an_event_dies_after_its_attempts_with_the_reason() {
    let fixture = fixture();
    fixture.apps.on("cart", |_| status(500));
    let broker = fixture.start().await;
    publish(&broker, "order.placed", "evt_1", "").await;
    let letters = letters(&broker, 1).await;
    let letter = &letters[0];
    assert_eq!(letter.attempts, 3);
    let reason = Reason::Attempts { status: Some(500), detail: "answer 500".to_owned() };
    assert_eq!(letter.reason, reason);
    assert_eq!(letter.event_id.as_deref(), Some("evt_1"));
    assert_eq!(letter.event_source.as_deref(), Some("/store/orders"));
    assert_eq!((letter.topic.as_str(), letter.seq), ("order.placed", Some(1)));
    assert!(letter.first_ms > 0 && letter.last_ms >= letter.first_ms);
    let (_, event) = broker.dead_letter(letter.id).await.expect("is there");
    assert_eq!(event.len(), letter.bytes);
    let view = &broker.topics()[0].subscribers;
    assert_eq!((view[0].dead, view[0].lag, view[1].dead), (1, 0, 0));
    assert_eq!(fixture.apps.ids("other").len(), 1, "the other one has it");
    let attempts: Vec<_> = fixture
        .apps
        .seen()
        .into_iter()
        .filter(|s| s.service == "cart")
        .map(|s| s.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn poison_dies_at_once() {
    for poison in [404, 422] {
        let fixture = fixture();
        fixture.apps.on("cart", move |_| status(poison));
        let broker = fixture.start().await;
        publish(&broker, "order.placed", "evt_1", "").await;
        let letters = letters(&broker, 1).await;
        let detail = format!("answer {poison}");
        assert_eq!(letters[0].reason, Reason::Poison { status: Some(poison), detail });
        assert_eq!((letters[0].attempts, fixture.apps.ids("cart").len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_survive_a_restart_and_can_be_replayed() {
    let fixture = fixture();
    fixture.apps.on("cart", |_| status(422));
    let broker = fixture.start().await;
    for i in 0..5 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    letters(&broker, 5).await;
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);

    let broker = fixture.start().await;
    let found = letters(&broker, 5).await;
    assert_eq!(broker.topics()[0].subscribers[0].dead, 5);
    fixture.apps.on("cart", |seen| status(if seen.id == "2" { 500 } else { 204 }));
    let ids: Vec<_> = found.iter().map(|letter| letter.id).collect();
    for (_, result) in broker.replay_dead(&ids).await {
        result.expect("is replayed");
    }
    let left = until(async || {
        let left = broker.dead_letters(&DeadFilter::default()).await.expect("lists");
        let dead = left.len() == 1 && left[0].state == DeadState::Dead;
        if dead { Ok(left) } else { Err(format!("{left:#?}")) }
    })
    .await;
    assert_eq!(left[0].event_id.as_deref(), Some("2"), "what fails again dies again");
    assert_eq!((left[0].attempts, left[0].id), (4, found[2].id), "1 before, 3 now");
    assert_eq!(broker.topics()[0].subscribers[0].dead, 1);
    assert_eq!(fixture.apps.ids("other").len(), 5, "only the one it died for gets it again");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_a_restart_broke_off_goes_on() {
    let fixture = fixture();
    fixture.apps.on("cart", |_| status(422));
    let broker = fixture.start().await;
    publish(&broker, "order.placed", "1", "").await;
    let found = letters(&broker, 1).await;
    fixture.apps.hang("cart");
    broker.replay_dead(&[found[0].id]).await.remove(0).1.expect("is replayed");
    fixture.apps.until_count("cart", 2).await;
    let again = broker.replay_dead(&[found[0].id]).await.remove(0).1;
    assert!(matches!(again, Err(DeadError::Replaying { .. })), "{again:?}");
    let discarded = broker.discard_dead(&[found[0].id]).await.remove(0).1;
    assert!(matches!(discarded, Err(DeadError::Replaying { .. })), "{discarded:?}");
    assert_eq!(broker.shutdown(Duration::from_secs(2)).await, 0);

    fixture.apps.release("cart");
    fixture.apps.on("cart", |_| status(204));
    let broker = fixture.start().await;
    fixture.apps.until_count("cart", 3).await;
    letters(&broker, 0).await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_filtered_and_discarded() {
    let fixture = fixture();
    fixture.apps.on("cart", |_| status(422));
    fixture.apps.on("other", |_| status(422));
    let broker = fixture.start().await;
    for i in 0..3 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    let all = letters(&broker, 6).await;
    let filter = DeadFilter { subscriber: Some(service("cart")), ..DeadFilter::default() };
    let of_cart = broker.dead_letters(&filter).await.expect("lists");
    assert_eq!(of_cart.len(), 3);
    let page = DeadFilter { after: Some(all[3].id), max: 1, ..DeadFilter::default() };
    assert_eq!(broker.dead_letters(&page).await.expect("lists"), all[4..5]);
    let none = DeadFilter { topic: Some("x.y".to_owned()), ..DeadFilter::default() };
    assert!(broker.dead_letters(&none).await.expect("lists").is_empty());

    let ids: Vec<_> = of_cart.iter().map(|letter| letter.id).collect();
    assert!(broker.discard_dead(&ids).await.into_iter().all(|(_, result)| result.is_ok()));
    letters(&broker, 3).await;
    let again = broker.discard_dead(&ids[..1]).await.remove(0).1;
    assert!(matches!(again, Err(DeadError::Unknown { .. })), "{again:?}");
    let subscribers = &broker.topics()[0].subscribers;
    assert_eq!((subscribers[0].dead, subscribers[1].dead), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_not_lost_when_the_disk_fails() {
    let fixture = fixture();
    fixture.apps.on("cart", |_| status(422));
    let broker = fixture.start().await;
    fixture.kv.faults().fail_next(20);
    for i in 0..5 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    letters(&broker, 5).await;
    assert_eq!(fixture.apps.ids("cart").len(), 5, "none was delivered twice for it");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_refuses_everything_does_not_fill_the_disk() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.dead_letters_max = 20)
        .subscribe("other", "order.placed", |how| how.dead_letters_max = 100);
    fixture.apps.on("cart", |_| status(422));
    fixture.apps.on("other", |_| status(422));
    let broker = fixture.start().await;
    for i in 1..=50 {
        publish(&broker, "order.placed", &format!("evt_{i}"), "").await;
    }
    until(async || {
        let view = &broker.topics()[0].subscribers;
        let (cart, other) = (&view[0], &view[1]);
        let settled = cart.dead + cart.dead_dropped == 50 && other.dead == 50;
        if settled && cart.dead <= 20 { Ok(()) } else { Err(format!("{view:?}")) }
    })
    .await;
    let of_cart = DeadFilter { subscriber: Some(service("cart")), ..DeadFilter::default() };
    let kept = broker.dead_letters(&of_cart).await.expect("lists");
    let view = broker.topics().remove(0).subscribers.remove(0);
    assert_eq!(kept.len() as u64, view.dead);
    assert!((18..=20).contains(&kept.len()), "{}", kept.len());
    let seq = |letter: &DeadLetter| letter.seq.expect("it was in the topic");
    assert_eq!(kept.iter().map(seq).max(), Some(50), "the youngest are kept");
    assert!(kept.iter().map(seq).min() > Some(20), "the oldest are gone");
    for letter in &kept {
        broker.dead_letter(letter.id).await.expect("each still has its event");
    }
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);

    // A limit that was lowered is kept, too.
    let mut lower = fixture;
    lower.topology.subscriptions[0].how.dead_letters_max = 5;
    let broker = lower.start().await;
    until(async || {
        let left = broker.dead_letters(&of_cart).await.expect("lists");
        if left.len() <= 5 { Ok(()) } else { Err(format!("{}", left.len())) }
    })
    .await;
    assert_eq!(broker.topics()[0].subscribers[1].dead, 50, "nobody else lost one");
}
