//! The six services behind the shop, shaped like the contract, in memory, each of which can be
//! told to be away or to hang.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use store_kit::{CartId, CheckoutId, Clock, CustomerId, OrderId};
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
            ("catalog", catalog()),
            ("inventory", Router::new().route("/v1/stock", get(stock))),
            ("cart", carts()),
            ("checkout", checkouts()),
            ("customers", customers()),
            ("orders", orders()),
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
    (
        StatusCode::from_u16(status).unwrap(),
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

fn eur(minor: i64) -> Value {
    json!({"amount_minor": minor, "currency": "EUR"})
}

// ---- catalog ------------------------------------------------------------------------------------

fn catalog() -> Router<Arc<Mutex<World>>> {
    Router::new()
        .route("/v1/products", get(list))
        .route("/v1/products/{slug}", get(product))
        .route("/v1/categories", get(|| async { Json(json!({"items": [
            {"path": "kitchen", "name": "Kitchen & tea", "line": "Between the kettle and the last slice.", "parent": null, "count": 2},
            {"path": "kitchen/cups", "name": "Cups & mugs", "line": "", "parent": "kitchen", "count": 1},
            {"path": "lamps", "name": "Lamps", "line": "Evenings are long.", "parent": null, "count": 1}]})) }))
        .route("/v1/variants", get(variants))
        .route("/media/{file}", get(|| async {
            ([(header::CONTENT_TYPE, "image/svg+xml")], "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 480 480\"><rect width=\"480\" height=\"480\" fill=\"#9bb\"/></svg>")
        }))
}

/// Two mugs of one product, and a lantern that is sold out; the mug's title needs escaping.
pub const MUG: &str = "Mug <i>“Hesk”</i> & friends";

fn all_variants(world: &World) -> Vec<Value> {
    let price = |sku: &str, usual: i64| eur(*world.prices.get(sku).unwrap_or(&usual));
    vec![
        json!({"sku": "MUG-1-COR", "title": MUG, "slug": "hesk-mug", "options": {"colour": "Coral", "size": "25 cl"}, "price": price("MUG-1-COR", 1890), "price_version": 1, "weight_g": 360, "image": "/media/mug-coral.svg", "badge": "in"}),
        json!({"sku": "MUG-1-INK", "title": MUG, "slug": "hesk-mug", "options": {"colour": "Ink", "size": "25 cl"}, "price": price("MUG-1-INK", 1990), "price_version": 1, "weight_g": 360, "image": "/media/mug-ink.svg", "badge": "low"}),
        json!({"sku": "LAN-1", "title": "Storm lantern", "slug": "storm-lantern", "options": {}, "price": price("LAN-1", 6490), "price_version": 1, "weight_g": 1150, "image": "/media/lantern.svg", "badge": "out"}),
    ]
}

async fn list(State(world): Known, Query(query): Query<HashMap<String, String>>) -> Response {
    let q = query.get("q").map(String::as_str).unwrap_or_default();
    let badge = query.get("badge").map(String::as_str).unwrap_or_default();
    let items = [
        json!({"id": "prd_1", "slug": "hesk-mug", "title": MUG, "subtitle": "Stoneware", "category": "kitchen/cups", "price": eur(1890), "image": "/media/mug-coral.svg", "badge": "low"}),
        json!({"id": "prd_2", "slug": "storm-lantern", "title": "Storm lantern", "subtitle": "Enamel", "category": "lamps", "price": eur(6490), "image": "/media/lantern.svg", "badge": "out"}),
    ];
    let keep =
        |i: &&Value| (badge.is_empty() || badge == "in" || i["badge"] == badge) && (q != "nothing");
    let items: Vec<&Value> = items.iter().filter(keep).collect();
    drop(world);
    let corrected = (q == "mgu").then_some("mug");
    Json(json!({"items": items, "next_cursor": null, "total": items.len(), "corrected": corrected,
        "facets": {"categories": [{"path": "kitchen", "name": "Kitchen & tea", "count": 1}]}}))
    .into_response()
}

async fn product(State(world): Known, Path(slug): Path<String>) -> Response {
    let world = world.lock().unwrap();
    let variants: Vec<Value> =
        all_variants(&world).into_iter().filter(|v| v["slug"] == slug.as_str()).collect();
    let Some(first) = variants.first() else { return problem(404, "not-found") };
    Json(json!({"id": "prd_1", "slug": slug, "title": first["title"], "subtitle": "Stoneware", "description": "A <b>good</b> one.",
        "category": "kitchen/cups", "attributes": {"Material": "Stoneware"}, "image": first["image"], "variants": variants}))
    .into_response()
}

async fn variants(
    State(world): Known,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let world = world.lock().unwrap();
    let all = all_variants(&world);
    let items: Vec<&Value> =
        query["sku"].split(',').filter_map(|sku| all.iter().find(|v| v["sku"] == sku)).collect();
    Json(json!({ "items": items }))
}

async fn stock(State(world): Known, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let world = world.lock().unwrap();
    let level = |free: i64| {
        if free <= 0 {
            "out"
        } else if free <= 3 {
            "low"
        } else {
            "in"
        }
    };
    let items: Vec<Value> = query["sku"]
        .split(',')
        .filter_map(|sku| world.stock.get(sku).map(|free| (sku, *free)))
        .map(|(sku, free)| json!({"sku": sku, "on_hand": free, "reserved": 0, "free": free, "level": level(free)}))
        .collect();
    Json(json!({ "items": items }))
}

// ---- cart ---------------------------------------------------------------------------------------

fn carts() -> Router<Arc<Mutex<World>>> {
    Router::new()
        .route("/v1/carts", post(new_cart))
        .route("/v1/carts/{id}", get(read_cart).post(merge))
        .route("/v1/carts/{id}/lines/{sku}", put(put_line))
        .route("/v1/carts/{id}/lines/{sku}", delete(drop_line))
}

async fn new_cart(State(world): Known, Json(body): Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let owner = body["owner"].clone();
    let owned = world
        .carts
        .values()
        .find(|c| !owner.is_null() && c["owner"] == owner && c["state"] == "OPEN")
        .cloned();
    let cart = owned.unwrap_or_else(|| {
        json!({"id": CartId::new(), "owner": owner, "state": "OPEN", "version": 1, "currency": "EUR", "lines": []})
    });
    world.carts.insert(cart["id"].as_str().unwrap().into(), cart.clone());
    (StatusCode::CREATED, Json(cart)).into_response()
}

async fn read_cart(State(world): Known, Path(id): Path<String>) -> Response {
    match world.lock().unwrap().carts.get(&id) {
        Some(cart) => Json(cart.clone()).into_response(),
        None => problem(404, "not-found"),
    }
}

async fn merge(State(world): Known, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let id = id.trim_end_matches(":merge").to_owned();
    let Some(from) = world.carts.get_mut(body["from"].as_str().unwrap()) else {
        return problem(404, "not-found");
    };
    let lines = std::mem::replace(&mut from["lines"], json!([]));
    from["state"] = json!("CLOSED");
    let cart = world.carts.get_mut(&id).unwrap();
    cart["lines"].as_array_mut().unwrap().extend(lines.as_array().unwrap().iter().cloned());
    Json(cart.clone()).into_response()
}

async fn put_line(
    State(world): Known,
    Path((id, sku)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let mut world = world.lock().unwrap();
    world.log.push(format!("put {sku} {}", body["qty"]));
    let Some(cart) = world.carts.get_mut(&id) else { return problem(404, "not-found") };
    let lines = cart["lines"].as_array_mut().unwrap();
    lines.retain(|l| l["sku"] != sku.as_str());
    lines.push(json!({"sku": sku, "qty": body["qty"], "seen_price": body["seen_price"]}));
    lines.sort_by_key(|l| l["sku"].to_string());
    Json(cart.clone()).into_response()
}

async fn drop_line(State(world): Known, Path((id, sku)): Path<(String, String)>) -> Response {
    let mut world = world.lock().unwrap();
    world.log.push(format!("drop {sku}"));
    let Some(cart) = world.carts.get_mut(&id) else { return problem(404, "not-found") };
    cart["lines"].as_array_mut().unwrap().retain(|l| l["sku"] != sku.as_str());
    StatusCode::NO_CONTENT.into_response()
}

// ---- checkout -----------------------------------------------------------------------------------

fn checkouts() -> Router<Arc<Mutex<World>>> {
    Router::new()
        .route("/v1/checkouts", post(new_checkout))
        .route("/v1/checkouts/{id}", get(read_checkout).patch(patch_checkout))
        .route("/v1/checkouts/{id}/quote", post(quote))
        .route("/v1/checkouts/{id}/submit", post(submit))
}

async fn new_checkout(State(world): Known, Json(body): Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let checkout = json!({"id": CheckoutId::new(), "order_id": OrderId::new(), "state": "OPEN", "cart_id": body["cart_id"], "customer_id": body["customer_id"],
        "address": null, "shipping_option": null, "payment_token": null, "quote": null, "created_at": Clock::default().now(), "expires_at": Clock::default().now()});
    world.checkouts.insert(checkout["id"].as_str().unwrap().into(), checkout.clone());
    (StatusCode::CREATED, Json(checkout)).into_response()
}

async fn read_checkout(State(world): Known, Path(id): Path<String>) -> Response {
    match world.lock().unwrap().checkouts.get(&id) {
        Some(checkout) => Json(checkout.clone()).into_response(),
        None => problem(404, "not-found"),
    }
}

async fn patch_checkout(
    State(world): Known,
    Path(id): Path<String>,
    Json(change): Json<Value>,
) -> Response {
    let mut world = world.lock().unwrap();
    if change["address"]["postcode"] == "BAD" {
        let body = json!({"type": "urn:store:problem:validation", "title": "x", "status": 422, "detail": "x", "code": "validation", "trace_id": "", "retryable": false, "errors": [{"pointer": "/address/postcode", "detail": "not a postcode there is"}]});
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body.to_string(),
        )
            .into_response();
    }
    let Some(checkout) = world.checkouts.get_mut(&id) else { return problem(404, "not-found") };
    for (member, value) in change.as_object().unwrap() {
        checkout[member.as_str()] = value.clone();
    }
    Json(checkout.clone()).into_response()
}

fn quote_of(world: &World, checkout: &Value) -> Option<Value> {
    let cart = world.carts.get(checkout["cart_id"].as_str()?)?;
    let variants = all_variants(world);
    let mut subtotal = 0;
    let lines: Vec<Value> = cart["lines"]
        .as_array()?
        .iter()
        .map(|line| {
            // A sku of a real catalogue beside these fakes costs what was seen.
            let v = variants.iter().find(|v| v["sku"] == line["sku"]);
            let (title, price) = v.map_or((&line["sku"], &line["seen_price"]), |v| (&v["title"], &v["price"]));
            let (unit, qty) = (price["amount_minor"].as_i64().unwrap(), line["qty"].as_i64().unwrap());
            subtotal += unit * qty;
            json!({"sku": line["sku"], "title": title, "qty": qty, "unit": eur(unit), "line_total": eur(unit * qty)})
        })
        .collect();
    let shipping = if checkout["shipping_option"] == "express" { 1290 } else { 490 };
    let total = subtotal + shipping;
    Some(
        json!({"quote_hash": format!("{total:040x}"), "expires_at": Clock::default().now(), "lines": lines, "shipping_option": "standard", "degraded": false,
        "shipping_options": [
            {"id": "standard", "label": "Standard", "amount": eur(490), "days_min": 2, "days_max": 4},
            {"id": "express", "label": "Express", "amount": eur(1290), "days_min": 1, "days_max": 1}],
        "totals": {"subtotal": eur(subtotal), "discount": eur(0), "shipping": eur(shipping), "tax": eur(0), "tax_included": eur(total / 6), "total": eur(total)}}),
    )
}

async fn quote(State(world): Known, Path(id): Path<String>) -> Response {
    let mut world = world.lock().unwrap();
    let Some(checkout) = world.checkouts.get(&id).cloned() else {
        return problem(404, "not-found");
    };
    let cart = world.carts[checkout["cart_id"].as_str().unwrap()].clone();
    let variants = all_variants(&world);
    let changes: Vec<Value> = cart["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| {
            let now = &variants.iter().find(|v| v["sku"] == line["sku"])?["price"];
            let was = &line["seen_price"];
            (!was.is_null() && was != now)
                .then(|| json!({"sku": line["sku"], "was": was, "now": now}))
        })
        .collect();
    if !changes.is_empty() {
        let body = json!({"type": "urn:store:problem:price-changed", "title": "x", "status": 409, "detail": "x", "code": "price-changed", "trace_id": "", "retryable": false, "changes": changes});
        return (
            StatusCode::CONFLICT,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body.to_string(),
        )
            .into_response();
    }
    let Some(quote) = quote_of(&world, &checkout) else { return problem(409, "cart-empty") };
    let checkout = world.checkouts.get_mut(&id).unwrap();
    checkout["quote"] = quote.clone();
    checkout["state"] = json!("QUOTED");
    Json(quote).into_response()
}

