//! Ports, tokens, health, metadata.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;

use crate::world::{TOKEN, World, send, service};

fn get(path: &str) -> http::request::Builder {
    Request::get(path)
}

#[tokio::test]
async fn without_the_token_only_health_is_told() {
    let world = World::new().await;
    let orders = world.addr("orders").await;
    let bare = |path: &str| get(path).body(Full::default()).expect("a request");
    for path in ["/v1.0/healthz", "/v1.0/healthz/outbound", "/v1.0/healthz?appid=orders"] {
        let told = send(orders, bare(path), false).await;
        assert_eq!((told.status, told.text()), (204, ""), "{path}");
    }
    for path in ["/v1.0/metadata", "/v1.0/invoke/catalog/method/x", "/nothing"] {
        let told = send(orders, bare(path), false).await;
        assert_eq!((told.status, told.text()), (401, "invalid api token"), "{path}");
        assert!(told.headers["content-type"].to_str().is_ok_and(|t| t.starts_with("text/plain")));
    }
    // Another service's token is as good as none.
    let other = get("/v1.0/metadata").header("dapr-api-token", "cart-token");
    let told = send(orders, other.body(Full::default()).expect("a request"), false).await;
    assert_eq!(told.status, 401);
    let told = world.ask(get("/v1.0/healthz?appid=cart"), "").await;
    assert_eq!(told.error(), (500, "ERR_HEALTH_APPID_NOT_MATCH".to_owned()));
}

#[tokio::test]
async fn the_same_port_speaks_http2_without_tls() {
    let world = World::new().await;
    let request = get("http://127.0.0.1/v1.0/metadata").header("dapr-api-token", TOKEN);
    let request = request.body(Full::default()).expect("a request");
    let told = send(world.addr("orders").await, request, true).await;
    assert_eq!((told.status, &told.json()["id"]), (200, &json!("orders")));
}

#[tokio::test]
async fn metadata_tells_who_it_is_and_keeps_what_it_is_told() {
    let world = World::new().await;
    let told = world.ask(get("/v1.0/metadata"), "").await.json();
    assert_eq!(told["id"], "orders");
    assert_eq!(told["components"][0]["name"], "pubsub");
    assert!(told["extended"]["daprRuntimeVersion"].is_string());
    let told = world.ask(Request::put("/v1.0/metadata/colour%20scheme"), "dark").await;
    assert_eq!(told.status, 204);
    let told = world.ask(get("/v1.0/metadata"), "").await.json();
    assert_eq!(told["extended"]["colour scheme"], "dark");
}

#[tokio::test]
async fn what_is_not_served_says_so_in_the_shape_of_dapr() {
    let world = World::new().await;
    for path in ["/v1.0/configuration/store", "/v1.0/secrets/store/key", "/v1.0/jobs/x"] {
        let told = world.ask(get(path), "").await;
        assert_eq!(told.error(), (501, "ERR_API_UNIMPLEMENTED".to_owned()), "{path}");
        assert!(told.json()["message"].as_str().is_some_and(|m| m.contains(path)));
    }
    for path in ["/", "/v9.0/state", "/v1.0/nothing"] {
        let told = world.ask(get(path), "").await;
        assert_eq!(told.error(), (404, "ERR_DIRECT_INVOKE".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn ports_move_and_change_hands() {
    let mut world = World::new().await;
    let (orders, cart) = (world.addr("orders").await, world.addr("cart").await);
    world.apis[0].http_port = cart.port();
    world.apis[1].http_port = orders.port();
    assert!(world.api.apply(world.apis.clone()).await.is_empty(), "they swap");
    assert_eq!(world.addr("orders").await, cart);
    let told = world.ask(get("/v1.0/metadata"), "").await;
    assert_eq!(told.json()["id"], "orders");

    // A changed token is in force at once, on the same port.
    world.apis[0].token = "changed".to_owned();
    assert!(world.api.apply(world.apis.clone()).await.is_empty());
    assert_eq!(world.ask(get("/v1.0/metadata"), "").await.status, 401);

    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    world.apis[2].http_port = taken.local_addr().expect("bound").port();
    let errors = world.api.apply(world.apis.clone()).await;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("could not open the API of `catalog`"), "{}", errors[0]);
    drop(taken);
    assert!(world.api.apply(world.apis.clone()).await.is_empty(), "again, and it works");

    world.apis.truncate(1);
    assert!(world.api.apply(world.apis.clone()).await.is_empty());
    assert!(world.api.bound(&service("cart"), archipel_api::Side::Http).await.is_none());
    assert!(tokio::net::TcpStream::connect(orders).await.is_err(), "closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_finished_when_the_api_closes() {
    let world = World::new().await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    world.catalog.on(move |_| {
        tokio::task::block_in_place(|| {
            let held = held.lock().expect("no test panics inside");
            held.recv_timeout(std::time::Duration::from_secs(20)).expect("is released");
        });
        crate::world::reply(200, "done")
    });
    let orders = world.addr("orders").await;
    let request = Request::builder().method(Method::GET).uri("/v1.0/invoke/catalog/method/x");
    let request = request.header("dapr-api-token", TOKEN).body(Full::default()).expect("a request");
    let asking = send(orders, request, false);
    let closing = async {
        archipel_testkit::eventually(std::time::Duration::from_secs(20), || async {
            let instance = "catalog-0".parse().expect("an id");
            if world.gateway.inflight(&instance) == 1 { Ok(()) } else { Err("not sent yet") }
        })
        .await;
        let shutdown = world.api.shutdown(std::time::Duration::from_secs(20));
        tokio::pin!(shutdown);
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), &mut shutdown).await;
        assert!(early.is_err(), "it waits for the request");
        release.send(()).expect("somebody waits");
        shutdown.await
    };
    let (told, left) = tokio::join!(asking, closing);
    assert_eq!((told.status, told.text(), left), (200, "done", 0));
}
