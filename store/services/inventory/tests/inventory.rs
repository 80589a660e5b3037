//! The real program, seen from outside and held against its contract.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::PathBuf;

use serde_json::{Value, json};
use store_kit::{Callee, EventId, OrderId, Outcome};
use store_testing::{Checked, Contract, Program, eventually};

const RESERVATION: &str = "/v1/reservations/{order_id}";
const CONFIRM: &str = "/v1/reservations/{order_id}/confirm";
const EXTEND: &str = "/v1/reservations/{order_id}/extend";

struct Inventory {
    program: Program,
    callee: Callee,
    contract: Contract,
    db: PathBuf,
    _dir: tempfile::TempDir,
}

impl Inventory {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("inventory.db");
        let program =
            Program::start(env!("CARGO_BIN_EXE_inventory"), &db, &[("SEED_PROFILE", "small")]);
        let (callee, contract) = (program.callee(), Contract::load(env!("CARGO_MANIFEST_DIR")));
        Self { program, callee, contract, db, _dir: dir }
    }

    /// kill -9, and a new one on the same file.
    fn kill_and_restart(self) -> Self {
        let Self { program, contract, db, _dir, .. } = self;
        program.kill();
        let program =
            Program::start(env!("CARGO_BIN_EXE_inventory"), &db, &[("SEED_PROFILE", "small")]);
        let callee = program.callee();
        Self { program, callee, contract, db, _dir }
    }

    /// Puts `qty` of a sku of our own on the shelf.
    async fn receive(&self, sku: &str, qty: u32) -> Checked {
        let body = json!({"sku": sku, "qty": qty});
        let call = self.callee.post("/v1/receipts").key(EventId::new()).json(&body);
        self.contract.send("POST", "/v1/receipts", call).await
    }

    async fn hold(&self, order: &OrderId, key: &str, lines: Value, ttl_s: u64) -> Checked {
        let body = json!({"lines": lines, "ttl_s": ttl_s});
        let call = self.callee.put(format!("/v1/reservations/{order}")).key(key).json(&body);
        self.contract.send("PUT", RESERVATION, call).await
    }

    async fn confirm(&self, order: &OrderId, key: &str) -> Checked {
        let call = self.callee.post(format!("/v1/reservations/{order}/confirm")).key(key);
        self.contract.send("POST", CONFIRM, call).await
    }

    async fn extend(&self, order: &OrderId, ttl_s: u64) -> Checked {
        let call = self
            .callee
            .post(format!("/v1/reservations/{order}/extend"))
            .json(&json!({"ttl_s": ttl_s}));
        self.contract.send("POST", EXTEND, call).await
    }

    async fn release(&self, order: &OrderId, key: &str) -> Checked {
        let call = self.callee.delete(format!("/v1/reservations/{order}")).key(key);
        self.contract.send("DELETE", RESERVATION, call).await
    }

    async fn state(&self, order: &OrderId) -> String {
        let call = self.callee.get(format!("/v1/reservations/{order}"));
        self.contract.send("GET", RESERVATION, call).await.body["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// `(on_hand, reserved, level)`.
    async fn stock(&self, sku: &str) -> (u64, u64, String) {
        let call = self.callee.get("/v1/stock").query("sku", sku);
        let body = self.contract.send("GET", "/v1/stock", call).await.body;
        let item = &body["items"][0];
        (
            item["on_hand"].as_u64().unwrap(),
            item["reserved"].as_u64().unwrap(),
            item["level"].as_str().unwrap().to_owned(),
        )
    }

    async fn dispatched(&self, id: &str, order: &OrderId, lines: Value) -> u16 {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/store/warehouse", "type": "store.shipment.dispatched.v1",
            "subject": order, "data": {"order_id": order, "tracking": "T", "carrier": "C", "lines": lines},
        });
        match self.callee.post("/_archipel/events").json(&event).send::<Value>().await {
            Outcome::Ok(answer) => answer.status,
            Outcome::Refused(refusal) => refusal.status,
            Outcome::NoAnswer(silence) if silence.why.contains("409") => 409,
            Outcome::NoAnswer(silence) => panic!("{silence}"),
        }
    }

    async fn topics_of(&self, subject: &str) -> Vec<String> {
        let all = self.contract.outbox(&self.callee).await;
        all.into_iter()
            .filter(|(_, data)| data.to_string().contains(subject))
            .map(|(topic, _)| topic)
            .collect()
    }
}

