//! The real program among simple callees, held against its contract.
//!
//! It needs a workflow engine: `archipel sidecar`, by `ARCHIPEL_BIN` or as the build beside the
//! store left it. Where there is none these tests say that they are skipped; what an order does
//! is tested without one in `conductor`, `machine` and `saga_model`.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod engine;
mod mail;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::Engine;
use serde_json::{Value, json};
use store_kit::{Callee, CartId, CheckoutId, CustomerId, OrderId, Outcome};
use store_testing::{Checked, Contract, Program, eventually};
use world::World;

struct Orders {
    program: Option<Program>,
    callee: Callee,
    contract: Contract,
    world: World,
    engine: Engine,
    bus: tokio::task::JoinHandle<()>,
    customer: CustomerId,
    db: PathBuf,
    _dir: tempfile::TempDir,
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.bus.abort();
    }
}

fn program(db: &std::path::Path, world: &World, engine: &Engine, port: &str) -> Program {
    let (url, workflows) = (world.url(), engine.url());
    let vars = [
        ("PORT", port),
        ("INVENTORY_URL", &url),
        ("PAYMENTS_URL", &url),
        ("WAREHOUSE_URL", &url),
        ("CUSTOMERS_URL", &url),
        ("ARCHIPEL_GRPC_URL", &workflows),
    ];
    // Another build of it can be tried by name, such as the optimised one for the figures.
    let other = std::env::var("ORDERS_PROGRAM");
    Program::start(other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_orders")), db, &vars)
}

impl Orders {
    /// `None`: there is no engine to be had.
    async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    /// With a database that `before` has been at.
    async fn start_with(before: impl FnOnce(&std::path::Path)) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::start(dir.path())?;
        let (world, db) = (World::start().await, dir.path().join("orders.db"));
        before(&db);
        let program = program(&db, &world, &engine, "0");
        let callee = program.callee();
        let bus = tokio::spawn(world.clone().carry(callee.clone()));
        let contract = Contract::load(env!("CARGO_MANIFEST_DIR"));
        Some(Self {
            program: Some(program),
            callee,
            contract,
            world,
            engine,
            bus,
            customer: CustomerId::new(),
            db,
            _dir: dir,
        })
    }

    /// kill -9, and a new one at the same place.
    fn kill_and_restart(&mut self) {
        let old = self.program.take().unwrap();
        let port = old.port().to_owned();
        old.kill();
        let new = program(&self.db, &self.world, &self.engine, &port);
        // Connections of our own, not to the dead one.
        self.callee = new.callee();
        self.program = Some(new);
    }

    fn new_order(&self, sku: &str, token: &str) -> Value {
        json!({
            "order_id": OrderId::new(), "checkout_id": CheckoutId::new(), "customer_id": self.customer,
            "cart": {"id": CartId::new(), "version": 3},
            "lines": [
                {"sku": sku, "title": "Lantern", "qty": 2, "unit": eur(1250), "weight_g": 400},
                {"sku": "ROPE-1", "title": "Rope", "qty": 1, "unit": eur(500), "weight_g": 900},
            ],
            "totals": {"subtotal": eur(3000), "discount": eur(100), "shipping": eur(490), "tax": eur(0), "total": eur(3390)},
            "ship_to": {"name": "A. Reader", "line1": "1 Quay", "postcode": "29000", "city": "Port", "country": "FR"},
            "shipping_option": "standard", "payment_token": token,
        })
    }

    async fn post(&self, order: &Value) -> Checked {
        self.contract.send("POST", "/v1/orders", self.callee.post("/v1/orders").json(order)).await
    }

    /// Places an order of `sku`, paid with `token`.
    async fn place(&self, sku: &str, token: &str) -> OrderId {
        let order = self.new_order(sku, token);
        assert_eq!(self.post(&order).await.status, 201);
        order["order_id"].as_str().unwrap().parse().unwrap()
    }

    fn token(&self) -> String {
        self.world.token(&self.customer)
    }

    async fn view(&self, id: &OrderId) -> Value {
        let call = self.callee.get(format!("/v1/orders/{id}")).bearer(self.token());
        self.contract.send("GET", "/v1/orders/{id}", call).await.body
    }

    async fn until(&self, id: &OrderId, status: &str) -> Value {
        eventually(&format!("{id} is {status}"), || async {
            let view = self.view(id).await;
            if view["status"] == status { Ok(view) } else { Err(view.to_string()) }
        })
        .await
    }

    async fn cancel(&self, id: &OrderId) -> Checked {
        let call = self.callee.post(format!("/v1/orders/{id}/cancel")).bearer(self.token());
        self.contract.send("POST", "/v1/orders/{id}/cancel", call).await
    }

    async fn new_card(&self, id: &OrderId, token: &str) -> Checked {
        let call = self.callee.post(format!("/v1/orders/{id}/payment-method")).bearer(self.token());
        let call = call.json(&json!({"payment_token": token}));
        self.contract.send("POST", "/v1/orders/{id}/payment-method", call).await
    }

    async fn topics_of(&self, id: &OrderId) -> Vec<String> {
        let all = self.contract.outbox(&self.callee).await;
        all.into_iter()
            .filter(|(_, data)| data["order_id"] == id.as_str())
            .map(|(topic, _)| topic)
            .collect()
    }

    /// Sends a fact and says what became of it.
    async fn fact(&self, id: &str, topic: &str, data: Value) -> u16 {
        let event = json!({"specversion": "1.0", "id": id, "source": "/store/test", "type": format!("store.{topic}.v1"), "data": data});
        match self.callee.post("/_archipel/events").json(&event).send::<Value>().await {
            Outcome::Ok(answer) => answer.status,
            Outcome::Refused(refusal) => refusal.status,
            Outcome::NoAnswer(silence) => silence.status.unwrap_or(0),
        }
    }
}

