//! What subscribers get, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use archipel_broker::{Answer, DeadFilter, Envelope, PublishRequest, ReplayFrom, SubscriberState};
use archipel_storage::Seq;

use crate::fake::{Fixture, event, publish, service, status, topic, until};

#[tokio::test(start_paused = true)]
async fn every_subscribing_service_gets_every_event_once() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |_| {})
        .subscribe("notifications", "order.placed", |_| {});
    let broker = fixture.start().await;
    for i in 1..=100 {
        assert_eq!(publish(&broker, "order.placed", &format!("{i}"), "").await, i);
    }
    for name in ["cart", "notifications"] {
        fixture.apps.until_count(name, 100).await;
    }
    let view = until(async || {
        let view = broker.topics().remove(0);
        match view.subscribers.iter().all(|s| s.lag == 0) {
            true => Ok(view),
            false => Err(format!("{view:?}")),
        }
    })
    .await;
    assert_eq!((view.count, view.subscribers.len()), (100, 2));
    assert!(view.subscribers.iter().all(|s| s.delivered == 100 && s.cursor == Seq(101)));
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);
    let mut ids = fixture.apps.ids("cart");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_dead_subscriber_slows_neither_the_publisher_nor_the_others() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("slow", "order.placed", |_| {})
        .subscribe("fast", "order.placed", |_| {});
    fixture.apps.hang("slow");
    let broker = fixture.start().await;
    for i in 0..2_000 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    fixture.apps.until_count("fast", 2_000).await;
    assert_eq!(fixture.apps.ids("slow").len(), 8, "as many at once as it allows");
    fixture.apps.release("slow");
    fixture.apps.until_count("slow", 2_000).await;
}

