//! Many events in one request, and events that do not match their schema.

use archipel_broker::Reason;
use archipel_storage::Seq;
use http::Request;
use serde_json::{Value, json};

use crate::world::{Told, World, reply, topic, with_schema};

const BULK: &str = "/v1.0-alpha1/publish/bulk/pubsub/order.placed";

const SCHEMA: &str = r#"{"type":"object","required":["order_id"],
    "properties":{"order_id":{"type":"string"},"lines":{"items":{"properties":{"qty":{"minimum":1}}}}}}"#;

async fn bulk(world: &World, path: &str, entries: &Value) -> Told {
    let request = Request::post(path).header("content-type", "application/json");
    world.ask(request, &entries.to_string()).await
}

async fn stored(world: &World) -> Vec<Value> {
    let events = world.broker.read(&topic("order.placed"), Seq(1), 100).await.expect("reads");
    events.iter().map(|e| serde_json::from_str(e.event.get()).expect("JSON")).collect()
}

fn entry(id: &str, event: &Value, kind: &str) -> Value {
    json!({ "entryId": id, "event": event, "contentType": kind })
}

#[tokio::test]
async fn many_events_are_stored_in_their_order() {
    let world = World::new().await;
    let own = json!({"specversion":"1.0","id":"e4","source":"/me","type":"x","data":[1]});
    let mut typed = entry("2", &json!("hello"), "text/plain");
    typed["metadata"] = json!({"cloudevent.type": "t.v1"});
    let entries = json!([
        entry("1", &json!({"order_id": "ord_1"}), "application/json"),
        typed,
        entry("3", &json!("AQI="), "application/octet-stream"),
        entry("4", &own, "application/cloudevents+json"),
    ]);
    for path in [BULK, "/v1.0/publish/bulk/pubsub/order.placed"] {
        let told = bulk(&world, path, &entries).await;
        assert_eq!((told.status, told.text()), (204, ""), "{path}");
    }
    let events = stored(&world).await;
    assert_eq!(events.len(), 7, "the CloudEvent with an id of its own is there once: {events:#?}");
    assert_eq!(events[0]["data"], json!({"order_id": "ord_1"}));
    assert_eq!((&events[1]["data"], &events[1]["type"]), (&json!("hello"), &json!("t.v1")));
    assert_eq!(events[2]["data_base64"], "AQI=");
    assert_eq!((&events[3]["id"], &events[3]["data"]), (&json!("e4"), &json!([1])));
    let trace = |event: &Value| event["traceparent"].as_str().expect("has one").to_owned();
    let (a, b) = (trace(&events[0]), trace(&events[1]));
    assert_eq!(a[..35], b[..35], "one trace");
    assert_ne!(a, b, "a span for each");
    world.cart.until(7).await;
    assert_eq!(bulk(&world, BULK, &json!([])).await.status, 204);
}