fn eur(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "EUR"})
}

fn steps(view: &Value) -> Vec<&str> {
    view["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["step"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_good_order_goes_all_the_way() {
    let Some(orders) = Orders::start().await else { return };
    let id = orders.place("LAMP-1", "tok_ok").await;
    orders.until(&id, "COMPLETED").await;
    let view = eventually("all facts are in", || async {
        let view = orders.view(&id).await;
        if steps(&view).len() == 12 { Ok(view) } else { Err(format!("{:?}", steps(&view))) }
    })
    .await;
    let seen: Vec<&str> =
        steps(&view).into_iter().filter(|s| !matches!(*s, "texted" | "counted_down")).collect();
    let good_day = [
        "received",
        "reserved",
        "authorised",
        "confirmed",
        "packed",
        "captured",
        "released",
        "dispatched",
        "delivered",
        "completed",
    ];
    assert_eq!(seen, good_day);
    assert_eq!(
        (&view["tracking"], &view["cancellable"], &view["action"]),
        (&json!("TRACK-1"), &json!(false), &Value::Null)
    );
    assert_eq!(
        (&view["payment_state"], &view["fulfilment_state"]),
        (&json!("CAPTURED"), &json!("DELIVERED"))
    );
    assert_eq!(
        orders.world.asked(&id),
        [
            "PUT reservation",
            "POST payments",
            "POST reservation/confirm",
            "POST payment/capture",
            "POST fulfilment/release",
        ]
    );
    let keys: Vec<String> = ["reserve", "auth", "confirm", "capture", "release"]
        .map(|step| format!("{id}:{step}:1"))
        .into();
    assert_eq!(orders.world.books.lock().unwrap().keys[&id], keys);
    assert_eq!(
        orders.topics_of(&id).await,
        [
            "order.received",
            "order.confirmed",
            "order.dispatched",
            "order.delivered",
            "order.completed"
        ]
    );
    let ship_to = orders.callee.get(format!("/v1/orders/{id}/ship-to"));
    let ship_to = orders.contract.send("GET", "/v1/orders/{id}/ship-to", ship_to).await;
    assert_eq!(ship_to.body["city"], "Port");
}

#[tokio::test]
async fn an_open_page_sees_every_status_in_order_and_none_twice() {
    let Some(orders) = Orders::start().await else { return };
    orders.world.books.lock().unwrap().picker_sleeps = true;
    let id = orders.place("LAMP-1", "tok_ok").await;
    let call = orders.callee.get(format!("/v1/orders/{id}/events")).bearer(orders.token());
    let response = call.stream().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    orders.until(&id, "CONFIRMED").await;
    orders.world.say("fulfilment.packed", &id, json!({}));
    let mut body = response.into_body();
    let (mut text, mut seen) = (String::new(), Vec::<String>::new());
    while seen.last().is_none_or(|status| status != "COMPLETED") {
        let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        while let Some((event, rest)) =
            text.split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned()))
        {
            text = rest;
            assert!(event.starts_with("event: order\n"), "{event}");
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let view: Value = serde_json::from_str(data).unwrap();
            orders.contract.check("GET", "/v1/orders/{id}", 200, &view);
            seen.push(view["status"].as_str().unwrap().to_owned());
        }
    }
    seen.dedup();
    let order = [
        "RECEIVED",
        "RESERVED",
        "AUTHORISED",
        "CONFIRMED",
        "PACKED",
        "CAPTURED",
        "DISPATCHED",
        "DELIVERED",
        "COMPLETED",
    ];
    let places: Vec<usize> =
        seen.iter().map(|s| order.iter().position(|o| o == s).unwrap()).collect();
    assert!(places.is_sorted(), "{seen:?}");
    let nobody = orders.callee.get(format!("/v1/orders/{id}/events")).stream().await.unwrap();
    assert_eq!(nobody.status(), 401);
}