#[tokio::test(start_paused = true)]
async fn deliveries_at_once_stay_within_the_subscription() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.concurrency = 3);
    let broker = fixture.start().await;
    for i in 0..100 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    fixture.apps.until_count("cart", 100).await;
    assert_eq!(fixture.apps.inflight_max.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn events_of_one_key_come_in_order_also_when_some_are_not_yet_acceptable() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.ordered_by = Some("subject".to_owned()));
    // Every third event is refused twice with "not yet", every fourth fails twice.
    let tries = Arc::new(std::sync::Mutex::new(BTreeMap::<String, u32>::new()));
    fixture.apps.on("cart", move |seen| {
        let mut tries = tries.lock().expect("no test panics inside");
        let tried = tries.entry(seen.id.clone()).or_default();
        *tried += 1;
        let n: u32 = seen.id.parse().expect("a number");
        match (n % 3, n % 4, *tried) {
            (0, _, 1 | 2) => status(409),
            (_, 0, 1 | 2) => status(500),
            _ => status(204),
        }
    });
    let broker = fixture.start().await;
    for i in 0..120 {
        publish(&broker, "order.placed", &format!("{i}"), &format!("key {}", i % 7)).await;
    }
    until(async || match broker.topics()[0].subscribers[0].lag {
        0 => Ok(()),
        lag => Err(format!("{lag} left")),
    })
    .await;
    let mut last: BTreeMap<String, u32> = BTreeMap::new();
    for seen in fixture.apps.seen() {
        let n: u32 = seen.id.parse().expect("a number");
        let before = last.insert(seen.key.clone(), n);
        assert!(before.is_none_or(|before| before <= n), "{} after {before:?}", seen.id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_key_holds_back_only_itself() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.ordered_by = Some("subject".to_owned()));
    fixture.apps.on("cart", |seen| status(if seen.key == "stuck" { 409 } else { 204 }));
    let broker = fixture.start().await;
    for i in 0..50 {
        publish(&broker, "order.placed", &format!("{i}"), if i % 5 == 0 { "stuck" } else { "" })
            .await;
    }
    let view = until(async || {
        let view = broker.topics()[0].subscribers[0].clone();
        if view.lag == 10 && view.waiting == 1 { Ok(view) } else { Err(format!("{view:?}")) }
    })
    .await;
    assert_eq!((view.parked_keys, view.dead, view.state), (1, 0, SubscriberState::Waiting));
    fixture.apps.on("cart", |_| status(204));
    until(async || match broker.topics()[0].subscribers[0].lag {
        0 => Ok(()),
        lag => Err(format!("{lag} left")),
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_loses_nothing_and_uses_up_no_attempts() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.attempts_max = 1);
    fixture.apps.on("cart", |_| Answer::NoInstance);
    let broker = fixture.start().await;
    for i in 0..10 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let asked = fixture.apps.seen().len();
    assert!(asked < 4_000, "asked {asked} times in an hour");
    assert_eq!(broker.topics()[0].subscribers[0].state, SubscriberState::Absent);
    fixture.apps.on("cart", |seen| {
        assert_eq!(seen.attempt, 1);
        status(204)
    });
    broker.service_ready(&service("cart"));
    until(async || match broker.topics()[0].subscribers[0].lag {
        0 => Ok(()),
        lag => Err(format!("{lag} left")),
    })
    .await;
    assert!(broker.dead_letters(&DeadFilter::default()).await.expect("lists").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_for_a_pause_gets_it() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |how| {
        how.concurrency = 4;
        how.attempts_max = 1;
    });
    let busy = Answer::Http {
        status: 503,
        body: bytes::Bytes::new(),
        retry_after: Some(Duration::from_secs(30)),
    };
    fixture.apps.on("cart", move |_| busy.clone());
    let broker = fixture.start().await;
    for i in 0..10 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    fixture.apps.until_count("cart", 4).await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(fixture.apps.seen().len(), 4, "nobody is asked during the pause");
    fixture.apps.on("cart", |_| status(204));
    fixture.apps.until_count("cart", 14).await;
    assert!(broker.dead_letters(&DeadFilter::default()).await.expect("lists").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_does_not_come_again_after_a_restart_and_the_rest_does() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.concurrency = 50);
    fixture.apps.on("cart", |seen| {
        let n: u32 = seen.id.parse().expect("a number");
        status(if n.is_multiple_of(10) { 500 } else { 204 })
    });
    let broker = fixture.start().await;
    for i in 0..40 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    fixture.apps.until_count("cart", 40).await;
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);
    let before = fixture.apps.seen().len();
    fixture.apps.on("cart", |_| status(204));
    let broker = fixture.start().await;
    until(async || match broker.topics()[0].subscribers[0].lag {
        0 => Ok(()),
        lag => Err(format!("{lag} left")),
    })
    .await;
    let mut again: Vec<_> = fixture.apps.seen().split_off(before);
    again.sort_by_key(|seen| seen.id.clone());
    assert_eq!(again.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["0", "10", "20", "30"]);
    assert!(again.iter().all(|seen| seen.attempt > 1), "the attempts go on: {again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_answer_and_acknowledgement_delivers_again() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    let broker = fixture.start().await;
    fixture.kv.faults().fail_next(1_000_000);
    publish(&broker, "order.placed", "1", "").await;
    fixture.apps.until_count("cart", 1).await;
    // As after kill -9: the first broker is simply not asked any more.
    fixture.kv.faults().clear();
    let _second = fixture.start().await;
    fixture.apps.until_count("cart", 2).await;
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_deliveries_finish_and_breaks_off_what_takes_too_long() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    fixture.apps.hang("cart");
    let broker = fixture.start().await;
    publish(&broker, "order.placed", "1", "").await;
    fixture.apps.until_count("cart", 1).await;
    let started = tokio::time::Instant::now();
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);
    assert!(started.elapsed() <= Duration::from_secs(5));
    fixture.apps.release("cart");
    let broker = fixture.start().await;
    fixture.apps.until_count("cart", 2).await;

    fixture.apps.hang("cart");
    publish(&broker, "order.placed", "2", "").await;
    fixture.apps.until_count("cart", 3).await;
    let apps = fixture.apps.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        apps.release("cart");
    });
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);
    let _broker = fixture.start().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fixture.apps.ids("cart"), ["1", "1", "2"], "what finished does not come again");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_never_answers_is_given_up_and_asked_again() {
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.attempts_max = 2);
    fixture.apps.hang("cart");
    let broker = fixture.start().await;
    publish(&broker, "order.placed", "1", "").await;
    let letters = until(async || {
        let letters = broker.dead_letters(&DeadFilter::default()).await.expect("lists");
        if letters.is_empty() { Err("none".to_owned()) } else { Ok(letters) }
    })
    .await;
    assert_eq!(letters[0].attempts, 2);
    assert!(letters[0].reason.to_string().contains("no answer within 60 s"), "{letters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_subscriber_begins_at_the_end_and_can_ask_for_the_past() {
    let mut fixture = Fixture::new().topic("order.placed");
    let broker = fixture.start().await;
    for i in 1..=5 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    fixture = fixture.subscribe("cart", "order.placed", |_| {});
    broker.apply(fixture.topology.clone()).await.expect("applies");
    publish(&broker, "order.placed", "6", "").await;
    fixture.apps.until_count("cart", 1).await;
    assert_eq!(fixture.apps.ids("cart"), ["6"]);

    let from = ReplayFrom::Seq(Seq(4));
    let from = broker.replay(&topic("order.placed"), &service("cart"), from).await;
    assert_eq!(from.expect("replays"), Seq(4));
    fixture.apps.until_count("cart", 4).await;
    let mut ids = fixture.apps.ids("cart").split_off(1);
    ids.sort();
    assert_eq!(ids, ["4", "5", "6"]);

    let from = ReplayFrom::TimeMs(0);
    let from = broker.replay(&topic("order.placed"), &service("cart"), from).await;
    assert_eq!(from.expect("replays"), Seq(1));
    fixture.apps.until_count("cart", 10).await;
    let (of, nobody) = (topic("order.placed"), service("nobody"));
    let error = broker.replay(&of, &nobody, ReplayFrom::TimeMs(0)).await;
    let error = error.expect_err("no such subscription").to_string();
    assert!(error.contains("`nobody` does not subscribe to `order.placed`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_left_and_came_back_goes_on_where_it_was() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    let broker = fixture.start().await;
    publish(&broker, "order.placed", "1", "").await;
    fixture.apps.until_count("cart", 1).await;
    let mut without = fixture.topology.clone();
    without.subscriptions.clear();
    broker.apply(without).await.expect("applies");
    publish(&broker, "order.placed", "2", "").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(fixture.apps.ids("cart"), ["1"]);
    broker.apply(fixture.topology.clone()).await.expect("applies");
    fixture.apps.until_count("cart", 2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(fixture.apps.ids("cart"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_subscription_is_in_force_at_once() {
    let mut fixture =
        Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |how| {
            how.concurrency = 1;
        });
    fixture.apps.hang("cart");
    let broker = fixture.start().await;
    for i in 0..10 {
        publish(&broker, "order.placed", &format!("{i}"), "same").await;
    }
    fixture.apps.until_count("cart", 1).await;
    fixture.topology.subscriptions[0].how.concurrency = 4;
    broker.apply(fixture.topology.clone()).await.expect("applies");
    fixture.apps.until_count("cart", 4).await;
    // From now on in order: what is in flight is waited for first.
    fixture.topology.subscriptions[0].how.ordered_by = Some("subject".to_owned());
    broker.apply(fixture.topology.clone()).await.expect("applies");
    fixture.apps.release("cart");
    fixture.apps.until_count("cart", 10).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(fixture.apps.ids("cart")[4..], ["4", "5", "6", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn the_event_arrives_as_it_was_published() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    let broker = fixture.start().await;
    publish(&broker, "order.placed", "1", "k").await;
    let stored = broker.read(&topic("order.placed"), Seq(1), 10).await.expect("reads");
    let expected = event("1", "k");
    let expected = expected.trim_end_matches('}');
    let found = stored[0].event.get();
    assert!(found.starts_with(expected), "{found}");
    assert!(found.ends_with(r#","topic":"order.placed","pubsubname":"pubsub"}"#), "{found}");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_time_to_live_is_over_is_not_delivered() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    let broker = fixture.start().await;
    for (id, expiration) in [("1", "2001-01-01T00:00:00Z"), ("2", "2999-01-01T00:00:00+01:00")] {
        let json = event(id, "");
        let mut event = Envelope::parse(json.as_bytes()).expect("JSON");
        event.set_text("expiration", expiration);
        let request = PublishRequest { topic: topic("order.placed"), event, once: false };
        broker.publish(request).await.expect("publishes");
    }
    let view = until(async || {
        let view = broker.topics()[0].subscribers[0].clone();
        if view.lag == 0 { Ok(view) } else { Err(format!("{view:?}")) }
    })
    .await;
    assert_eq!(fixture.apps.ids("cart"), ["2"]);
    assert_eq!((view.expired, view.lost, view.delivered), (1, 0, 1));
}
