use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};

use super::{Known, World, customer_of, problem};

pub(super) fn routes() -> Router<Arc<Mutex<World>>> {
    Router::new()
        .route("/v1/orders", get(all_orders))
        .route("/v1/orders/{id}", get(order))
        .route("/v1/orders/{id}/events", get(order_events))
        .route("/v1/orders/{id}/cancel", post(cancel))
        .route("/v1/orders/{id}/payment-method", post(new_card))
}

fn own(world: &World, id: &str, headers: &HeaderMap) -> Option<Value> {
    let caller = customer_of(headers)?;
    let view = world.orders.get(id)?.borrow().clone();
    (view["customer_id"] == caller).then_some(view)
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
