use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Known, World, eur, problem};

pub(super) fn routes() -> Router<Arc<Mutex<World>>> {
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

pub(super) fn all_variants(world: &World) -> Vec<Value> {
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

pub(super) async fn stock(
    State(world): Known,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
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