#[tokio::test]
async fn the_same_order_again_is_the_same_order() {
    let Some(orders) = Orders::start().await else { return };
    let order = orders.new_order("LAMP-1", "tok_ok");
    assert_eq!(orders.post(&order).await.status, 201);
    assert_eq!(orders.post(&order).await.status, 200);
    let mut other = order.clone();
    other["shipping_option"] = json!("express");
    assert_eq!(orders.post(&other).await.body["code"], "order-differs");
    let mut second = order.clone();
    second["order_id"] = json!(OrderId::new());
    assert_eq!(orders.post(&second).await.status, 409, "one order per checkout");
    let id: OrderId = order["order_id"].as_str().unwrap().parse().unwrap();
    orders.until(&id, "COMPLETED").await;
    assert_eq!(orders.post(&order).await.status, 200);
}

#[tokio::test]
async fn a_wrong_order_is_refused_and_told_where() {
    let Some(orders) = Orders::start().await else { return };
    let good = orders.new_order("LAMP-1", "tok_ok");
    for (member, value, pointer) in [
        ("/totals/total", eur(3389), "/totals/total"),
        ("/totals/subtotal", eur(2999), "/totals/subtotal"),
        ("/totals/discount", eur(-1), "/totals/discount"),
        ("/lines/0/qty", json!(0), "/lines/0/qty"),
        ("/lines/1/sku", json!("LAMP-1"), "/lines/1/sku"),
        ("/lines/0/unit", json!({"amount_minor": 1250, "currency": "USD"}), "/lines/0/unit"),
        ("/lines/0/unit/amount_minor", json!(i64::MAX), "/totals/subtotal"),
        ("/ship_to/city", json!(" "), "/ship_to/city"),
        ("/payment_token", json!(""), "/payment_token"),
        ("/order_id", json!("ord_1"), "/order_id"),
        ("/cart", json!({"id": "x", "version": 1}), "/cart/id"),
        ("/lines", json!([]), "/lines"),
    ] {
        let mut order = good.clone();
        *order.pointer_mut(member).unwrap() = value;
        let answer = orders.post(&order).await;
        let named: Vec<_> = answer.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["pointer"].clone())
            .collect();
        assert_eq!(answer.status, 422, "{member}");
        assert!(named.contains(&json!(pointer)), "{member}: {named:?}");
    }
    let mut extra = good;
    extra["amount"] = json!(1);
    assert_eq!(orders.post(&extra).await.status, 422);
}