#[tokio::test]
async fn a_request_that_is_wrong_as_a_whole_stores_nothing() {
    let world = World::new().await;
    let good = entry("1", &json!(1), "application/json");
    for (entries, says) in [
        (json!({}), "no array"),
        (json!([good, {"event": 1, "contentType": "application/json"}]), "`entryId` is missing"),
        (json!([good, good]), "twice"),
        (json!([good, entry("2", &json!(7), "text/plain")]), "no text"),
        (json!([good, entry("2", &json!("%"), "application/octet-stream")]), "base64"),
        (json!([good, entry("2", &json!(7), "image/png")]), "image/png"),
        (json!([good, entry("2", &json!(7), "")]), "`contentType` is missing"),
    ] {
        let told = bulk(&world, BULK, &entries).await;
        assert_eq!(told.error(), (400, "ERR_PUBSUB_EVENTS_SER".to_owned()), "{entries}");
        assert!(told.text().contains(says), "{entries}: {}", told.text());
    }
    for (path, status, code) in [
        ("/v1.0/publish/bulk/redis/order.placed", 404, "ERR_PUBSUB_NOT_FOUND"),
        ("/v1.0/publish/bulk/pubsub/order.shipped", 403, "ERR_PUBSUB_FORBIDDEN"),
        ("/v1.0/publish/bulk/pubsub", 404, "ERR_TOPIC_NAME_EMPTY"),
    ] {
        let told = bulk(&world, path, &json!([good])).await;
        assert_eq!(told.error(), (status, code.to_owned()), "{path}");
    }
    assert_eq!(stored(&world).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_entry_that_cannot_be_taken_keeps_back_no_other() {
    let world = World::new().await;
    with_schema(&world, SCHEMA).await;
    let entries = json!([
        entry("a", &json!({"order_id": "ord_1"}), "application/json"),
        entry("b", &json!({"order_id": 5}), "application/json"),
        entry("c", &json!({"order_id": "ord_2"}), "application/json"),
    ]);
    let told = bulk(&world, BULK, &entries).await;
    assert_eq!(told.error(), (500, "ERR_PUBSUB_PUBLISH_MESSAGE".to_owned()));
    let failed = told.json()["failedEntries"].clone();
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed}");
    assert_eq!(failed[0]["entryId"], "b");
    assert_eq!(told.headers["metadata.responseData"].as_bytes(), told.text().as_bytes());
    assert!(told.headers.contains_key("metadata.error"));
    assert!(failed[0]["error"].as_str().is_some_and(|e| e.contains("`/order_id`")), "{failed}");
    let ids: Vec<_> = stored(&world).await.iter().map(|e| e["data"]["order_id"].clone()).collect();
    assert_eq!(ids, ["ord_1", "ord_2"]);
}

#[tokio::test]
async fn an_event_that_does_not_match_its_schema_is_refused_with_the_place() {
    let world = World::new().await;
    with_schema(&world, SCHEMA).await;
    let publish = async |kind: &str, body: &str| {
        let request = Request::post("/v1.0/publish/pubsub/order.placed");
        world.ask(request.header("content-type", kind), body).await
    };
    let told =
        publish("application/json", r#"{"order_id":"x","lines":[{"qty":1},{"qty":0}]}"#).await;
    assert_eq!(told.error(), (400, "ERR_PUBSUB_EVENTS_SER".to_owned()));
    let problem = told.json();
    let message = problem["message"].as_str().expect("a message");
    for part in ["order.placed", "contracts/placed.json", "`/lines/1/qty`", "minimum of 1"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let info = &problem["details"][0];
    assert_eq!(info["reason"], "ARCHIPEL_EVENT_SCHEMA");
    assert_eq!(info["metadata"]["schema"], "contracts/placed.json");
    assert_eq!(problem["details"][1]["field_violations"][0]["field"], "/data/lines/1/qty");
    for (kind, body) in [
        ("application/json", "{}"),
        ("text/plain", "hello"),
        ("application/octet-stream", "x"),
        ("application/cloudevents+json", r#"{"id":"1","source":"s","type":"t"}"#),
    ] {
        assert_eq!(publish(kind, body).await.error().0, 400, "{kind}");
    }
    assert_eq!(stored(&world).await, Vec::<Value>::new(), "nothing of it was stored");
    assert_eq!(publish("application/json", r#"{"order_id":"x"}"#).await.status, 204);
}

#[tokio::test]
async fn a_schema_stops_no_outbox_and_its_letter_is_published_once_the_schema_is_mended() {
    let world = World::new().await;
    with_schema(&world, SCHEMA).await;
    let row = |seq: u64, data: Value| {
        let event =
            json!({"specversion":"1.0","id":seq.to_string(),"source":"/o","type":"t","data":data});
        json!({"seq": seq, "topic": "order.placed", "event": event})
    };
    let rows = [row(1, json!({"order_id": 5})), row(2, json!({"order_id": "ord_2"}))];
    world.orders.on(move |got| {
        let all = got.target.contains("after=0");
        let rows = if all { &rows[..] } else { &[] };
        reply(200, &json!({"events": rows, "last_seq": 2}).to_string())
    });
    world.broker.service_ready(&crate::world::service("orders"));
    let got = world.cart.until(1).await;
    assert_eq!(got[0].json()["data"]["order_id"], "ord_2");
    let all = archipel_broker::DeadFilter::default();
    let letters = archipel_testkit::eventually(std::time::Duration::from_secs(20), || async {
        let letters = world.broker.dead_letters(&all).await.expect("lists");
        if letters.len() == 1 { Ok(letters) } else { Err(letters) }
    })
    .await;
    let Reason::Schema { schema, detail } = &letters[0].reason else { panic!("{letters:?}") };
    assert_eq!(schema, "contracts/placed.json");
    assert!(detail.contains("/order_id"), "{detail}");
    let id = letters[0].id;
    let (_, replayed) = world.broker.replay_dead(&[id]).await.remove(0);
    let error = archipel_rt::chain(&replayed.expect_err("the schema is as it was"));
    assert!(error.contains("does not match the schema"), "{error}");

    with_schema(&world, "{}").await;
    world.broker.replay_dead(&[id]).await.remove(0).1.expect("is published");
    assert_eq!(world.cart.until(2).await[1].json()["data"]["order_id"], 5);
    assert!(world.broker.dead_letters(&all).await.expect("lists").is_empty());
}
