//! Outboxes that are pulled.

use std::sync::atomic::Ordering;
use std::time::Duration;

use archipel_broker::{DeadFilter, PullError, Reason};
use archipel_storage::Seq;

use crate::fake::{Fixture, Row, event, service, topic, until};

fn row(seq: u64, to: &str) -> Row {
    Row { seq, topic: to.to_owned(), event: event(&format!("evt_{seq}"), "k") }
}

fn fixture() -> Fixture {
    Fixture::new()
        .topic("order.placed")
        .topic("order.paid")
        .outbox("orders", &["order.placed", "order.paid"])
        .subscribe("cart", "order.placed", |how| how.ordered_by = Some("subject".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn rows_become_events_in_their_order_once() {
    let fixture = fixture();
    let rows: Vec<Row> = (1..=1_200).map(|i| row(i * 2, "order.placed")).collect();
    fixture.apps.outbox("orders", rows.clone());
    let broker = fixture.start().await;
    fixture.apps.until_count("cart", 1_200).await;
    let expected: Vec<_> = (1..=1_200).map(|i| format!("evt_{}", i * 2)).collect();
    assert_eq!(fixture.apps.ids("cart"), expected);
    let view = until(async || {
        let view = broker.outboxes().remove(0);
        if view.cursor == 2_400 { Ok(view) } else { Err(format!("{view:?}")) }
    })
    .await;
    assert_eq!((view.pulled, view.problem), (1_200, None));
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);

    let broker = fixture.start().await;
    let mut more = rows;
    more.push(row(2_401, "order.paid"));
    fixture.apps.outbox("orders", more);
    until(async || {
        let cursor = broker.outboxes()[0].cursor;
        if cursor == 2_401 { Ok(()) } else { Err(format!("{cursor}")) }
    })
    .await;
    assert_eq!(broker.topics()[1].count, 1_200, "nothing came twice");
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_topic_and_cursor_doubles_nothing() {
    let fixture = fixture();
    fixture.apps.outbox("orders", (1..=10).map(|i| row(i, "order.placed")).collect());
    let broker = fixture.start().await;
    fixture.kv.faults().fail_next(100_000);
    until(async || {
        let view = broker.outboxes().remove(0);
        view.problem.clone().ok_or_else(|| format!("{view:?}"))
    })
    .await;
    assert_eq!(broker.outboxes()[0].cursor, 0);
    assert_eq!(broker.topics()[1].count, 10);
    fixture.kv.faults().clear();
    until(async || match broker.outboxes()[0].cursor {
        10 => Ok(()),
        cursor => Err(format!("{cursor}")),
    })
    .await;
    assert_eq!(broker.topics()[1].count, 10, "pulled again and known");
}

#[tokio::test(start_paused = true)]
async fn an_undeclared_topic_stops_nothing_and_can_be_published_later() {
    let mut fixture = fixture().topic("order.refunded");
    let rows = vec![row(1, "order.placed"), row(2, "order.refunded"), row(3, "order.placed")];
    fixture.apps.outbox("orders", rows);
    let broker = fixture.start().await;
    fixture.apps.until_count("cart", 2).await;
    let letters = until(async || {
        let letters = broker.dead_letters(&DeadFilter::default()).await.expect("lists");
        if letters.len() == 1 { Ok(letters) } else { Err(format!("{letters:?}")) }
    })
    .await;
    assert_eq!(letters[0].reason, Reason::UndeclaredTopic);
    assert_eq!(letters[0].publisher, Some(service("orders")));
    assert_eq!(letters[0].event_id.as_deref(), Some("evt_2"));
    assert_eq!(broker.refused_events(), 1);

    let refused = broker.replay_dead(&[letters[0].id]).await.remove(0).1.expect_err("undeclared");
    assert!(refused.to_string().contains("does not declare"), "{refused}");
    let orders = fixture.topology.outboxes.get_mut("orders").expect("declared above");
    orders.publishes.insert(topic("order.refunded"));
    broker.apply(fixture.topology.clone()).await.expect("applies");
    broker.replay_dead(&[letters[0].id]).await.remove(0).1.expect("is published");
    let events = broker.read(&topic("order.refunded"), Seq(1), 10).await.expect("reads");
    assert!(events[0].event.get().contains("evt_2"));
    assert_eq!(broker.refused_events(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restored_database_is_pulled_from_the_beginning_without_doubling() {
    let fixture = fixture();
    fixture.apps.outbox("orders", (1..=10).map(|i| row(i, "order.placed")).collect());
    let broker = fixture.start().await;
    fixture.apps.until_count("cart", 10).await;
    // Back to a state of before, and then on from there.
    fixture.apps.outbox("orders", (1..=6).map(|i| row(i, "order.placed")).collect());
    until(async || match broker.outboxes()[0].cursor {
        6 => Ok(()),
        cursor => Err(format!("{cursor}")),
    })
    .await;
    let mut rows: Vec<Row> = (1..=6).map(|i| row(i, "order.placed")).collect();
    rows.push(Row { seq: 7, topic: "order.placed".to_owned(), event: event("evt_7b", "k") });
    fixture.apps.outbox("orders", rows);
    fixture.apps.until_count("cart", 11).await;
    assert_eq!(fixture.apps.ids("cart")[10], "evt_7b");
    assert_eq!(broker.topics()[1].count, 11);
}

#[tokio::test(start_paused = true)]
async fn a_database_restored_while_we_were_away_is_noticed_although_it_has_grown_past_the_cursor() {
    let fixture = fixture();
    fixture.apps.outbox("orders", (1..=10).map(|i| row(i, "order.placed")).collect());
    let broker = fixture.start().await;
    fixture.apps.until_count("cart", 10).await;
    assert_eq!(broker.shutdown(Duration::from_secs(5)).await, 0);
    // Back to row 6, and new rows 7 to 14 in the place of the old ones.
    let mut rows: Vec<Row> = (1..=6).map(|i| row(i, "order.placed")).collect();
    rows.extend((7..=14).map(|seq| {
        let event = event(&format!("evt_{seq}b"), "k");
        Row { seq, topic: "order.placed".to_owned(), event }
    }));
    fixture.apps.outbox("orders", rows);
    let _broker = fixture.start().await;
    fixture.apps.until_count("cart", 18).await;
    let new: Vec<_> = (7..=14).map(|seq| format!("evt_{seq}b")).collect();
    assert_eq!(fixture.apps.ids("cart")[10..], new, "all of them, and nothing twice");
}

#[tokio::test(start_paused = true)]
async fn large_rows_are_pulled_in_smaller_batches() {
    let fixture = fixture();
    fixture.apps.answer_bytes_max.store(2_000, Ordering::SeqCst);
    fixture.apps.outbox("orders", (1..=100).map(|i| row(i, "order.placed")).collect());
    let _broker = fixture.start().await;
    fixture.apps.until_count("cart", 100).await;
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_fails_is_shown_and_tried_again_with_pauses() {
    let fixture = fixture();
    let broken = PullError::Failed { reason: "answered 500".to_owned() };
    fixture
        .apps
        .outboxes
        .lock()
        .expect("no test panics inside")
        .insert("orders".to_owned(), Err(broken));
    let broker = fixture.start().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let pulls = fixture.apps.pulls.lock().expect("no test panics inside").len();
    assert!((100..2_000).contains(&pulls), "{pulls} pulls in ten minutes");
    assert_eq!(broker.outboxes()[0].problem.as_deref(), Some("answered 500"));
    fixture.apps.outbox("orders", vec![row(1, "order.placed")]);
    fixture.apps.until_count("cart", 1).await;
    until(async || match broker.outboxes()[0].problem.clone() {
        None => Ok(()),
        Some(problem) => Err(problem),
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_outbox_is_asked_once_per_long_poll() {
    let fixture = fixture();
    let _broker = fixture.start().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let pulls = fixture.apps.pulls.lock().expect("no test panics inside").len();
    assert!(pulls <= 32, "{pulls} pulls in ten minutes");
}