#[tokio::test]
async fn another_customer_sees_nothing() {
    let Some(orders) = Orders::start().await else { return };
    let (mine, other) = (orders.place("LAMP-1", "tok_ok").await, CustomerId::new());
    let second = orders.place("LAMP-1", "tok_ok").await;
    let call = orders.callee.get(format!("/v1/orders/{mine}")).bearer(orders.world.token(&other));
    assert_eq!(orders.contract.send("GET", "/v1/orders/{id}", call).await.status, 404);
    let call = orders.callee.get(format!("/v1/orders/{mine}"));
    assert_eq!(orders.contract.send("GET", "/v1/orders/{id}", call).await.status, 401);
    let call =
        orders.callee.post(format!("/v1/orders/{mine}/cancel")).bearer(orders.world.token(&other));
    assert_eq!(orders.contract.send("POST", "/v1/orders/{id}/cancel", call).await.status, 404);

    let list = |path: String, who: CustomerId| {
        let call = orders.callee.get(path).bearer(orders.world.token(&who));
        orders.contract.send("GET", "/v1/orders", call)
    };
    assert_eq!(list("/v1/orders".into(), other).await.body["items"], json!([]));
    let page = list("/v1/orders?limit=1".into(), orders.customer.clone()).await.body;
    assert_eq!((&page["items"][0]["id"], &page["next_cursor"]), (&json!(second), &json!(second)));
    let page =
        list(format!("/v1/orders?limit=1&cursor={second}"), orders.customer.clone()).await.body;
    assert_eq!((&page["items"][0]["id"], &page["next_cursor"]), (&json!(mine), &Value::Null));
}