async fn submit(
    State(world): Known,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut world = world.lock().unwrap();
    let Some(checkout) = world.checkouts.get(&id).cloned() else {
        return problem(404, "not-found");
    };
    assert!(headers.contains_key("idempotency-key"), "submit without a key");
    let order = checkout["order_id"].as_str().unwrap().to_owned();
    world.log.push(format!("submit {}", headers["idempotency-key"].to_str().unwrap()));
    if checkout["state"] != "SUBMITTED" {
        if body["quote_hash"] != checkout["quote"]["quote_hash"] {
            return problem(409, "quote-expired");
        }
        world.checkouts.get_mut(&id).unwrap()["state"] = json!("SUBMITTED");
        let cart = checkout["cart_id"].as_str().unwrap().to_owned();
        world.carts.get_mut(&cart).unwrap()["state"] = json!("CLOSED");
        let view = new_order(&checkout);
        world.orders.insert(order.clone(), watch::Sender::new(view));
    }
    (
        StatusCode::ACCEPTED,
        Json(json!({"order_id": order, "status_url": format!("/orders/{order}")})),
    )
        .into_response()
}

fn new_order(checkout: &Value) -> Value {
    let quote = &checkout["quote"];
    let now = Clock::default().now();
    json!({"id": checkout["order_id"], "status": "RECEIVED", "payment_state": "NONE", "fulfilment_state": "NONE", "created_at": now,
        "totals": quote["totals"], "lines": quote["lines"], "ship_to": checkout["address"], "tracking": null, "cancellable": true, "action": null,
        "timeline": [{"step": "received", "at": now, "text": "x"}], "customer_id": checkout["customer_id"]})
}

