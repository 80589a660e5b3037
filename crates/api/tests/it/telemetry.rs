//! OTLP on the port of the API.

use archipel_model::TraceId;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::world::{TOKEN, Told, World, send};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// One span, as protobuf: a request with one resource without attributes.
fn protobuf(own: u8) -> Vec<u8> {
    let nested = |tag: u8, inner: &[u8]| [&[tag << 3 | 2, inner.len() as u8], inner].concat();
    let trace: TraceId = TRACE.parse().expect("works");
    let name = nested(5, b"charge");
    let span = [nested(1, trace.bytes()), nested(2, &[own; 8]), name].concat();
    nested(1, &nested(2, &nested(2, &span)))
}

async fn post(world: &World, path: &str, kind: &str, token: &str, body: Vec<u8>, h2: bool) -> Told {
    let addr = world.addr("orders").await;
    let request = Request::post(format!("http://{addr}{path}"))
        .header("host", addr.to_string())
        .header("content-type", kind)
        .header("dapr-api-token", token)
        .body(Full::from(Bytes::from(body)))
        .expect("works");
    send(addr, request, h2).await
}

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

fn frame(message: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, message.len() as u8], message].concat()
}

#[tokio::test]
async fn spans_come_by_http_and_by_grpc_to_one_port() {
    let world = World::new().await;
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{TRACE}","spanId":"00f067aa0ba902b7","name":"charge"}}]}}]}}]}}"#
    );
    let told =
        post(&world, "/v1/traces", "application/json", TOKEN, json.into_bytes(), false).await;
    assert_eq!(
        (told.status, told.headers["content-type"].to_str().expect("works")),
        (200, "application/json")
    );
    let told = post(&world, "/v1/traces", "application/x-protobuf", TOKEN, protobuf(1), true).await;
    assert_eq!((told.status, told.body.len()), (200, 0));
    let told = post(&world, GRPC, "application/grpc", TOKEN, frame(&protobuf(2)), true).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.trailers.expect("works")["grpc-status"], "0");
    assert_eq!(&told.body[..], [0; 5]);
    let spans = world.spans.trace(TRACE.parse().expect("works")).await.expect("works");
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| span.resource.service == "orders" && span.name == "charge"));
}

#[tokio::test]
async fn telemetry_without_the_token_is_refused() {
    let world = World::new().await;
    let told = post(&world, "/v1/traces", "application/x-protobuf", "x", protobuf(1), false).await;
    assert_eq!(told.status, 401);
    let told = post(&world, GRPC, "application/grpc", "x", frame(&protobuf(1)), true).await;
    assert_eq!((told.status, told.headers["grpc-status"].to_str().expect("works")), (200, "16"));
    let told = post(&world, "/v1/traces", "text/plain", TOKEN, protobuf(1), false).await;
    assert_eq!(told.status, 415);
    let told = post(&world, GRPC, "application/grpc", TOKEN, vec![1, 2], true).await;
    assert_eq!(told.headers["grpc-status"], "3");
    assert!(world.spans.trace(TRACE.parse().expect("works")).await.expect("works").is_empty());
}
