use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use store_kit::{CheckoutId, Clock, OrderId};
use tokio::sync::watch;

use super::catalog::all_variants;
use super::{Known, World, eur, problem, refused};

pub(super) fn routes() -> Router<Arc<Mutex<World>>> {
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
        return refused(422, &body);
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
        return refused(409, &body);
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