// ---- customers ----------------------------------------------------------------------------------

fn customers() -> Router<Arc<Mutex<World>>> {
    Router::new()
        .route("/v1/guests", post(guest))
        .route("/v1/customers", post(register))
        .route("/v1/sessions", post(sign_in))
        .route("/v1/sessions/refresh", post(refresh))
        .route("/v1/sessions/current", delete(|| async { StatusCode::NO_CONTENT }))
        .route("/v1/me", get(me).patch(|| async { Json(json!({})) }))
        .route("/v1/me/addresses", get(addresses).post(add_address))
        .route("/v1/me/addresses/{id}", delete(|| async { StatusCode::NO_CONTENT }))
}

async fn guest(State(world): Known, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    world.log.push(format!("guest {}", body["email"].as_str().unwrap()));
    let made = world.guests.entry(key).or_insert_with(|| {
        let id = CustomerId::new();
        json!({"customer_id": id, "token": format!("token-of-{id}")})
    });
    (StatusCode::CREATED, Json(made.clone())).into_response()
}

async fn register(State(world): Known, Json(body): Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let email = body["email"].as_str().unwrap().to_owned();
    if body["password"].as_str().unwrap().len() < 10 {
        let body = json!({"type": "x", "title": "x", "status": 422, "detail": "x", "code": "validation", "trace_id": "", "retryable": false, "errors": [{"pointer": "/password", "detail": "at least ten characters"}]});
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body.to_string(),
        )
            .into_response();
    }
    if world.members.contains_key(&email) {
        return problem(409, "email-taken");
    }
    let id = CustomerId::new();
    let mut member = body.clone();
    member["customer_id"] = json!(id);
    member["addresses"] = json!([]);
    world.members.insert(email, member);
    (StatusCode::CREATED, Json(json!({ "customer_id": id }))).into_response()
}

