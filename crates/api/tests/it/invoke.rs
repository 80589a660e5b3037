//! Calls to other services by name.

use std::collections::BTreeMap;

use http::Request;
use http_body_util::Full;

use crate::world::{World, reply};

#[tokio::test]
async fn a_declared_call_goes_through_as_it_is() {
    let world = World::new().await;
    world.catalog.on(|got| {
        let mut response = reply(418, &format!("{} {}", got.method, got.target));
        response.headers_mut().insert("x-from", "catalog".parse().expect("a value"));
        response
    });
    let request = Request::patch("/v1.0/invoke/catalog/method/v1/a%20b?x=1&y=%2F")
        .header("x-own", "kept")
        .header("dapr-caller-app-id", "somebody-else")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let told = world.ask(request, "body").await;
    assert_eq!((told.status, told.text()), (418, "PATCH /v1/a%20b?x=1&y=%2F"));
    assert_eq!(told.headers["x-from"], "catalog");
    let got = world.catalog.got().remove(0);
    assert_eq!(got.body, "body");
    assert_eq!(got.headers["x-own"], "kept");
    assert_eq!(got.headers["dapr-caller-app-id"], "orders", "from the port, not from the request");
    assert_eq!(got.headers["dapr-api-token"], "catalog-app-token", "its own, not the caller's");
    let trace = got.headers["traceparent"].to_str().expect("text");
    assert!(trace.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{trace}");
}

#[tokio::test]
async fn the_target_may_stand_in_a_header() {
    let world = World::new().await;
    world.catalog.on(|got| reply(200, &got.target));
    for (name, value) in
        [("dapr-app-id", "catalog"), ("authorization", "Basic ZGFwci1hcHAtaWQ6Y2F0YWxvZw==")]
    {
        let told = world.ask(Request::get("/v1/products?q=x").header(name, value), "").await;
        assert_eq!((told.status, told.text()), (200, "/v1/products?q=x"), "{name}");
    }
    for got in world.catalog.got() {
        assert!(!got.headers.contains_key("dapr-app-id"), "{got:?}");
        assert!(!got.headers.contains_key("authorization"), "{got:?}");
    }
}

#[tokio::test]
async fn an_undeclared_call_shows_the_line_to_add() {
    let world = World::new().await;
    let told = world.ask(Request::get("/v1.0/invoke/cart/method/x"), "").await;
    assert_eq!(told.status, 403);
    let message = told.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("[services.orders]"), "{message}");
    assert!(message.contains(r#"calls = ["cart"]"#), "{message}");
    assert!(world.cart.got().is_empty());

    let told = world.ask(Request::get("/v1.0/invoke/catalgo/method/x"), "").await;
    assert_eq!(told.error(), (404, "ERR_DIRECT_INVOKE".to_owned()));
    let own = world.ask(Request::get("/v1.0/invoke/orders/method/x"), "").await;
    assert_eq!(own.status, 204, "a service may call itself");
}

#[tokio::test]
async fn a_callee_without_instances_is_an_error_of_the_call() {
    let mut world = World::new().await;
    for upstream in world.table.services.values_mut() {
        upstream.endpoints.clear();
    }
    world.gateway.apply(world.table.clone()).await;
    let told = world.ask(Request::get("/v1.0/invoke/catalog/method/x"), "").await;
    assert_eq!(told.error(), (500, "ERR_DIRECT_INVOKE".to_owned()));
    let message = told.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.starts_with("failed to invoke, id: catalog, err:"), "{message}");
}

#[tokio::test]
async fn large_bodies_stream_through() {
    let world = World::new().await;
    world.catalog.on(|got| reply(200, &got.body.len().to_string()));
    let told =
        world.ask(Request::post("/v1.0/invoke/catalog/method/x"), &"x".repeat(9 << 20)).await;
    assert_eq!((told.status, told.text()), (200, "9437184"), "no limit of publishing applies");
}

#[tokio::test]
async fn strange_requests_are_refused_and_harm_nothing() {
    let world = World::new().await;
    let mut seen = BTreeMap::new();
    for path in [
        "/v1.0/invoke/catalog/method/%00",
        "/v1.0/invoke/%00/method/x",
        "/v1.0/invoke//method/x",
        "/v1.0/invoke/http:%2F%2Fexample.org/method/x",
        "/v1.0/invoke/catalog",
        "/v1.0/publish/pubsub/%ff%fe",
        "/v1.0/publish/%20/x",
        "/v1.0/publish",
        "//",
        "/%",
    ] {
        let request = Request::post(path).header("dapr-api-token", crate::world::TOKEN);
        let request = request.body(Full::default()).expect("a request");
        let told = crate::world::send(world.addr("orders").await, request, false).await;
        assert!((200..502).contains(&told.status), "{path}: {}", told.status);
        seen.insert(path, told.status);
    }
    assert_eq!(world.ask(Request::get("/v1.0/metadata"), "").await.status, 200, "{seen:?}");
}
