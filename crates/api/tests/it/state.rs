//! The state API, as clients of Dapr use it.

use http::Request;
use serde_json::json;

use crate::world::World;

const API: &str = "/v1.0/state/statestore";

#[tokio::test]
async fn what_is_saved_is_read_guarded_and_deleted() {
    let world = World::new().await;
    let post =
        async |tail: &str, body: &str| world.ask(Request::post(format!("{API}{tail}")), body).await;
    let get = async |key: &str| world.ask(Request::get(format!("{API}/{key}")), "").await;
    let body = r#"[{"key":"a","value":{ "n" : 1.0, "t": "a \" b" },"metadata":{"ttlInSeconds":"60"}},
        {"key":"b","value":"x"}]"#;
    let told = post("", body).await;
    assert_eq!((told.status, told.text()), (204, ""));
    let told = get("a").await;
    assert_eq!((told.status, told.text()), (200, r#"{"n":1.0,"t":"a \" b"}"#));
    assert!(told.headers.contains_key("metadata.ttlExpireTime"));
    let etag = told.headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(get("nobody").await.status, 204);

    let stale = json!([{ "key": "a", "value": 2, "etag": "0" }]).to_string();
    assert_eq!(post("", &stale).await.error(), (409, "ERR_STATE_SAVE".to_owned()));
    let bad = json!([{ "key": "a", "value": 2, "etag": "x" }]).to_string();
    assert_eq!(post("", &bad).await.error(), (400, "ERR_STATE_SAVE".to_owned()));
    let first = r#"[{"key":"a","value":2,"options":{"concurrency":"first-write"}}]"#;
    assert_eq!(post("", first).await.error().0, 409);
    let delete = Request::delete(format!("{API}/a"));
    let told = world.ask(delete.header("if-match", "0"), "").await;
    assert_eq!(told.error(), (409, "ERR_STATE_DELETE".to_owned()));

    let told = post("/bulk", r#"{"keys":["b","nobody"]}"#).await.json();
    assert_eq!((&told[0]["data"], &told[1]), (&json!("x"), &json!({ "key": "nobody" })));
    assert_eq!(post("/bulk", r#"{"keys":[]}"#).await.text(), "[]");
    let failing = json!({ "operations": [
        { "operation": "upsert", "request": { "key": "c", "value": 1 } },
        { "operation": "delete", "request": { "key": "b", "etag": "0" } },
    ]});
    let told = post("/transaction", &failing.to_string()).await;
    assert_eq!(told.error(), (500, "ERR_STATE_TRANSACTION".to_owned()));
    assert_eq!(get("c").await.status, 204, "none of it happened");
    let delete = Request::delete(format!("{API}/a")).header("if-match", etag);
    assert_eq!(world.ask(delete, "").await.status, 204);
    assert_eq!(get("a").await.status, 204);
}

#[tokio::test]
async fn refusals_have_the_shape_of_dapr() {
    let world = World::new().await;
    let post = async |path: &str, body: &str| world.ask(Request::post(path), body).await;
    let told = post("/v1.0/state/redis", "[]").await;
    assert_eq!(told.error(), (400, "ERR_STATE_STORE_NOT_FOUND".to_owned()));
    assert_eq!(told.json()["details"].as_array().map(Vec::len), Some(1));
    for body in ["", "{}", "[{}]", r#"[{"key":"a","etag":1}]"#] {
        let told = post(API, body).await;
        assert_eq!(told.error(), (400, "ERR_MALFORMED_REQUEST".to_owned()), "{body}");
    }
    let told = post(API, r#"[{"key":"a||b","value":1}]"#).await;
    assert_eq!(told.error(), (400, "ERR_MALFORMED_REQUEST".to_owned()));
    let details = told.json()["details"].clone();
    assert_eq!(details[0]["resource_type"], "state");
    assert_eq!(details[1]["reason"], "DAPR_STATE_ILLEGAL_KEY");
    assert_eq!(details[2]["field_violations"][0]["field"], "a||b");
    let told = post("/v1.0-alpha1/state/statestore/query", "{}").await;
    assert_eq!(told.error(), (500, "ERR_STATE_STORE_NOT_SUPPORTED".to_owned()));
}
