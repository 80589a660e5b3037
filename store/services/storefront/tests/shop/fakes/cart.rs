use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use store_kit::CartId;

use super::{Known, World, problem};

pub(super) fn routes() -> Router<Arc<Mutex<World>>> {
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