fn tokens(world: &World, id: &str, generation: usize) -> Value {
    json!({"customer_id": id, "token": format!("token-of-{id}"), "refresh_token": format!("refresh-{generation}-{id}"), "expires_in": world.token_s})
}

async fn sign_in(State(world): Known, Json(body): Json<Value>) -> Response {
    let world = world.lock().unwrap();
    let member = world.members.get(body["email"].as_str().unwrap());
    match member.filter(|m| m["password"] == body["password"]) {
        Some(member) => {
            (StatusCode::CREATED, Json(tokens(&world, member["customer_id"].as_str().unwrap(), 0)))
                .into_response()
        }
        None => problem(401, "unauthorised"),
    }
}

/// Single use: a token that was used before ends the family.
async fn refresh(State(world): Known, Json(body): Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let token = body["refresh_token"].as_str().unwrap().to_owned();
    let (generation, id) = token.trim_start_matches("refresh-").split_once('-').unwrap();
    if generation.parse::<usize>().unwrap() != world.renewals {
        world.log.push("family killed".into());
        return problem(401, "unauthorised");
    }
    world.renewals += 1;
    let answer = tokens(&world, id, world.renewals);
    Json(answer).into_response()
}

fn member_of<'w>(world: &'w mut World, headers: &HeaderMap) -> Option<&'w mut Value> {
    let token = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer token-of-")?
        .to_owned();
    world.members.values_mut().find(|m| m["customer_id"] == token.as_str())
}

