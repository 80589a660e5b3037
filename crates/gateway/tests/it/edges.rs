//! From service to service: identity, trace, headers.

use archipel_gateway::{Body, Caller, Problem, Refusal, Upstream};
use archipel_model::EdgePolicy;
use http::{Request, StatusCode};

use crate::support::*;

#[tokio::test]
async fn the_caller_is_known_by_its_port_and_not_by_what_it_says() {
    let world = World::new();
    let app = world.app(ok).await;
    let upstream = Upstream {
        endpoints: endpoints("catalog", &[app.addr]),
        app_token: Some("s3cret".to_owned()),
        ..Upstream::default()
    };
    world.apply(Plan::default().upstream("catalog", upstream).edge("catalog").table()).await;
    let request = Request::get("/items?x=1")
        .header("host", "localhost:1")
        .header("dapr-api-token", "guess")
        .header("dapr-caller-app-id", "payments")
        .header("dapr-callee-app-id", "other")
        .header("x-forwarded-for", "10.1.1.1")
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("x-kept", "2")
        .body(Body::empty())
        .unwrap();
    let response = world.send(world.addr("catalog"), request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let seen = app.last();
    assert_eq!(seen.line, "GET /items?x=1");
    assert_eq!(seen.headers["dapr-api-token"], "s3cret");
    assert_eq!(seen.headers["dapr-caller-app-id"], "web");
    assert_eq!(seen.headers["dapr-callee-app-id"], "catalog");
    assert_eq!(seen.headers["host"], "localhost:1");
    assert_eq!(seen.headers["x-forwarded-for"], "10.1.1.1");
    assert_eq!(seen.headers["x-kept"], "2");
    assert!(!seen.headers.contains_key("x-private"));
}

#[tokio::test]
async fn traces_and_request_ids_pass_or_begin_here() {
    let world = World::new();
    let app = world.app(ok).await;
    world.apply(Plan::default().service("catalog", &[app.addr]).edge("catalog").table()).await;
    let addr = world.addr("catalog");

    let response = world.get(addr, "/").await;
    let seen = app.last();
    let trace = seen.headers["traceparent"].to_str().unwrap();
    assert_eq!(trace.len(), 55);
    assert_eq!(response.headers()["x-request-id"], seen.headers["x-request-id"]);
    assert_eq!(seen.headers["x-request-id"], trace[3..35]);

    let mut request = get("/");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    request.headers_mut().insert("tracestate", "a=b".parse().unwrap());
    request.headers_mut().insert("x-request-id", "mine".parse().unwrap());
    let response = world.send(addr, request).await;
    let seen = app.last();
    let trace = seen.headers["traceparent"].to_str().unwrap();
    assert_eq!(trace[..36], parent[..36]);
    assert_ne!(trace[36..52], parent[36..52]);
    assert_eq!(trace[53..], parent[53..]);
    assert_eq!(seen.headers["tracestate"], "a=b");
    assert_eq!(seen.headers["x-request-id"], "mine");
    assert_eq!(response.headers()["x-request-id"], "mine");
}

#[tokio::test]
async fn calls_from_inside_take_the_same_path() {
    let world = World::new();
    let app = world.app(echo).await;
    world.apply(Plan::default().service("catalog", &[app.addr]).table()).await;
    let call = |caller, callee: &'static str| {
        let request = Request::post("/x").body(Body::from("hello")).unwrap();
        let gateway = world.gateway.clone();
        async move { gateway.call(caller, &name(callee), &EdgePolicy::default(), request).await }
    };
    let response = call(Caller::Service(name("orders")), "catalog").await.unwrap();
    assert_eq!(response.into_body().collect(100).await.unwrap(), "hello");
    let seen = app.last();
    assert_eq!(seen.headers["dapr-caller-app-id"], "orders");
    assert_eq!(seen.headers["host"], "catalog");
    call(Caller::Archipel, "catalog").await.unwrap();
    assert!(!app.last().headers.contains_key("dapr-caller-app-id"));

    let refusal = call(Caller::Archipel, "nobody").await.unwrap_err();
    assert_eq!(refusal.problem, Problem::UnknownService);
    let told = Refusal::undeclared(&name("cart"), &name("payments"));
    assert!(told.detail.contains("[services.cart.calls] payments = {}"), "{told}");
}

#[tokio::test]
async fn foreign_systems_get_their_prefix_and_host_and_none_of_our_secrets() {
    let world = World::new();
    let app = world.app(ok).await;
    let external = Upstream {
        external: Some(format!("http://{}/v2/", app.addr)),
        app_token: Some("s3cret".to_owned()),
        ..Upstream::default()
    };
    let tls = Upstream { external: Some("https://example.org".to_owned()), ..Upstream::default() };
    let plan = Plan::default().upstream("legacy", external).upstream("bank", tls);
    world.apply(plan.edge("legacy").edge("bank").table()).await;
    assert_eq!(world.get(world.addr("legacy"), "/a?b=1").await.status(), 200);
    let seen = app.last();
    assert_eq!(seen.line, "GET /v2/a?b=1");
    assert_eq!(seen.headers["host"], app.addr.to_string());
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("dapr-")));
    let response = world.get(world.addr("bank"), "/").await;
    assert_eq!(response.status(), 501);
    assert!(text(response).await.contains("needs TLS"));
}
