//! The real program, seen from outside and held against its contract.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::PathBuf;

use serde_json::{Value, json};
use store_kit::{Callee, CartId, CustomerId, OrderId, Outcome};
use store_testing::{Checked, Contract, Program};

struct Carts {
    program: Program,
    callee: Callee,
    contract: Contract,
    db: PathBuf,
    _dir: tempfile::TempDir,
}

impl Carts {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("cart.db");
        let program = Program::start(env!("CARGO_BIN_EXE_cart"), &db, &[]);
        let (callee, contract) = (program.callee(), Contract::load(env!("CARGO_MANIFEST_DIR")));
        Self { program, callee, contract, db, _dir: dir }
    }

    /// kill -9, and a new one on the same file.
    fn kill_and_restart(self) -> Self {
        let Self { program, contract, db, _dir, .. } = self;
        program.kill();
        let program = Program::start(env!("CARGO_BIN_EXE_cart"), &db, &[]);
        let callee = program.callee();
        Self { program, callee, contract, db, _dir }
    }

    async fn create(&self, owner: Option<&CustomerId>) -> Checked {
        let call = self.callee.post("/v1/carts");
        let call = match owner {
            Some(owner) => call.json(&json!({"owner": owner})),
            None => call,
        };
        self.contract.send("POST", "/v1/carts", call).await
    }

    async fn new_cart(&self) -> String {
        let made = self.create(None).await;
        assert_eq!(made.status, 201);
        text(&made.body["id"])
    }

    async fn get(&self, id: &str) -> Checked {
        self.contract
            .send("GET", "/v1/carts/{id}", self.callee.get(format!("/v1/carts/{id}")))
            .await
    }

    async fn put(&self, id: &str, sku: &str, body: Value) -> Checked {
        let call = self.callee.put(format!("/v1/carts/{id}/lines/{sku}")).json(&body);
        self.contract.send("PUT", "/v1/carts/{id}/lines/{sku}", call).await
    }

    async fn put_if(&self, id: &str, sku: &str, qty: u32, tag: &str) -> Checked {
        let call = self.callee.put(format!("/v1/carts/{id}/lines/{sku}"));
        let call = call.json(&json!({"qty": qty})).header("if-match", tag);
        self.contract.send("PUT", "/v1/carts/{id}/lines/{sku}", call).await
    }

    async fn remove(&self, id: &str, sku: &str) -> Checked {
        let call = self.callee.delete(format!("/v1/carts/{id}/lines/{sku}"));
        self.contract.send("DELETE", "/v1/carts/{id}/lines/{sku}", call).await
    }

    async fn merge(&self, into: &str, from: &str) -> Checked {
        let call = self.callee.post(format!("/v1/carts/{into}:merge")).json(&json!({"from": from}));
        self.contract.send("POST", "/v1/carts/{id}:merge", call).await
    }

    async fn fact(&self, topic: &str, id: &str, data: Value) -> Checked {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/store/orders",
            "type": format!("store.{topic}.v1"), "subject": data["order_id"], "future": 1, "data": data,
        });
        let call = self.callee.post("/_archipel/events").json(&event);
        self.contract.send("POST", "/_archipel/events", call).await
    }

    async fn received(&self, order: &OrderId, cart: &Value, lines: Value) {
        let data = json!({
            "order_id": order, "customer_id": CustomerId::new(), "cart_id": cart["id"],
            "cart_version": cart["version"], "lines": lines,
            "total": {"amount_minor": 1, "currency": "EUR"},
        });
        let id = format!("evt_r_{order}");
        assert_eq!(self.fact("order.received", &id, data).await.status, 204);
    }

    async fn cancelled(&self, order: &OrderId, cart: &str) {
        let data = json!({
            "order_id": order, "customer_id": CustomerId::new(), "reason": "declined",
            "cart_id": cart, "cart_version": 1,
        });
        let id = format!("evt_c_{order}");
        assert_eq!(self.fact("order.cancelled", &id, data).await.status, 204);
    }

    async fn state(&self, id: &str) -> String {
        text(&self.get(id).await.body["state"])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// `A:2 B:1`.
fn lines(cart: &Checked) -> String {
    let lines = cart.body["lines"].as_array().unwrap();
    let each = lines.iter().map(|l| format!("{}:{}", l["sku"].as_str().unwrap(), l["qty"]));
    each.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_cart_keeps_what_is_put_into_it() {
    let carts = Carts::start();
    let id = carts.new_cart().await;
    let price = json!({"amount_minor": 1299, "currency": "EUR"});
    carts.put(&id, "B-1", json!({"qty": 1, "seen_price": price})).await;
    let cart = carts.put(&id, "A-1", json!({"qty": 99})).await;
    assert_eq!(lines(&cart), "B-1:1 A-1:99", "in the order in which they came");
    assert_eq!(cart.body["version"], 3);

    let again = carts.put(&id, "B-1", json!({"qty": 1})).await;
    assert_eq!(again.body["version"], 3, "nothing changed");
    assert_eq!(again.body["lines"][0]["seen_price"], price, "a price not given stays");
    let more = carts.put(&id, "B-1", json!({"qty": 5})).await;
    assert_eq!(
        (lines(&more), &more.body["lines"][0]["seen_price"]),
        ("B-1:5 A-1:99".into(), &price)
    );

    assert_eq!(lines(&carts.remove(&id, "A-1").await), "B-1:5");
    assert_eq!(carts.remove(&id, "A-1").await.body["version"], 5, "it was out already");
    assert_eq!(carts.get(&id).await.body["version"], 5);
}

#[tokio::test]
async fn what_cannot_be_put_into_a_cart() {
    let carts = Carts::start();
    let id = carts.new_cart().await;
    for body in [
        json!({"qty": 0}),
        json!({"qty": 100}),
        json!({"qty": -1}),
        json!({"qty": 1.5}),
        json!({"qty": "1"}),
        json!({}),
        json!([]),
        json!({"qty": 1, "price": 1}),
        json!({"qty": 1, "seen_price": {"amount_minor": 1, "currency": "USD"}}),
        json!({"qty": 1, "seen_price": {"amount_minor": -1, "currency": "EUR"}}),
        json!({"qty": 1, "seen_price": {"amount_minor": 1e30, "currency": "EUR"}}),
    ] {
        assert_eq!(carts.put(&id, "A", body.clone()).await.status, 422, "{body}");
    }
    assert_eq!(carts.put(&id, "a%20b", json!({"qty": 1})).await.status, 404);
    let nobody = CartId::new();
    assert_eq!(carts.put(nobody.as_str(), "A", json!({"qty": 1})).await.status, 404);
    assert_eq!(carts.get("crt_x").await.status, 404);
    for n in 0..50 {
        assert_eq!(carts.put(&id, &format!("S{n}"), json!({"qty": 1})).await.status, 200);
    }
    assert_eq!(carts.put(&id, "S50", json!({"qty": 1})).await.status, 422);
    assert_eq!(carts.put(&id, "S49", json!({"qty": 2})).await.status, 200);
}

#[tokio::test]
async fn a_change_of_an_old_version_is_refused() {
    let carts = Carts::start();
    let id = carts.new_cart().await;
    assert_eq!(carts.put_if(&id, "A", 1, "\"1\"").await.status, 200);
    let stale = carts.put_if(&id, "A", 2, "\"1\"").await;
    assert_eq!((stale.status, &stale.body["version"]), (412, &json!(2)));
    assert_eq!(carts.put_if(&id, "A", 2, "\"1\", \"2\"").await.status, 200);
    assert_eq!(carts.put_if(&id, "A", 3, "*").await.status, 200);
    assert_eq!(carts.put_if(&id, "A", 4, "nonsense").await.status, 412);
    let call = carts.callee.get(format!("/v1/carts/{id}"));
    let Outcome::Ok(answer) = call.send::<Value>().await else { panic!("no cart") };
    assert_eq!(answer.headers["etag"], "\"4\"");
}

#[tokio::test]
async fn an_owner_has_one_open_cart() {
    let carts = Carts::start();
    let owner = CustomerId::new();
    let first = carts.create(Some(&owner)).await;
    let second = carts.create(Some(&owner)).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.body["id"], second.body["id"]);
    assert_ne!(carts.new_cart().await, carts.new_cart().await);
}

#[tokio::test]
async fn merging_moves_all_or_nothing_and_once() {
    let carts = Carts::start();
    let owner = CustomerId::new();
    let own = text(&carts.create(Some(&owner)).await.body["id"]);
    let guest = carts.new_cart().await;
    carts.put(&own, "A", json!({"qty": 60})).await;
    carts.put(&guest, "A", json!({"qty": 60})).await;
    carts.put(&guest, "B", json!({"qty": 2})).await;
    let merged = carts.merge(&own, &guest).await;
    assert_eq!(lines(&merged), "A:99 B:2");
    let again = carts.merge(&own, &guest).await;
    assert_eq!((again.status, &again.body), (200, &merged.body));
    assert_eq!(carts.state(&guest).await, "CLOSED");
    assert_eq!(carts.put(&guest, "A", json!({"qty": 1})).await.body["code"], "cart-closed");

    assert_eq!(carts.merge(&own, &own).await.status, 422);
    let other = text(&carts.create(Some(&CustomerId::new())).await.body["id"]);
    assert_eq!(carts.merge(&own, &other).await.status, 403);
    assert_eq!(carts.merge(&other, &guest).await.body["code"], "cart-closed");
    let full = carts.new_cart().await;
    for n in 0..49 {
        carts.put(&full, &format!("S{n}"), json!({"qty": 1})).await;
    }
    assert_eq!(carts.merge(&own, &full).await.status, 422);
    assert_eq!(
        (carts.state(&full).await, lines(&carts.get(&own).await)),
        ("OPEN".into(), "A:99 B:2".into())
    );
    let nonsense = carts.callee.post(format!("/v1/carts/{own}:burn")).json(&json!({"from": full}));
    assert_eq!(carts.contract.send("POST", "/v1/carts/{id}:merge", nonsense).await.status, 404);
}

#[tokio::test]
async fn an_order_closes_the_version_it_was_made_of() {
    let carts = Carts::start();
    let id = carts.new_cart().await;
    let cart = carts.put(&id, "A", json!({"qty": 2})).await.body;
    let order = OrderId::new();
    for _ in 0..2 {
        carts.received(&order, &cart, json!([{"sku": "A", "qty": 2}])).await;
        assert_eq!(carts.state(&id).await, "CLOSED");
    }
    assert_eq!(carts.put(&id, "A", json!({"qty": 1})).await.status, 409);
    carts.cancelled(&order, &id).await;
    let open = carts.get(&id).await;
    assert_eq!((open.body["state"].as_str(), lines(&open)), (Some("OPEN"), "A:2".into()));
    carts.received(&order, &cart, json!([{"sku": "A", "qty": 2}])).await;
    assert_eq!(carts.state(&id).await, "OPEN", "the same fact again does not close it again");
}

#[tokio::test]
async fn what_was_added_while_the_order_was_on_its_way_stays() {
    let carts = Carts::start();
    let id = carts.new_cart().await;
    carts.put(&id, "A", json!({"qty": 2})).await;
    let ordered = carts.put(&id, "B", json!({"qty": 1})).await.body;
    carts.put(&id, "A", json!({"qty": 5})).await;
    carts.put(&id, "C", json!({"qty": 1})).await;
    let order = OrderId::new();
    let goods = json!([{"sku": "A", "qty": 2}, {"sku": "B", "qty": 1}]);
    for _ in 0..2 {
        carts.received(&order, &ordered, goods.clone()).await;
        let cart = carts.get(&id).await;
        assert_eq!((cart.body["state"].as_str(), lines(&cart)), (Some("OPEN"), "A:3 C:1".into()));
    }
    carts.cancelled(&order, &id).await;
    assert_eq!(lines(&carts.get(&id).await), "A:3 C:1");
}

#[tokio::test]
async fn a_cancelled_order_opens_no_second_cart_of_an_owner() {
    let carts = Carts::start();
    let owner = CustomerId::new();
    let cart = carts.create(Some(&owner)).await.body;
    let id = text(&cart["id"]);
    let order = OrderId::new();
    carts.received(&order, &cart, json!([])).await;
    let next = carts.create(Some(&owner)).await;
    assert_eq!(next.status, 201);
    carts.cancelled(&order, &id).await;
    assert_eq!(carts.state(&id).await, "CLOSED");
    carts.cancelled(&OrderId::new(), &id).await;
    assert_eq!(carts.state(&id).await, "CLOSED", "another order did not close it");
}

#[tokio::test]
async fn a_cancel_that_overtakes_its_order_leaves_the_cart_open() {
    let carts = Carts::start();
    let id = carts.new_cart().await;
    let cart = carts.put(&id, "A", json!({"qty": 2})).await.body;
    let order = OrderId::new();
    carts.cancelled(&order, &id).await;
    carts.received(&order, &cart, json!([{"sku": "A", "qty": 2}])).await;
    assert_eq!(
        (carts.state(&id).await, lines(&carts.get(&id).await)),
        ("OPEN".into(), "A:2".into())
    );
}

#[tokio::test]
async fn facts_that_can_never_be_accepted() {
    let carts = Carts::start();
    let order = OrderId::new();
    for (topic, data) in [
        ("order.received", json!({})),
        ("order.received", json!({"order_id": "x", "cart_id": CartId::new(), "cart_version": 1})),
        (
            "order.received",
            json!({"order_id": order, "cart_id": CartId::new(), "cart_version": 1, "lines": [{"sku": "A", "qty": -1}]}),
        ),
        ("order.completed", json!({"order_id": order})),
    ] {
        assert_eq!(carts.fact(topic, "e", data.clone()).await.status, 422, "{topic} {data}");
    }
    let gone = json!({"order_id": order, "cart_id": CartId::new(), "cart_version": 1, "lines": []});
    assert_eq!(carts.fact("order.received", "e", gone).await.status, 204, "a cart we do not have");
}

#[tokio::test]
async fn killed_again_and_again_a_cart_keeps_what_was_answered() {
    let mut carts = Carts::start();
    let id = carts.new_cart().await;
    for round in 0..5 {
        for n in 0..8 {
            let qty = round * 8 + n + 1;
            assert_eq!(carts.put(&id, "A", json!({"qty": qty})).await.status, 200);
        }
        carts = carts.kill_and_restart();
        assert_eq!(lines(&carts.get(&id).await), format!("A:{}", round * 8 + 8));
    }
    let cart = carts.get(&id).await.body;
    carts.received(&OrderId::new(), &cart, json!([{"sku": "A", "qty": 40}])).await;
    carts = carts.kill_and_restart();
    assert_eq!(carts.state(&id).await, "CLOSED");
    assert!(carts.program.terminate().success());
}