fn lines(of: &[(&str, u32)]) -> Value {
    of.iter().map(|(sku, qty)| json!({"sku": sku, "qty": qty})).collect()
}

#[tokio::test]
async fn goods_are_held_confirmed_and_counted_down() {
    let inventory = Inventory::start();
    inventory.receive("TEST-A", 5).await;
    inventory.receive("TEST-B", 1).await;
    let (order, goods) = (OrderId::new(), lines(&[("TEST-B", 1), ("TEST-A", 2)]));

    let held = inventory.hold(&order, "k1", goods.clone(), 60).await;
    assert_eq!((held.status, held.body["state"].as_str()), (200, Some("HELD")));
    assert_eq!(inventory.stock("TEST-A").await, (5, 2, "low".into()));
    assert_eq!(inventory.stock("TEST-B").await, (1, 1, "out".into()));

    let confirmed = inventory.confirm(&order, "k2").await;
    assert_eq!((confirmed.status, confirmed.body["state"].as_str()), (200, Some("CONFIRMED")));

    for _ in 0..3 {
        assert_eq!(inventory.dispatched("evt_1", &order, goods.clone()).await, 204);
    }
    assert_eq!(
        inventory.dispatched("evt_2", &order, goods.clone()).await,
        204,
        "the same fact under another id"
    );
    assert_eq!(inventory.stock("TEST-A").await, (3, 0, "low".into()));
    assert_eq!(inventory.stock("TEST-B").await, (0, 0, "out".into()));
    assert_eq!(inventory.state(&order).await, "SHIPPED");
    assert_eq!(
        inventory.release(&order, "k3").await.status,
        409,
        "what has left cannot be given back"
    );
    assert_eq!(
        inventory.topics_of(order.as_str()).await,
        ["reservation.held", "reservation.confirmed", "reservation.shipped"]
    );
    let levels = inventory.contract.outbox(&inventory.callee).await;
    let levels: Vec<_> = levels
        .iter()
        .filter(|(_, d)| d["sku"] == "TEST-A")
        .map(|(_, d)| d["level"].clone())
        .collect();
    assert_eq!(levels, ["in", "low"]);
}

#[tokio::test]
async fn all_lines_or_none() {
    let inventory = Inventory::start();
    inventory.receive("TEST-A", 5).await;
    inventory.receive("TEST-B", 1).await;
    let refused = inventory
        .hold(&OrderId::new(), "k", lines(&[("TEST-A", 5), ("TEST-B", 2), ("NONE", 1)]), 60)
        .await;
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.body["shortages"],
        json!([{"sku": "NONE", "wanted": 1, "free": 0}, {"sku": "TEST-B", "wanted": 2, "free": 1}])
    );
    assert_eq!(inventory.stock("TEST-A").await, (5, 0, "in".into()));
}

#[tokio::test]
async fn the_last_unit_goes_to_exactly_one() {
    let inventory = Inventory::start();
    inventory.receive("TEST-A", 1).await;
    let buyers = (0..40).map(|n| {
        let inventory = &inventory;
        async move {
            inventory
                .hold(&OrderId::new(), &format!("k{n}"), lines(&[("TEST-A", 1)]), 60)
                .await
                .status
        }
    });
    let mut statuses = Vec::new();
    for answer in futures(buyers).await {
        statuses.push(answer);
    }
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|s| **s == 409).count(), 39, "{statuses:?}");
}

