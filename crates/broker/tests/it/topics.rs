//! Publishing, reading, following, and what is kept.

use std::time::Duration;

use archipel_broker::{Envelope, EventError, PublishError, PublishRequest, SubscriberState};
use archipel_storage::{Retry, Seq};

use crate::fake::{Fixture, event, publish, service, status, topic, until};

fn request(to: &str, json: &'static str) -> PublishRequest<'static> {
    let event = Envelope::parse(json.as_bytes()).expect("JSON");
    PublishRequest { topic: topic(to), event, once: true }
}

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;

#[tokio::test(start_paused = true)]
async fn what_cannot_be_published_says_why() {
    let fixture = Fixture::new().topic("order.placed");
    let broker = fixture.start().await;
    let unknown = broker.publish(request("order.plased", EVENT)).await.expect_err("unknown");
    assert!(unknown.to_string().contains("did you mean `order.placed`"), "{unknown}");
    let incomplete = broker.publish(request("order.placed", r#"{"id":"1"}"#)).await;
    let incomplete = incomplete.expect_err("incomplete");
    assert!(matches!(incomplete, PublishError::Event { source: EventError::Missing { .. }, .. }));
    let mut large = Envelope::parse(EVENT.as_bytes()).expect("JSON");
    large.set_text("data", &"x".repeat(archipel_broker::EVENT_BYTES_MAX));
    let large = PublishRequest { topic: topic("order.placed"), event: large, once: false };
    let large = broker.publish(large).await.expect_err("too large");
    assert!(matches!(large, PublishError::Event { source: EventError::TooLarge { .. }, .. }));
    for error in [unknown, incomplete, large] {
        assert_eq!(error.retry(), Retry::Never);
    }
    assert_eq!(broker.topics()[0].count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_does_not_know_repeats_and_the_event_is_there_once() {
    let fixture = Fixture::new().topic("order.placed");
    let broker = fixture.start().await;
    fixture.logs.faults().tear_next(1);
    let error = broker.publish(request("order.placed", EVENT)).await.expect_err("torn");
    assert_eq!(error.retry(), Retry::Unknown);
    let again = broker.publish(request("order.placed", EVENT)).await.expect("publishes");
    assert_eq!((again.seq, again.fresh), (Seq(1), false));
    assert_eq!(broker.topics()[0].count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_topic_can_be_followed() {
    let fixture = Fixture::new().topic("order.placed");
    let broker = fixture.start().await;
    publish(&broker, "order.placed", "1", "").await;
    let mut all = broker.tail(&topic("order.placed"), Some(Seq(1))).expect("follows");
    let mut new = broker.tail(&topic("order.placed"), None).expect("follows");
    assert_eq!(all.next().await.expect("reads").expect("open")[0].seq, Seq(1));
    publish(&broker, "order.placed", "2", "").await;
    assert_eq!(all.next().await.expect("reads").expect("open")[0].seq, Seq(2));
    assert_eq!(new.next().await.expect("reads").expect("open")[0].seq, Seq(2));
    let later = tokio::time::timeout(Duration::from_secs(60), new.next()).await;
    assert!(later.is_err(), "it waits");
}

#[tokio::test(start_paused = true)]
async fn a_full_topic_loses_its_oldest_events_and_the_subscriber_is_told() {
    let mut fixture =
        Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |how| {
            how.concurrency = 1;
        });
    let one = event("1000", "").len() as u64 + 60;
    fixture.config.topic_bytes_max = one * 50;
    fixture.config.delivery_timeout = Duration::from_secs(86_400);
    fixture.apps.hang("cart");
    let broker = fixture.start().await;
    for i in 1_000..2_000 {
        publish(&broker, "order.placed", &format!("{i}"), "").await;
    }
    let view = until(async || {
        let view = broker.topics().remove(0);
        if view.count < 60 { Ok(view) } else { Err(format!("{view:?}")) }
    })
    .await;
    assert!(view.bytes <= one * 50, "{view:?}");
    fixture.apps.release("cart");
    let lost = until(async || {
        let view = broker.topics()[0].subscribers[0].clone();
        if view.lag == 0 { Ok(view.lost) } else { Err(format!("{view:?}")) }
    })
    .await;
    let got = fixture.apps.ids("cart");
    assert_eq!(got.len() as u64 + lost, 1_000, "each was delivered or is counted");
    assert_eq!(got.last().map(String::as_str), Some("1999"));
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_shown_and_delivery_goes_on_by_itself() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    let broker = fixture.start().await;
    fixture.kv.faults().fail_next(100_000);
    publish(&broker, "order.placed", "1", "").await;
    until(async || match broker.topics()[0].subscribers[0].state {
        SubscriberState::StorageFailed => Ok(()),
        state => Err(format!("{state:?}")),
    })
    .await;
    publish(&broker, "order.placed", "2", "").await;
    fixture.apps.until_count("cart", 2).await;
    fixture.kv.faults().clear();
    until(async || match broker.topics()[0].subscribers[0].state {
        SubscriberState::Idle => Ok(()),
        state => Err(format!("{state:?}")),
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_cannot_be_applied_leaves_the_old_one_in_force() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    let broker = fixture.start().await;
    let more = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |_| {})
        .subscribe("other", "order.placed", |_| {});
    fixture.kv.faults().fail_next(1);
    broker.apply(more.topology.clone()).await.expect_err("the disk fails");
    publish(&broker, "order.placed", "1", "").await;
    fixture.apps.until_count("cart", 1).await;
    broker.apply(more.topology.clone()).await.expect("applies");
    publish(&broker, "order.placed", "2", "").await;
    fixture.apps.until_count("other", 1).await;
    fixture.apps.until_count("cart", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_broker_takes_nothing() {
    let fixture = Fixture::new().topic("order.placed").subscribe("cart", "order.placed", |_| {});
    fixture.apps.on("cart", |_| status(204));
    let broker = fixture.start().await;
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);
    let error = broker.publish(request("order.placed", EVENT)).await.expect_err("closing");
    assert!(matches!(error, PublishError::Closing));
    assert!(broker.apply(fixture.topology.clone()).await.is_err());
    let from = archipel_broker::ReplayFrom::TimeMs(0);
    assert!(broker.replay(&topic("order.placed"), &service("cart"), from).await.is_err());
}