#[tokio::test]
async fn a_declined_card_may_be_replaced_twice() {
    let Some(orders) = Orders::start().await else { return };
    let id = orders.place("LAMP-1", "tok_decline").await;
    let view = orders.until(&id, "AWAITING_METHOD").await;
    assert_eq!(
        (&view["action"], &view["cancellable"]),
        (&json!({"kind": "new_card"}), &json!(true))
    );
    assert_eq!(orders.new_card(&id, "tok_decline").await.status, 202);
    eventually("the second card is declined too", || async {
        let view = orders.view(&id).await;
        let declined = steps(&view).iter().filter(|step| **step == "declined").count();
        if declined == 2 { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    assert_eq!(orders.new_card(&id, "tok_ok").await.status, 202);
    assert_eq!(orders.new_card(&id, "tok_ok").await.status, 202, "a double click");
    orders.until(&id, "COMPLETED").await;
    assert_eq!(orders.new_card(&id, "tok_other").await.status, 409);
    let keys = orders.world.books.lock().unwrap().keys[&id].clone();
    let cards: Vec<_> = keys.iter().filter(|key| key.contains(":auth:")).cloned().collect();
    assert_eq!(cards, [1, 2, 3].map(|n| format!("{id}:auth:{n}")));
    let needed = orders
        .topics_of(&id)
        .await
        .iter()
        .filter(|t| *t == "order.payment_action_required")
        .count();
    assert_eq!(needed, 2);
}

#[tokio::test]
async fn the_bank_may_want_to_see_the_customer() {
    let Some(orders) = Orders::start().await else { return };
    let id = orders.place("LAMP-1", "tok_3ds").await;
    let view = orders.until(&id, "AWAITING_ACTION").await;
    assert_eq!(view["action"], json!({"kind": "authenticate", "url": "/psp/3ds/pi_1"}));
    orders.world.say("payment.authorised", &id, json!({"attempt": 1}));
    let view = orders.until(&id, "COMPLETED").await;
    assert!(steps(&view).contains(&"action_required"));
}

#[tokio::test]
async fn a_slow_provider_is_waited_for() {
    let Some(orders) = Orders::start().await else { return };
    let id = orders.place("LAMP-1", "tok_slow").await;
    eventually("the payment is pending", || async {
        let view = orders.view(&id).await;
        if view["payment_state"] == "PENDING" { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    orders.world.say("payment.authorised", &id, json!({"attempt": 1}));
    orders.until(&id, "COMPLETED").await;
}

#[tokio::test]
async fn what_is_sold_out_is_not_sold() {
    let Some(orders) = Orders::start().await else { return };
    orders.world.books.lock().unwrap().sold_out.insert("LAMP-1".into());
    let id = orders.place("LAMP-1", "tok_ok").await;
    let view = orders.until(&id, "CANCELLED").await;
    assert_eq!(view["reason"], "out_of_stock");
    assert_eq!(orders.world.asked(&id), ["PUT reservation", "DELETE reservation"]);
    assert_eq!(orders.topics_of(&id).await, ["order.received", "order.cancelled"]);
}

#[tokio::test]
async fn a_cancelled_order_is_undone_in_order() {
    let Some(orders) = Orders::start().await else { return };
    orders.world.books.lock().unwrap().picker_sleeps = true;
    let id = orders.place("LAMP-1", "tok_ok").await;
    assert_eq!(orders.until(&id, "CONFIRMED").await["cancellable"], true);
    assert_eq!(orders.cancel(&id).await.status, 202);
    assert_eq!(orders.cancel(&id).await.status, 202, "a double click");
    let view = orders.until(&id, "CANCELLED").await;
    assert_eq!(view["reason"], "cancelled_by_customer");
    let undone = orders.world.asked(&id).split_off(3);
    assert_eq!(undone, ["POST fulfilment/cancel", "POST payment/void", "DELETE reservation"]);
    assert_eq!(
        orders.topics_of(&id).await,
        ["order.received", "order.confirmed", "order.cancelled"]
    );
}

#[tokio::test]
async fn what_goes_wrong_late_is_undone_too() {
    let Some(orders) = Orders::start().await else { return };
    let id = orders.place("LAMP-1", "tok_capture_fails").await;
    assert_eq!(orders.until(&id, "CANCELLED").await["reason"], "capture_failed");

    orders.world.books.lock().unwrap().never_dispatch = true;
    let id = orders.place("LAMP-1", "tok_ok").await;
    let view = orders.until(&id, "REFUNDED").await;
    assert_eq!(
        (&view["reason"], &view["payment_state"]),
        (&json!("warehouse_cancelled"), &json!("REFUNDED"))
    );
    assert_eq!(
        orders.topics_of(&id).await,
        ["order.received", "order.confirmed", "order.refunded", "order.cancelled"]
    );

    orders.world.books.lock().unwrap().picks_short = true;
    let id = orders.place("LAMP-1", "tok_ok").await;
    assert_eq!(orders.until(&id, "CANCELLED").await["reason"], "short_pick");
    let late = orders.cancel(&id).await.status;
    assert_eq!(late, 202, "it is cancelled, as wished");
}

#[tokio::test]
async fn facts_are_taken_once_in_their_order_or_not_at_all() {
    let Some(orders) = Orders::start().await else { return };
    orders.world.books.lock().unwrap().picker_sleeps = true;
    let id = orders.place("LAMP-1", "tok_ok").await;
    orders.until(&id, "CONFIRMED").await;
    let data = json!({"order_id": id, "tracking": "T", "attempt": 1, "capture_id": "cap_x"});
    assert_eq!(orders.fact("e1", "shipment.delivered", data.clone()).await, 409);
    assert_eq!(orders.fact("e2", "shipment.dispatched", data.clone()).await, 409);
    assert_eq!(orders.fact("e3", "payment.captured", data.clone()).await, 409);
    assert_eq!(
        orders.fact("e4", "fulfilment.packed", json!({"order_id": OrderId::new()})).await,
        409,
        "unknown order"
    );
    assert_eq!(orders.fact("e5", "fulfilment.packed", json!({"order_id": "x"})).await, 422);
    assert_eq!(orders.fact("e6", "never.heard", data.clone()).await, 422);
    assert_eq!(
        orders.fact("e7", "message.sent", json!({"order_id": null, "template": "welcome"})).await,
        204
    );
    for _ in 0..3 {
        assert_eq!(orders.fact("e8", "fulfilment.packed", data.clone()).await, 204);
    }
    let view = orders.until(&id, "COMPLETED").await;
    assert_eq!(steps(&view).iter().filter(|step| **step == "packed").count(), 1);
    assert_eq!(orders.fact("e1", "shipment.delivered", data).await, 204);
    assert_eq!(orders.cancel(&id).await.body["code"], "too-late-to-cancel");
    let retry = orders.callee.post(format!("/v1/orders/{id}/saga:retry"));
    assert_eq!(orders.contract.send("POST", "/v1/orders/{id}/saga:retry", retry).await.status, 409);
}

#[tokio::test]
async fn an_order_waits_for_those_who_are_away_and_goes_on_when_they_are_back() {
    let Some(orders) = Orders::start().await else { return };
    let first = orders.place("LAMP-1", "tok_ok").await;
    orders.until(&first, "COMPLETED").await;
    orders.world.go_away().await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(orders.place("LAMP-1", "tok_ok").await);
    }
    // They are known to be away once the log says so; the back-off has grown by then.
    eventually("the outage is noticed", || async {
        let log = orders.program.as_ref().unwrap().log();
        if log.iter().any(|line| line["msg"].as_str().unwrap().contains("does not answer")) {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
    assert_eq!(
        orders.view(&waiting[0]).await["status"],
        "RECEIVED",
        "keys are kept: the page works without customers"
    );
    orders.world.come_back().await;
    let back = Instant::now();
    for id in &waiting {
        orders.until(id, "COMPLETED").await;
    }
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_under_the_same_key() {
    let Some(orders) = Orders::start().await else { return };
    orders.world.books.lock().unwrap().replies_lost = 2;
    let id = orders.place("LAMP-1", "tok_ok").await;
    orders.until(&id, "COMPLETED").await;
    let books = orders.world.books.lock().unwrap();
    let reserves = books
        .asked
        .iter()
        .filter(|(order, what)| *order == id && what == "PUT reservation")
        .count();
    assert_eq!((reserves, books.keys[&id].len()), (3, 5));
}

#[tokio::test]
async fn orders_go_on_when_the_engine_was_killed_and_even_when_it_has_lost_its_memory() {
    let Some(mut orders) = Orders::start().await else { return };
    let mut placed = Vec::new();
    for round in 0..6_u32 {
        for _ in 0..5 {
            placed.push(orders.place("LAMP-1", "tok_ok").await);
        }
        // At another point of the flow each time.
        let asked = || orders.world.books.lock().unwrap().asked.len();
        let goal = asked() + round as usize * 3;
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            while asked() < goal {
                tokio::task::yield_now().await;
            }
        })
        .await;
        orders.engine.kill();
        // Taken while nobody leads orders, and for certain.
        placed.push(orders.place("LAMP-1", "tok_ok").await);
        orders.engine.restart();
    }
    for id in &placed {
        orders.until(id, "COMPLETED").await;
        assert_eq!(orders.world.books.lock().unwrap().keys[id].len(), 5);
    }
    orders.world.books.lock().unwrap().picker_sleeps = true;
    let id = orders.place("LAMP-1", "tok_ok").await;
    orders.until(&id, "CONFIRMED").await;
    orders.engine.kill();
    orders.engine.forget();
    orders.engine.restart();
    orders.world.say("fulfilment.packed", &id, json!({}));
    orders.until(&id, "COMPLETED").await;
}

#[tokio::test]
async fn an_order_from_before_there_were_workflows_gets_one() {
    let (id, customer) = (OrderId::new(), CustomerId::new());
    let old = |db: &std::path::Path| {
        let conn = rusqlite::Connection::open(db).unwrap();
        conn.execute_batch(orders::MIGRATIONS[0]).unwrap();
        conn.pragma_update(None, "user_version", 1).unwrap();
        let address =
            json!({"name": "A", "line1": "1", "postcode": "2", "city": "P", "country": "FR"});
        conn.execute(
            "INSERT INTO orders VALUES(?1, ?2, ?3, ?4, 1, 'RESERVED', 'NONE', 'NONE', 100, 0, 0, 0, 100, 0, 'EUR', 2, \
             ?5, 'standard', NULL, NULL, NULL, NULL, '', NULL, ?6, ?6)",
            rusqlite::params![id, CheckoutId::new(), customer, CartId::new(), address.to_string(), "2026-01-01T00:00:00.000Z"],
        )
        .unwrap();
        let rest = format!(
            "INSERT INTO order_line VALUES('{id}', 'LAMP-1', 'Lantern', 1, 100, 400);
             INSERT INTO saga VALUES('{id}', '2026-01-01T00:00:00.000Z', NULL, 3, 1, 0, 0, 1, 'tok_ok', 0, NULL, NULL);
             INSERT INTO saga_log VALUES('{id}', 1, '', 'RECEIVED', '2026-01-01T00:00:00.000Z', '');
             INSERT INTO saga_log VALUES('{id}', 2, 'RECEIVED', 'RESERVED', '2026-01-01T00:00:00.000Z', '');"
        );
        conn.execute_batch(&rest).unwrap();
    };
    let Some(mut orders) = Orders::start_with(old).await else { return };
    orders.customer = customer;
    orders.until(&id, "COMPLETED").await;
    let asked = orders.world.asked(&id);
    assert_eq!(asked[0], "POST payments", "it goes on where it stood: {asked:?}");
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_nothing_and_doubles_nothing() {
    let Some(mut orders) = Orders::start().await else { return };
    let mut placed = Vec::new();
    for round in 0..12_u32 {
        for n in 0..5 {
            let order = orders.new_order("LAMP-1", if n == 4 { "tok_decline" } else { "tok_ok" });
            assert_eq!(orders.post(&order).await.status, 201);
            placed.push((order["order_id"].as_str().unwrap().parse::<OrderId>().unwrap(), n == 4));
        }
        // At another point of the flow each time: after so many requests of the saga.
        let asked = || orders.world.books.lock().unwrap().asked.len();
        let goal = asked() + round as usize * 2;
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            while asked() < goal {
                tokio::task::yield_now().await;
            }
        })
        .await;
        orders.kill_and_restart();
    }
    for (id, declined) in &placed {
        orders.until(id, if *declined { "AWAITING_METHOD" } else { "COMPLETED" }).await;
        let keys = orders.world.books.lock().unwrap().keys[id].clone();
        assert_eq!(keys.len(), if *declined { 2 } else { 5 }, "{keys:?}");
        let confirmed =
            orders.topics_of(id).await.iter().filter(|t| *t == "order.confirmed").count();
        assert_eq!(confirmed, usize::from(!declined));
    }
    assert!(orders.program.take().unwrap().terminate().success(), "SIGTERM ends it cleanly");
}

/// Not a benchmark, a guard: our own share of an order is small, and nothing polls.
#[tokio::test]
async fn a_good_order_flows_without_pauses() {
    let Some(orders) = Orders::start().await else { return };
    orders.until(&orders.place("LAMP-1", "tok_ok").await, "COMPLETED").await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let id = orders.place("LAMP-1", "tok_ok").await;
        orders.until(&id, "COMPLETED").await;
        fastest = fastest.min(begun.elapsed());
    }
    println!("received to completed: {fastest:?}");
    assert!(fastest < Duration::from_millis(10 * 50), "{fastest:?} for ten steps");
}

/// `cargo test -p orders --test orders -- --ignored --nocapture figures`
#[tokio::test]
#[ignore = "prints figures, asserts nothing"]
async fn figures() {
    let Some(orders) = Orders::start().await else { return };
    orders.until(&orders.place("LAMP-1", "tok_ok").await, "COMPLETED").await;
    let program = orders.program.as_ref().unwrap();
    let (idle, before) = program.usage();
    let (buyers, each) = (16, 50);
    let begun = Instant::now();
    let placing = (0..buyers).map(|_| async {
        for _ in 0..each {
            orders.place("LAMP-1", "tok_ok").await;
        }
    });
    futures_util::future::join_all(placing).await;
    let placed = begun.elapsed();
    // Asks the outbox, which costs the program next to nothing.
    let mut after = 0;
    let mut completed = 0;
    while completed < buyers * each {
        let page = orders
            .callee
            .get(format!("/_archipel/outbox?after={after}&limit=500&wait_ms=1000"))
            .send::<Value>();
        for row in page.await.ok().unwrap()["events"].as_array().unwrap() {
            after = row["seq"].as_i64().unwrap();
            completed += u32::from(row["topic"] == "order.completed");
        }
    }
    let ((rss, cpu), count, all) = (program.usage(), buyers * each, begun.elapsed());
    println!("resident: {idle} kB at first, {rss} kB after {count} orders");
    println!(
        "{count} orders taken in {placed:?}, all completed after {all:?}; CPU per order {:?}",
        (cpu - before) / count
    );
}