/// Runs all at once on this task.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, done) in &mut running {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if running.iter().all(|(_, done)| done.is_some()) {
            return std::task::Poll::Ready(
                running.iter_mut().filter_map(|(_, done)| done.take()).collect(),
            );
        }
        std::task::Poll::Pending
    })
    .await
}

#[tokio::test]
async fn a_repeated_request_acts_once_and_a_late_one_finds_the_order_closed() {
    let inventory = Inventory::start();
    inventory.receive("TEST-A", 5).await;
    let (order, goods) = (OrderId::new(), lines(&[("TEST-A", 2)]));
    let first = inventory.hold(&order, "k1", goods.clone(), 60).await;
    let again = inventory.hold(&order, "k1", goods.clone(), 60).await;
    assert_eq!((again.replayed, &again.body), (true, &first.body));
    assert_eq!(
        inventory.hold(&order, "k1", lines(&[("TEST-A", 3)]), 60).await.body["code"],
        "idempotency-key-reused"
    );
    assert_eq!(
        inventory.hold(&order, "k2", goods.clone(), 60).await.body["state"],
        "HELD",
        "the same wish, a new key"
    );
    assert_eq!(inventory.hold(&order, "k3", lines(&[("TEST-A", 3)]), 60).await.status, 422);
    assert_eq!(inventory.stock("TEST-A").await.1, 2);

    assert_eq!(inventory.release(&order, "r").await.body["state"], "RELEASED");
    assert_eq!(inventory.stock("TEST-A").await.1, 0);
    assert_eq!(
        inventory.hold(&order, "k4", goods.clone(), 60).await.body["code"],
        "order-tombstoned"
    );
    assert_eq!(inventory.confirm(&order, "c").await.status, 410);

    let never_seen = OrderId::new();
    assert_eq!(inventory.release(&never_seen, "r2").await.status, 200);
    assert_eq!(
        inventory.hold(&never_seen, "k5", goods, 60).await.status,
        410,
        "the slow request comes too late"
    );
    assert_eq!(inventory.confirm(&never_seen, "c2").await.status, 410);
    assert_eq!(inventory.extend(&never_seen, 5).await.status, 410);
    assert_eq!(inventory.stock("TEST-A").await.1, 0);
}

#[tokio::test]
async fn a_hold_lapses_and_is_taken_again_if_the_goods_are_there() {
    let inventory = Inventory::start();
    inventory.receive("TEST-A", 2).await;
    let (order, other) = (OrderId::new(), OrderId::new());
    inventory.hold(&order, "k1", lines(&[("TEST-A", 2)]), 1).await;
    let lapsed = || async {
        let state = inventory.state(&order).await;
        if state == "EXPIRED" { Ok(()) } else { Err(state) }
    };
    eventually("the hold lapses", lapsed).await;
    assert_eq!(inventory.stock("TEST-A").await.1, 0);

    inventory.hold(&other, "k2", lines(&[("TEST-A", 1)]), 60).await;
    let gone = inventory.confirm(&order, "c1").await;
    assert_eq!((gone.status, &gone.body["shortages"][0]["free"]), (409, &json!(1)));
    assert_eq!(inventory.extend(&order, 60).await.status, 409);

    inventory.release(&other, "r").await;
    assert_eq!(inventory.extend(&order, 60).await.body["state"], "HELD");
    assert_eq!(inventory.confirm(&order, "c2").await.body["state"], "CONFIRMED");
    assert_eq!(inventory.stock("TEST-A").await, (2, 2, "out".into()));
}

#[tokio::test]
async fn facts_out_of_order_come_again_and_impossible_ones_do_not() {
    let inventory = Inventory::start();
    inventory.receive("TEST-A", 5).await;
    let (order, goods) = (OrderId::new(), lines(&[("TEST-A", 2)]));
    assert_eq!(
        inventory.dispatched("evt_1", &order, goods.clone()).await,
        409,
        "nothing reserved yet"
    );
    inventory.hold(&order, "k1", goods.clone(), 60).await;
    assert_eq!(
        inventory.dispatched("evt_1", &order, goods.clone()).await,
        409,
        "not confirmed yet"
    );
    inventory.confirm(&order, "k2").await;
    assert_eq!(
        inventory.dispatched("evt_0", &order, lines(&[("TEST-A", 1)])).await,
        422,
        "other goods"
    );
    assert_eq!(inventory.dispatched("evt_9", &order, json!("nonsense")).await, 422);
    assert_eq!(inventory.dispatched("evt_1", &order, goods).await, 204);
    assert_eq!(inventory.stock("TEST-A").await, (3, 0, "low".into()));
}

