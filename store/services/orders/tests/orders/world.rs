//! The services that orders talks to, in one process and as simple as their contract allows,
//! and the one who carries facts between them.
//!
//! Each keeps what a real one keeps by: an answer per key. What was asked is written down, so
//! that a test can say what may have been asked, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};
use store_kit::{
    Callee, Claims, Clock, CustomerId, Env, EventId, OrderId, Outcome, Running, Service, Signer,
};

#[derive(Default)]
pub struct Books {
    /// Every request in the order it came: `inventory PUT reservation`, …
    pub asked: Vec<(OrderId, String)>,
    /// Answers by key.
    answers: BTreeMap<String, (u16, Value)>,
    /// Keys in the order they were first seen, per order.
    pub keys: BTreeMap<OrderId, Vec<String>>,
    tokens: BTreeMap<OrderId, String>,
    captured: BTreeSet<OrderId>,
    closed: BTreeSet<OrderId>,
    payments: BTreeMap<OrderId, Value>,
    /// Facts on their way to orders.
    mail: Vec<Value>,
    posted: Arc<tokio::sync::Notify>,
    /// Skus that are sold out.
    pub sold_out: BTreeSet<String>,
    /// The picker does nothing before this is set.
    pub picker_sleeps: bool,
    pub picks_short: bool,
    /// The next so many replies are lost after the work was done.
    pub replies_lost: u32,
    pub never_dispatch: bool,
}

#[derive(Clone)]
pub struct World {
    pub books: Arc<Mutex<Books>>,
    pub signer: Signer,
    running: Arc<Mutex<Option<Running>>>,
    address: Arc<std::net::SocketAddr>,
}

impl World {
    pub async fn start() -> Self {
        let (books, signer) = (Arc::new(Mutex::new(Books::default())), Signer::from_text("world"));
        let running = serve(books.clone(), &signer, 0).await;
        let address = Arc::new(running.address);
        Self { books, signer, running: Arc::new(Mutex::new(Some(running))), address }
    }

    /// Nobody answers from now on.
    pub async fn go_away(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some(running) = running {
            running.shut_down().await;
        }
    }

