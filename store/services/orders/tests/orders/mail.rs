//! What an order is told reaches it, whatever becomes of its workflow and of the letters of others.

use dapr_durabletask::client::TaskHubGrpcClient;
use serde_json::{Value, json};
use store_kit::OrderId;
use store_testing::eventually;

use crate::Orders;

impl Orders {
    fn sql(&self, sql: &str) {
        let conn = rusqlite::Connection::open(&self.db).unwrap();
        conn.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    fn count(&self, sql: &str) -> u32 {
        let conn = rusqlite::Connection::open(&self.db).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    async fn until_logged(&self, text: &str) {
        eventually(&format!("the log says \u{ab}{text}\u{bb}"), || async {
            let log = self.program.as_ref().unwrap().log();
            let says = |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.contains(text));
            if log.iter().any(says) { Ok(()) } else { Err(String::new()) }
        })
        .await;
    }

    /// One that is packed when we say so.
    async fn confirmed(&self) -> OrderId {
        self.world.books.lock().unwrap().picker_sleeps = true;
        let id = self.place("LAMP-1", "tok_ok").await;
        self.until(&id, "CONFIRMED").await;
        self.world.books.lock().unwrap().picker_sleeps = false;
        id
    }
}

#[tokio::test]
async fn letters_that_cannot_be_read_are_laid_aside_and_everybody_goes_on() {
    let Some(orders) = Orders::start().await else { return };
    let poisoned = orders.confirmed().await;
    // More than are brought at a time.
    for _ in 0..300 {
        orders.sql(&format!("INSERT INTO signal(order_id, input) VALUES('{poisoned}', '{{}}')"));
    }
    let other = orders.place("LAMP-1", "tok_ok").await;
    orders.until(&other, "COMPLETED").await;
    orders.until_logged("laid in dead_letter").await;
    orders.world.say("fulfilment.packed", &poisoned, json!({}));
    orders.until(&poisoned, "COMPLETED").await;
    assert_eq!(orders.count("SELECT count(*) FROM dead_letter"), 300);
}

#[tokio::test]
async fn a_letter_that_the_engine_refuses_keeps_nobody_else_waiting_and_can_be_sent_again() {
    let Some(orders) = Orders::start().await else { return };
    let poisoned = orders.confirmed().await;
    // Larger than the engine takes.
    let fact = json!({"payment_fact": {"attempt": 1, "state": "AUTHORISED", "action_url": "x".repeat(5 << 20)}});
    orders.sql(&format!("INSERT INTO signal(order_id, input) VALUES('{poisoned}', '{fact}')"));
    for _ in 0..3 {
        let other = orders.place("LAMP-1", "tok_ok").await;
        orders.until(&other, "COMPLETED").await;
    }
    orders.until_logged("could not be told; trying again later").await;
    assert_eq!(orders.count("SELECT count(*) FROM signal WHERE length(input) > 1000000"), 1);
    // As a person does who has found out why.
    orders.sql(&format!(
        "INSERT INTO dead_letter VALUES(999999, '{poisoned}', '\"cancel\"', 10, 'no', '');
         DELETE FROM signal WHERE order_id = '{poisoned}'"
    ));
    let retry = orders.callee.post(format!("/v1/orders/{poisoned}/saga:retry"));
    orders.contract.send("POST", "/v1/orders/{id}/saga:retry", retry).await;
    orders.until(&poisoned, "CANCELLED").await;
    assert_eq!(orders.count("SELECT count(*) FROM dead_letter"), 0);
}

#[tokio::test]
async fn an_order_whose_workflow_was_terminated_goes_on_and_hears_what_it_was_told_meanwhile() {
    let Some(orders) = Orders::start().await else { return };
    let (kept, cancelled) = (orders.confirmed().await, orders.confirmed().await);
    let mut client = TaskHubGrpcClient::new(&orders.engine.url()).await.unwrap();
    for id in [&kept, &cancelled] {
        client.terminate_orchestration(id.as_str(), None, false).await.unwrap();
        let limit = std::time::Duration::from_secs(10);
        let ended = client.wait_for_orchestration_completion(id.as_str(), false, Some(limit)).await;
        assert!(ended.unwrap().unwrap().runtime_status.is_terminal());
    }
    assert_eq!(orders.cancel(&cancelled).await.status, 202);
    let view = orders.until(&cancelled, "CANCELLED").await;
    assert_eq!(view["reason"], "cancelled_by_customer");
    orders.until_logged("it begins again").await;
    orders.world.say("fulfilment.packed", &kept, json!({}));
    orders.until(&kept, "COMPLETED").await;
    for (id, keys) in [(&kept, 5), (&cancelled, 6)] {
        let books = orders.world.books.lock().unwrap();
        assert_eq!(books.keys[id].len(), keys, "nothing was asked for twice: {:?}", books.keys[id]);
    }
}

#[tokio::test]
async fn what_an_order_is_told_before_it_has_a_workflow_is_not_lost() {
    let Some(mut orders) = Orders::start().await else { return };
    orders.engine.kill();
    let (going, cancelled) =
        (orders.place("LAMP-1", "tok_ok").await, orders.place("LAMP-1", "tok_ok").await);
    let early = json!({"order_id": going, "attempt": 1, "capture_id": "cap_x"});
    assert_eq!(orders.fact("early", "fulfilment.packed", early).await, 409, "comes again");
    assert_eq!(orders.cancel(&cancelled).await.status, 202);
    orders.kill_and_restart();
    orders.engine.restart();
    orders.until(&cancelled, "CANCELLED").await;
    orders.until(&going, "COMPLETED").await;
}