#[tokio::test]
async fn nonsense_is_refused_and_named() {
    let inventory = Inventory::start();
    let order = OrderId::new();
    for (body, pointer) in [
        (json!({"lines": [], "ttl_s": 60}), "/lines"),
        (json!({"lines": [{"sku": "A", "qty": 0}], "ttl_s": 60}), "/lines/0/qty"),
        (
            json!({"lines": [{"sku": "A", "qty": 1}, {"sku": "A", "qty": 1}], "ttl_s": 60}),
            "/lines/1/sku",
        ),
        (json!({"lines": [{"sku": "a b", "qty": 1}], "ttl_s": 60}), "/lines/0/sku"),
        (json!({"lines": [{"sku": "A", "qty": 1}], "ttl_s": 0}), "/ttl_s"),
        (json!({"lines": [{"sku": "A", "qty": 1}], "ttl_s": 60, "extra": 1}), "/extra"),
        (json!({"lines": [{"sku": "A", "qty": 1}]}), ""),
    ] {
        let call = inventory
            .callee
            .put(format!("/v1/reservations/{order}"))
            .key(EventId::new())
            .json(&body);
        let answer = inventory.contract.send("PUT", RESERVATION, call).await;
        assert_eq!(
            (answer.status, answer.body["errors"][0]["pointer"].as_str()),
            (422, Some(pointer)),
            "{body}"
        );
    }
    let call = inventory.callee.put(format!("/v1/reservations/{order}")).json(&json!({}));
    assert_eq!(inventory.contract.send("PUT", RESERVATION, call).await.status, 400, "no key");
    let call = inventory.callee.get("/v1/stock").query("sku", "a b");
    assert_eq!(inventory.contract.send("GET", "/v1/stock", call).await.status, 422);
    let call = inventory.callee.get(format!("/v1/reservations/{order}"));
    assert_eq!(inventory.contract.send("GET", RESERVATION, call).await.status, 404);
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let mut inventory = Inventory::start();
    inventory.receive("TEST-A", 50).await;
    let mut orders = Vec::new();
    for round in 0..5 {
        for n in 0..4 {
            let order = OrderId::new();
            let key = format!("{round}-{n}");
            assert_eq!(
                inventory.hold(&order, &key, lines(&[("TEST-A", 1)]), 600).await.status,
                200
            );
            orders.push((order, key));
        }
        inventory = inventory.kill_and_restart();
        for (order, key) in &orders {
            let again = inventory.hold(order, key, lines(&[("TEST-A", 1)]), 600).await;
            assert_eq!((again.status, again.replayed), (200, true));
        }
    }
    assert_eq!(inventory.stock("TEST-A").await.1, 20);
    assert!(inventory.program.terminate().success(), "SIGTERM ends it cleanly");
}

#[tokio::test]
async fn the_seed_fills_the_shelf_once() {
    let inventory = Inventory::start();
    let seed = store_seed::generate(store_seed::Profile::Small, 7);
    let variants: Vec<_> = seed.products.into_iter().flat_map(|p| p.variants).collect();
    let inventory = inventory.kill_and_restart();
    for variant in &variants {
        assert_eq!(
            inventory.stock(&variant.sku).await.0,
            u64::from(variant.stock),
            "{}",
            variant.sku
        );
    }
    assert!(variants.iter().any(|variant| variant.stock == 0));
    assert_eq!(
        inventory.contract.outbox(&inventory.callee).await.len(),
        0,
        "the first day is no news"
    );
}
