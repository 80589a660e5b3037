//! Publishing, delivery, and outboxes over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use archipel_broker::DeadFilter;
use archipel_storage::Seq;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::world::{World, reply, topic};

const PUBLISH: &str = "/v1.0/publish/pubsub/order.placed";

#[tokio::test]
async fn what_is_published_arrives_as_a_cloud_event() {
    let world = World::new().await;
    let request = Request::post(PUBLISH)
        .header("content-type", "application/json")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let told = world.ask(request, r#"{"order_id":"ord_1","n":1.50}"#).await;
    assert_eq!((told.status, told.text()), (204, ""));
    assert!(told.headers.contains_key("traceparent"));

    let got = world.cart.until(1).await.remove(0);
    assert_eq!((got.method.clone(), got.target.as_str()), (Method::POST, "/_archipel/events"));
    assert_eq!(got.headers["content-type"], "application/cloudevents+json");
    assert_eq!(got.headers["dapr-api-token"], "cart-app-token");
    assert_eq!(got.headers["x-archipel-attempt"], "1");
    let trace = got.headers["traceparent"].to_str().expect("text");
    assert!(trace.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{trace}");
    let event = got.json();
    for (name, value) in [
        ("specversion", "1.0"),
        ("source", "orders"),
        ("type", "com.dapr.event.sent"),
        ("datacontenttype", "application/json"),
        ("topic", "order.placed"),
        ("pubsubname", "pubsub"),
    ] {
        assert_eq!(event[name], value, "{name}");
    }
    assert_eq!(event["data"]["order_id"], "ord_1");
    assert!(String::from_utf8_lossy(&got.body).contains("1.50"), "numbers keep their digits");
    assert_eq!(event["id"].as_str().map(str::len), Some(36));
}

#[tokio::test]
async fn the_request_shapes_the_event() {
    let world = World::new().await;
    let publish = async |query: &str, kind: &str, body: &str| -> Value {
        let before = world.cart.got().len();
        let request = Request::put(format!("{PUBLISH}{query}")).header("content-type", kind);
        assert_eq!(world.ask(request, body).await.status, 204, "{query} {kind}");
        world.cart.until(before + 1).await.remove(before).json()
    };
    let event =
        publish("?metadata.cloudevent.id=own&metadata.cloudevent.type=t.v1", "", "hi").await;
    assert_eq!((&event["id"], &event["type"]), (&json!("own"), &json!("t.v1")));
    assert_eq!((&event["data"], &event["datacontenttype"]), (&json!("hi"), &json!("text/plain")));
    assert!(event["traceparent"].as_str().is_some_and(|t| t.len() == 55), "a trace begins here");

    let event = publish("", "application/octet-stream", "\u{1}\u{2}").await;
    assert_eq!((&event["data_base64"], event.get("data")), (&json!("AQI="), None));

    let event = publish("?metadata.rawPayload=true", "application/json", r#"{"a":1}"#).await;
    assert_eq!(event["data_base64"], "eyJhIjoxfQ==");

    let own =
        r#"{"specversion":"1.0","id":"e1","source":"/me","type":"x","data":[1],"colour":"red"}"#;
    let event = publish("", "application/cloudevents+json", own).await;
    assert_eq!((&event["id"], &event["source"]), (&json!("e1"), &json!("/me")));
    assert_eq!((&event["colour"], &event["topic"]), (&json!("red"), &json!("order.placed")));

    let event = publish("?metadata.ttlInSeconds=3600", "application/json", "1").await;
    assert!(event["expiration"].is_string());
}

#[tokio::test]
async fn an_undeclared_topic_shows_the_line_to_add() {
    let world = World::new().await;
    let told = world.ask(Request::post("/v1.0/publish/pubsub/order.shipped"), "{}").await;
    assert_eq!(told.error(), (403, "ERR_PUBSUB_FORBIDDEN".to_owned()));
    let body = told.json();
    let message = body["message"].as_str().unwrap_or_default();
    assert!(message.contains("[services.orders]"), "{message}");
    assert!(message.contains(r#"publishes = ["order.shipped"]"#), "{message}");
    assert_eq!(body["details"][0]["reason"], "DAPR_PUBSUB_FORBIDDEN");
    assert_eq!(body["details"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
}

#[tokio::test]
async fn bad_publishes_are_refused_with_the_codes_of_dapr() {
    let world = World::new().await;
    let check = async |path: &str, kind: &str, body: &str, status: u16, code: &str| {
        let told = world.ask(Request::post(path).header("content-type", kind), body).await;
        assert_eq!(told.error(), (status, code.to_owned()), "{path} {kind}");
    };
    let json = "application/json";
    let event = "application/cloudevents+json";
    check("/v1.0/publish/redis/order.placed", json, "1", 404, "ERR_PUBSUB_NOT_FOUND").await;
    check("/v1.0/publish/pubsub/", json, "1", 404, "ERR_TOPIC_NAME_EMPTY").await;
    check("/v1.0/publish//order.placed", json, "1", 404, "ERR_PUBSUB_EMPTY").await;
    let path = format!("{PUBLISH}?metadata.rawPayload=perhaps");
    check(&path, json, "1", 400, "ERR_PUBSUB_REQUEST_METADATA").await;
    let path = format!("{PUBLISH}?metadata.ttlInSeconds=soon");
    check(&path, json, "1", 400, "ERR_PUBSUB_REQUEST_METADATA").await;
    check(PUBLISH, event, "[]", 500, "ERR_PUBSUB_CLOUD_EVENTS_SER").await;
    check(PUBLISH, event, r#"{"specversion":"0.3"}"#, 400, "ERR_PUBSUB_EVENTS_SER").await;
    let large = "x".repeat(1 << 20);
    check(PUBLISH, "text/plain", &large, 413, "ERR_PUBSUB_PUBLISH_MESSAGE").await;
    let huge = "x".repeat(5 << 20);
    check(PUBLISH, "text/plain", &huge, 400, "ERR_BODY_READ").await;
    assert_eq!(world.broker.topics()[0].count, 0);
}

#[tokio::test]
async fn a_failing_subscriber_gets_the_event_again_with_the_number_of_the_attempt() {
    let world = World::new().await;
    let tries = AtomicUsize::new(0);
    world.cart.on(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => reply(500, "boom"),
        1 => reply(200, r#"{"status":"RETRY"}"#),
        _ => reply(200, r#"{"status":"SUCCESS"}"#),
    });
    world.ask(Request::post(PUBLISH), "x").await;
    let got = world.cart.until(3).await;
    let attempts: Vec<_> = got.iter().map(|g| g.headers["x-archipel-attempt"].clone()).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    assert_eq!(got[0].body, got[2].body);
}

#[tokio::test]
async fn a_subscriber_that_is_not_there_gets_its_events_when_it_comes() {
    let mut world = World::new().await;
    let cart = world.table.services.remove("cart").expect("is there");
    let absent = archipel_gateway::Upstream { endpoints: Vec::new(), ..cart.clone() };
    let nobody_listens = {
        let mut gone = cart.clone();
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        gone.endpoints[0].addr = free.local_addr().expect("bound");
        gone
    };
    let mut published = 0;
    for without in [None, Some(absent), Some(nobody_listens)] {
        match without {
            Some(upstream) => {
                world.table.services.insert("cart".parse().expect("a name"), upstream)
            }
            None => world.table.services.remove("cart"),
        };
        world.gateway.apply(world.table.clone()).await;
        assert_eq!(world.ask(Request::post(PUBLISH), "x").await.status, 204);
        published += 1;
        archipel_testkit::eventually(Duration::from_secs(20), || async {
            let view = world.broker.topics()[0].subscribers[0].clone();
            match view.state {
                archipel_broker::SubscriberState::Absent => Ok(()),
                _ => Err(view),
            }
        })
        .await;
        world.table.services.insert("cart".parse().expect("a name"), cart.clone());
        world.gateway.apply(world.table.clone()).await;
        world.broker.service_ready(&"cart".parse().expect("a name"));
        let got = world.cart.until(published).await;
        assert_eq!(got[published - 1].headers["x-archipel-attempt"], "1", "nothing was counted");
    }
    let letters = world.broker.dead_letters(&DeadFilter::default()).await.expect("lists");
    assert!(letters.is_empty());
}

#[tokio::test]
async fn an_outbox_is_pulled_over_http() {
    let world = World::new().await;
    let first = json!({"events": [
        {"seq": 17, "topic": "order.placed", "event": {"specversion": "1.0", "id": "evt_1",
         "source": "/store/orders", "type": "t", "data": {"n": 1}}},
        {"seq": 18, "topic": "order.unknown", "event": {"specversion": "1.0", "id": "evt_2",
         "source": "/store/orders", "type": "t"}},
    ], "last_seq": 18});
    world.orders.on(move |got| match got.target.contains("after=0&") {
        true => reply(200, &first.to_string()),
        false => reply(200, r#"{"events":[],"last_seq":18}"#),
    });
    let got = world.cart.until(1).await.remove(0);
    assert_eq!(got.json()["id"], "evt_1");
    let pulls = world.orders.until(2).await;
    assert_eq!(pulls[0].target, "/_archipel/outbox?after=0&limit=500&wait_ms=1000");
    assert_eq!(pulls[0].headers["dapr-api-token"], "orders-app-token");
    assert!(pulls.iter().any(|pull| pull.target.contains("after=18&")), "{pulls:?}");
    let letters = world.broker.dead_letters(&DeadFilter::default()).await.expect("lists");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason.to_string(), "undeclared topic");
    let stored = world.broker.read(&topic("order.placed"), Seq(1), 10).await.expect("reads");
    assert_eq!(stored.len(), 1);
}
