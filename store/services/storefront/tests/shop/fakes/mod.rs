//! The six services behind the shop, shaped like the contract, in memory, each of which can be
//! told to be away or to hang.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod cart;
mod catalog;
mod checkout;
mod customers;
mod orders;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::watch;

pub const NAMES: [&str; 6] = ["catalog", "inventory", "cart", "checkout", "customers", "orders"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Well = 0,
    /// 503 at once.
    Away = 1,
    /// No answer at all.
    Hanging = 2,
}

/// What the fakes know.
#[derive(Default)]
pub struct World {
    pub stock: HashMap<String, i64>,
    pub prices: HashMap<String, i64>,
    carts: HashMap<String, Value>,
    checkouts: HashMap<String, Value>,
    guests: HashMap<String, Value>,
    members: HashMap<String, Value>,
    pub orders: HashMap<String, watch::Sender<Value>>,
    /// Every command that changed something, in order.
    pub log: Vec<String>,
    /// Requests with a bearer that was renewed.
    renewals: usize,
    /// The lifetime that members' tokens are given, in seconds.
    pub token_s: i64,
}

pub struct Fakes {
    pub world: Arc<Mutex<World>>,
    moods: HashMap<&'static str, Arc<AtomicU8>>,
    asked: HashMap<&'static str, Arc<AtomicUsize>>,
    pub urls: HashMap<&'static str, String>,
}

type Known = State<Arc<Mutex<World>>>;

impl Fakes {
    /// Starts all six on free ports, on the runtime that runs now.
    pub async fn start() -> Self {
        let world = World {
            token_s: 600,
            stock: [("MUG-1-COR".into(), 12), ("MUG-1-INK".into(), 1), ("LAN-1".into(), 0)].into(),
            ..World::default()
        };
        let world = Arc::new(Mutex::new(world));
        let mut fakes = Self {
            world: Arc::clone(&world),
            moods: HashMap::new(),
            asked: HashMap::new(),
            urls: HashMap::new(),
        };
        for (name, routes) in [
            ("catalog", catalog::routes()),
            ("inventory", Router::new().route("/v1/stock", get(catalog::stock))),
            ("cart", cart::routes()),
            ("checkout", checkout::routes()),
            ("customers", customers::routes()),
            ("orders", orders::routes()),
        ] {
            let mood = Arc::new(AtomicU8::new(Mood::Well as u8));
            let asked = Arc::new(AtomicUsize::new(0));
            let of_layer = (Arc::clone(&mood), Arc::clone(&asked));
            let app = routes
                .with_state(Arc::clone(&world))
                .layer(from_fn_with_state(of_layer, in_a_mood));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            fakes.urls.insert(name, format!("http://{}", listener.local_addr().unwrap()));
            tokio::spawn(async move { axum::serve(listener, app).await });
            fakes.moods.insert(name, mood);
            fakes.asked.insert(name, asked);
        }
        fakes
    }

    pub fn set(&self, name: &str, mood: Mood) {
        self.moods[name].store(mood as u8, Ordering::SeqCst);
    }

    /// How often a service was asked anything.
    pub fn asked(&self, name: &str) -> usize {
        self.asked[name].load(Ordering::SeqCst)
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    /// What cart does when an order is cancelled.
    pub fn reopen_carts(&self) {
        self.with(|world| world.carts.values_mut().for_each(|cart| cart["state"] = json!("OPEN")));
    }

    /// Moves an order on.
    pub fn order(&self, id: &str, change: impl FnOnce(&mut Value)) {
        self.with(|world| world.orders[id].send_modify(change));
    }
}

async fn in_a_mood(
    State((mood, asked)): State<(Arc<AtomicU8>, Arc<AtomicUsize>)>,
    request: Request,
    next: Next,
) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    match mood.load(Ordering::SeqCst) {
        0 => next.run(request).await,
        1 => problem(503, "overloaded"),
        _ => std::future::pending().await,
    }
}

fn problem(status: u16, code: &str) -> Response {
    let body = json!({"type": format!("urn:store:problem:{code}"), "title": code, "status": status, "detail": "", "code": code, "trace_id": "", "retryable": status == 503});
    refused(status, &body)
}

fn refused(status: u16, body: &Value) -> Response {
    (
        StatusCode::from_u16(status).unwrap(),
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

/// Whose token a request carries.
fn customer_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer token-of-")
}

fn eur(minor: i64) -> Value {
    json!({"amount_minor": minor, "currency": "EUR"})
}