    /// Everybody answers again, at the same address.
    pub async fn come_back(&self) {
        let running = serve(self.books.clone(), &self.signer, self.address.port()).await;
        *self.running.lock().unwrap() = Some(running);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn token(&self, customer: &CustomerId) -> String {
        let claims = Claims::new(
            customer.clone(),
            "member",
            Clock::default().now(),
            Duration::from_secs(600),
        );
        self.signer.sign(&claims).unwrap()
    }

    /// Puts a fact in the mail.
    pub fn say(&self, topic: &str, order: &OrderId, data: Value) {
        self.books.lock().unwrap().say(topic, order, data);
    }

    /// Carries facts: from the outbox of orders to the warehouse, and everybody's mail to orders.
    /// Never returns; orders may come and go meanwhile.
    pub async fn carry(self, orders: Callee) {
        tokio::join!(self.read_outbox(&orders), self.deliver_mail(&orders));
    }

    async fn read_outbox(&self, orders: &Callee) {
        let mut after = 0;
        loop {
            let call = orders.get(format!("/_archipel/outbox?after={after}&wait_ms=1000"));
            let Some(page) = call.timeout(Duration::from_secs(5)).send::<Value>().await.ok() else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            for row in page["events"].as_array().unwrap() {
                after = row["seq"].as_i64().unwrap();
                if row["topic"] == "order.confirmed" {
                    let order: OrderId = row["event"]["subject"].as_str().unwrap().parse().unwrap();
                    self.books.lock().unwrap().confirmed(&order);
                }
            }
        }
    }

    /// Each order's facts one after the other, those of different orders at the same time.
    async fn deliver_mail(&self, orders: &Callee) {
        let posted = self.books.lock().unwrap().posted.clone();
        loop {
            let mail = std::mem::take(&mut self.books.lock().unwrap().mail);
            let mut by_order: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for fact in mail {
                by_order
                    .entry(fact["subject"].as_str().unwrap().to_owned())
                    .or_default()
                    .push(fact);
            }
            let undelivered = futures_util::future::join_all(
                by_order.into_values().map(|facts| deliver(orders, facts)),
            );
            let undelivered: Vec<Value> = undelivered.await.concat();
            if undelivered.is_empty() {
                posted.notified().await;
            } else {
                self.books.lock().unwrap().mail.splice(0..0, undelivered);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// What was asked about an order, without repetitions next to each other.
    pub fn asked(&self, order: &OrderId) -> Vec<String> {
        let books = self.books.lock().unwrap();
        let mut asked: Vec<String> = books
            .asked
            .iter()
            .filter(|(id, _)| id == order)
            .map(|(_, what)| what.clone())
            .collect();
        asked.dedup();
        asked
    }
}

/// Returns what has to come again.
async fn deliver(orders: &Callee, facts: Vec<Value>) -> Vec<Value> {
    for (at, fact) in facts.iter().enumerate() {
        match orders.post("/_archipel/events").json(fact).send::<Value>().await {
            Outcome::Ok(_) => {}
            Outcome::NoAnswer(_) => return facts[at..].to_vec(),
            Outcome::Refused(refusal) => panic!("orders refused {fact}: {refusal:?}"),
        }
    }
    Vec::new()
}

impl Books {
    fn say(&mut self, topic: &str, order: &OrderId, mut data: Value) {
        data["order_id"] = json!(order);
        self.mail.push(json!({
            "specversion": "1.0", "id": EventId::new(), "source": "/store/world", "type": format!("store.{topic}.v1"),
            "subject": order, "data": data,
        }));
        self.posted.notify_one();
    }

    fn confirmed(&mut self, order: &OrderId) {
        if self.closed.contains(order) || self.picker_sleeps {
            return;
        }
        self.say("fulfilment.created", order, json!({}));
        let end = if self.picks_short { "fulfilment.short" } else { "fulfilment.packed" };
        self.say(end, order, json!({}));
    }

    fn answer(&mut self, order: &OrderId, what: &str, body: &Value) -> (u16, Value) {
        let closed = self.closed.contains(order);
        match what {
            "PUT reservation" | "POST reservation/confirm" if closed => {
                problem(410, "order-tombstoned")
            }
            "PUT reservation" => {
                let skus: BTreeSet<_> = body["lines"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(|l| l["sku"].as_str())
                    .collect();
                if skus.iter().any(|sku| self.sold_out.contains(*sku)) {
                    return problem(409, "out-of-stock");
                }
                (
                    200,
                    json!({"order_id": order, "state": "HELD", "expires_at": "2099-01-01T00:00:00.000Z"}),
                )
            }
            "POST reservation/confirm" => {
                (200, json!({"order_id": order, "state": "CONFIRMED", "expires_at": null}))
            }
            "POST reservation/extend" => (200, json!({"order_id": order, "state": "HELD"})),
            "DELETE reservation" => {
                self.closed.insert(order.clone());
                (200, json!({"order_id": order, "state": "RELEASED"}))
            }
            "POST payments" if closed => problem(410, "order-tombstoned"),
            "POST payments" => self.authorise(order, body),
            "GET payment" => self
                .payments
                .get(order)
                .map_or_else(|| problem(404, "not-found"), |p| (200, p.clone())),
            "POST payment/capture" => self.capture(order),
            "POST payment/void" if self.captured.contains(order) => {
                problem(409, "already-captured")
            }
            "POST payment/void" => {
                self.closed.insert(order.clone());
                (200, json!({"state": "VOIDED"}))
            }
            "POST payment/refunds" => (200, json!({"attempt": 1, "state": "REFUNDED"})),
            "POST fulfilment/cancel" => {
                self.closed.insert(order.clone());
                (200, json!({"state": "CANCELLED"}))
            }
            "POST fulfilment/release" if self.never_dispatch => problem(409, "too-late"),
            "POST fulfilment/release" => {
                assert!(
                    body["capture_id"].as_str().is_some_and(|id| id.starts_with("cap_")),
                    "{body}"
                );
                self.say(
                    "shipment.dispatched",
                    order,
                    json!({"tracking": "TRACK-1", "carrier": "C", "lines": []}),
                );
                self.say("reservation.shipped", order, json!({"lines": []}));
                self.say("message.sent", order, json!({"template": "received", "channel": "sms"}));
                self.say("shipment.delivered", order, json!({"tracking": "TRACK-1"}));
                (200, json!({"state": "DISPATCHED", "tracking": "TRACK-1"}))
            }
            "GET fulfilment" => problem(404, "not-found"),
            other => panic!("orders asks {other}"),
        }
    }

    fn authorise(&mut self, order: &OrderId, body: &Value) -> (u16, Value) {
        let (token, attempt) =
            (body["method_token"].as_str().unwrap().to_owned(), body["attempt"].clone());
        self.tokens.insert(order.clone(), token.clone());
        let payment = |state: &str| json!({"order_id": order, "attempt": attempt, "state": state, "capture_id": null, "action_url": null});
        let (status, payment) = match token.as_str() {
            "tok_decline" => return problem(402, "payment-declined"),
            "tok_3ds" => {
                let mut payment = payment("REQUIRES_ACTION");
                payment["action_url"] = json!("/psp/3ds/pi_1");
                (202, payment)
            }
            "tok_slow" => (202, payment("PROCESSING")),
            _ => (201, payment("AUTHORISED")),
        };
        self.payments.insert(order.clone(), payment.clone());
        (status, payment)
    }

    fn capture(&mut self, order: &OrderId) -> (u16, Value) {
        if self.tokens.get(order).is_some_and(|token| token == "tok_capture_fails") {
            return problem(409, "capture-failed");
        }
        self.captured.insert(order.clone());
        let attempt = self.payments[order]["attempt"].clone();
        (
            200,
            json!({"attempt": attempt, "state": "CAPTURED", "capture_id": format!("cap_{}", &order.as_str()[4..])}),
        )
    }
}

fn problem(status: u16, code: &str) -> (u16, Value) {
    (status, json!({"status": status, "code": code, "detail": "", "retryable": false}))
}

async fn serve(books: Arc<Mutex<Books>>, signer: &Signer, port: u16) -> Running {
    let jwks = signer.jwks();
    let routes = Router::new()
        .route("/.well-known/jwks.json", get(move || async move { axum::Json(jwks) }))
        .route("/v1/payments", any(pay))
        .route("/v1/reservations/{order}", any(inventory))
        .route("/v1/reservations/{order}/{what}", any(inventory_part))
        .route("/v1/orders/{order}/payment", any(payment))
        .route("/v1/orders/{order}/payment/{what}", any(payment_part))
        .route("/v1/fulfilments/{order}", any(fulfilment))
        .route("/v1/fulfilments/{order}/{what}", any(fulfilment_part))
        .with_state(books);
    Service::new("world", "0", Env::default().with("PORT", port))
        .routes(routes)
        .start()
        .await
        .unwrap()
}

type Shared = State<Arc<Mutex<Books>>>;

async fn pay(State(books): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let json: Value = serde_json::from_slice(&body).unwrap();
    let order = json["order_id"].as_str().unwrap().to_owned();
    act(&books, &order, "POST payments", &headers, &json).await
}

macro_rules! handlers {
    ($($name:ident, $part:ident: $thing:literal;)+) => { $(
        async fn $name(State(books): Shared, method: Method, Path(order): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
            let json = serde_json::from_slice(&body).unwrap_or_default();
            act(&books, &order, &format!("{method} {}", $thing), &headers, &json).await
        }

        async fn $part(State(books): Shared, method: Method, Path((order, what)): Path<(String, String)>, headers: HeaderMap, body: Bytes) -> Response {
            let json = serde_json::from_slice(&body).unwrap_or_default();
            act(&books, &order, &format!("{method} {}/{what}", $thing), &headers, &json).await
        }
    )+ };
}

handlers! {
    inventory, inventory_part: "reservation";
    payment, payment_part: "payment";
    fulfilment, fulfilment_part: "fulfilment";
}

/// Does what is asked, once per key.
async fn act(
    books: &Mutex<Books>,
    order: &str,
    what: &str,
    headers: &HeaderMap,
    body: &Value,
) -> Response {
    let (status, answer, lost) = {
        let mut books = books.lock().unwrap();
        let order: OrderId = order.parse().unwrap();
        books.asked.push((order.clone(), what.to_owned()));
        let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
        assert!(
            key.is_some() || what.starts_with("GET") || what.ends_with("/extend"),
            "{what} needs a key"
        );
        let known = key.as_ref().and_then(|key| books.answers.get(key).cloned());
        let (status, answer) = known.unwrap_or_else(|| books.answer(&order, what, body));
        if let Some(key) = key {
            let keys = books.keys.entry(order).or_default();
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
            books.answers.insert(key, (status, answer.clone()));
        }
        let lost = books.replies_lost > 0;
        books.replies_lost = books.replies_lost.saturating_sub(1);
        (status, answer, lost)
    };
    if lost {
        std::future::pending::<()>().await;
    }
    (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response()
}
