//! The public entrance: which request goes where, and what the outside cannot claim.

use archipel_gateway::Body;
use archipel_model::Bytes as Size;
use http::{Request, StatusCode};

use crate::support::*;

#[tokio::test]
async fn the_most_specific_route_gets_the_request() {
    let world = World::new();
    let (shop, api, admin) = (world.app(ok).await, world.app(ok).await, world.app(ok).await);
    let mut stripped = route("/api/** -> api");
    stripped.strip = Some("/api".to_owned());
    let lines = ["/** -> shop", "admin.local/** -> admin", "POST /orders -> api"];
    let routes = lines.into_iter().map(route).chain([stripped]).collect();
    let plan = Plan::default().service("shop", &[shop.addr]).service("api", &[api.addr]);
    world.apply(plan.service("admin", &[admin.addr]).public_routes(&[], routes).table()).await;
    let addr = world.addr("public");
    world.get(addr, "/x").await;
    assert_eq!(shop.last().line, "GET /x");
    world.get(addr, "/api/v1/items%20all?q=/a").await;
    assert_eq!(api.last().line, "GET /v1/items%20all?q=/a");
    world.get(addr, "/api").await;
    assert_eq!(api.last().line, "GET /");
    world.send(addr, post("/orders", "x")).await;
    assert_eq!(api.last().line, "POST /orders");
    world.get(addr, "/orders").await;
    assert_eq!(shop.last().line, "GET /orders");
    let mut request = get("/x");
    request.headers_mut().insert("host", "ADMIN.local:8080".parse().unwrap());
    world.send(addr, request).await;
    assert_eq!(admin.last().line, "GET /x");
    // A request written for a proxy: its URI decides, and the app sees one host.
    let request = Request::get("http://admin.local/y").header("host", "shop.local");
    world.send(addr, request.body(Body::empty()).unwrap()).await;
    assert_eq!(admin.last().line, "GET /y");
    assert_eq!(admin.last().headers["host"], "admin.local");
}

#[tokio::test]
async fn the_outside_cannot_say_who_it_is() {
    let world = World::new();
    let app = world.app(ok).await;
    world
        .apply(Plan::default().service("shop", &[app.addr]).public(&[], &["/** -> shop"]).table())
        .await;
    let mut request = get("/");
    for name in
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip"]
    {
        request.headers_mut().insert(name, "evil".parse().unwrap());
    }
    for name in ["dapr-api-token", "dapr-caller-app-id", "dapr-callee-app-id"] {
        request.headers_mut().insert(name, "evil".parse().unwrap());
    }
    world.send(world.addr("public"), request).await;
    let seen = app.last();
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
    assert_eq!(seen.headers["x-forwarded-host"], "shop.local");
    assert_eq!(seen.headers["host"], "shop.local");
    assert_eq!(seen.headers["dapr-callee-app-id"], "shop");
    assert!(seen.headers.values().all(|value| value != "evil"), "{seen:?}");
}

#[tokio::test]
async fn a_route_cannot_be_bypassed_by_writing_its_path_differently() {
    let world = World::new();
    let (open, closed) = (world.app(ok).await, world.app(ok).await);
    let plan = Plan::default().service("open", &[open.addr]).service("closed", &[closed.addr]);
    world.apply(plan.public(&[], &["/** -> open", "/admin/** -> closed"]).table()).await;
    let addr = world.addr("public");
    for path in ["/%61dmin/x", "/admin;x=1/y", "/admin"] {
        world.get(addr, path).await;
        assert_eq!(closed.last().line, format!("GET {path}"));
    }
    for path in [
        "//admin/x",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x%2f..%2fadmin",
        "/x/..;/admin",
        "/./admin",
        "/x%00/admin",
        "/x%5cadmin",
    ] {
        let response = world.get(addr, path).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(text(response).await.contains("two readings"), "{path}");
    }
    assert_eq!(open.count(), 0);
}

#[tokio::test]
async fn what_no_route_takes_is_told_apart() {
    let world = World::new();
    let app = world.app(ok).await;
    let plan = Plan::default().service("shop", &[app.addr]);
    world.apply(plan.public(&["shop.local"], &["GET /a -> shop", "PUT /a -> shop"]).table()).await;
    let addr = world.addr("public");
    let check = |request: Request<Body>, status: u16, slug: &'static str| {
        let world = &world;
        async move {
            let response = world.send(addr, request).await;
            assert_eq!(response.status(), status, "{slug}");
            let refused = response.headers()["x-archipel-refused"].to_str().unwrap().to_owned();
            assert!(refused.starts_with(&format!("{slug}; ")), "{refused}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert!(response.headers().contains_key("x-request-id"));
            let allow = response.headers().get("allow").cloned();
            let json: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(json["type"], format!("urn:archipel:problem:{slug}"));
            assert_eq!(json["status"], status);
            allow
        }
    };
    check(get("/b"), 404, "no-route").await;
    let allow = check(post("/a", "x"), 405, "method-not-allowed").await;
    assert_eq!(allow.unwrap(), "GET, PUT");
    let foreign = Request::get("/a").header("host", "evil.local").body(Body::empty()).unwrap();
    check(foreign, 421, "host-unknown").await;
    assert_eq!(app.count(), 0);
    let nowhere = world.gateway.counters();
    let nowhere = nowhere.series.iter().find(|s| s.key.callee.is_none()).unwrap();
    assert_eq!((nowhere.requests(), nowhere.refused), (3, 3));
}

#[tokio::test]
async fn a_person_gets_a_page() {
    let world = World::new();
    world.apply(Plan::default().service("shop", &[]).public(&[], &["/** -> shop"]).table()).await;
    let mut request = get("/a");
    let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
    request.headers_mut().insert("accept", accept.parse().unwrap());
    let response = world.send(world.addr("public"), request).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert!(text(response).await.contains("<h1>No instance is ready to serve</h1>"));
}

#[tokio::test]
async fn a_body_may_not_outgrow_its_route() {
    let world = World::new();
    let app = world.app(echo).await;
    let mut small = route("/small -> shop");
    small.body_max = Some(Size(1000));
    let plan = Plan::default().service("shop", &[app.addr]);
    world.apply(plan.public_routes(&[], vec![small, route("/** -> shop")]).table()).await;
    let addr = world.addr("public");
    let known = world.send(addr, post("/small", vec![b'x'; 1001])).await;
    assert_eq!(known.status(), 413);
    assert_eq!(app.count(), 0, "it was refused before a byte of the body was read");
    let chunks = |n: usize| {
        let piece = bytes::Bytes::from_static(&[b'x'; 100]);
        let pieces = std::iter::repeat_n(piece, n).map(Ok::<_, std::io::Error>);
        Body::stream(futures_util::stream::iter(pieces))
    };
    let grown = world.send(addr, post("/small", chunks(11))).await;
    assert_eq!(grown.status(), 413);
    let fits = world.send(addr, post("/small", chunks(10))).await;
    assert_eq!(text(fits).await.len(), 1000);
    let free = world.send(addr, post("/large", vec![b'x'; 100_000])).await;
    assert_eq!(text(free).await.len(), 100_000);
}