async fn me(State(world): Known, headers: HeaderMap) -> Response {
    match member_of(&mut world.lock().unwrap(), &headers) {
        Some(m) => Json(json!({"customer_id": m["customer_id"], "name": m["name"], "email": m["email"], "phone": m["phone"], "locale": m["locale"]})).into_response(),
        None => problem(401, "unauthorised"),
    }
}

async fn addresses(State(world): Known, headers: HeaderMap) -> Response {
    match member_of(&mut world.lock().unwrap(), &headers) {
        Some(member) => Json(json!({ "items": member["addresses"] })).into_response(),
        None => problem(401, "unauthorised"),
    }
}

async fn add_address(State(world): Known, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    match member_of(&mut world.lock().unwrap(), &headers) {
        Some(member) => {
            let mut address = body;
            address["id"] = json!("adr_1");
            member["addresses"].as_array_mut().unwrap().push(address.clone());
            (StatusCode::CREATED, Json(address)).into_response()
        }
        None => problem(401, "unauthorised"),
    }
}

// ---- orders -------------------------------------------------------------------------------------

fn orders() -> Router<Arc<Mutex<World>>> {
    Router::new()
        .route("/v1/orders", get(all_orders))
        .route("/v1/orders/{id}", get(order))
        .route("/v1/orders/{id}/events", get(order_events))
        .route("/v1/orders/{id}/cancel", post(cancel))
        .route("/v1/orders/{id}/payment-method", post(new_card))
}

fn own(world: &World, id: &str, headers: &HeaderMap) -> Option<Value> {
    let token = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer token-of-")?
        .to_owned();
    let view = world.orders.get(id)?.borrow().clone();
    (view["customer_id"] == token.as_str()).then_some(view)
}

async fn all_orders(State(world): Known, headers: HeaderMap) -> Response {
    let world = world.lock().unwrap();
    let items: Vec<Value> =
        world.orders.keys().filter_map(|id| own(&world, id, &headers)).collect();
    Json(json!({"items": items, "next_cursor": null})).into_response()
}

async fn order(State(world): Known, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match own(&world.lock().unwrap(), &id, &headers) {
        Some(view) => Json(view).into_response(),
        None => problem(404, "not-found"),
    }
}

async fn order_events(State(world): Known, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let changes = {
        let world = world.lock().unwrap();
        if own(&world, &id, &headers).is_none() {
            return problem(404, "not-found");
        }
        let mut changes = world.orders[&id].subscribe();
        changes.mark_changed();
        changes
    };
    let events = stream::unfold(changes, |mut changes| async move {
        changes.changed().await.ok()?;
        let view = changes.borrow_and_update().clone();
        Some((Ok::<_, Infallible>(Event::default().event("order").data(view.to_string())), changes))
    });
    Sse::new(events).into_response()
}

async fn cancel(State(world): Known, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut world = world.lock().unwrap();
    let Some(view) = own(&world, &id, &headers) else { return problem(404, "not-found") };
    if view["cancellable"] != true {
        return problem(409, "too-late-to-cancel");
    }
    world.log.push(format!("cancel {id}"));
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}

async fn new_card(
    State(world): Known,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let mut world = world.lock().unwrap();
    world.log.push(format!("card {id} {}", body["payment_token"].as_str().unwrap()));
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}
