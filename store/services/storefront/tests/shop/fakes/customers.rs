use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use store_kit::CustomerId;

use super::{Known, World, customer_of, problem, refused};

pub(super) fn routes() -> Router<Arc<Mutex<World>>> {
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
        return refused(422, &body);
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
    let id = customer_of(headers)?;
    world.members.values_mut().find(|m| m["customer_id"] == id)
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
