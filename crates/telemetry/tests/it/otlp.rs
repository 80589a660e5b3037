//! OTLP as SDKs speak it, without the sockets.

use std::io::Write;
use std::time::Duration;

use archipel_model::ServiceName;
use archipel_rt::{CancellationToken, Tasks};
use archipel_telemetry::otlp::{Encoding, Otlp, Reply, Signal};
use archipel_telemetry::{
    Expr, Filter, Level, LogStore, Span, SpanQuery, SpanStatus, SpanStore, Value,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Fixture {
    _dir: tempfile::TempDir,
    tasks: Tasks,
    otlp: Otlp,
    spans: SpanStore,
    logs: LogStore,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("works");
        let tasks = Tasks::new(&CancellationToken::new());
        let (spans, logs, metrics) = crate::stores(dir.path(), &tasks);
        let otlp = Otlp::new(spans.clone(), logs.clone(), metrics);
        Self { _dir: dir, tasks, otlp, spans, logs }
    }

    fn send(&self, signal: Signal, encoding: Encoding, gzip: bool, body: &[u8]) -> Reply {
        self.otlp.receive(signal, encoding, gzip, body, &ServiceName::new("orders").expect("works"))
    }

    async fn found(&self, question: &str) -> Vec<Span> {
        let expr = Expr::parse(question).expect("works");
        let query = SpanQuery { expr, ..SpanQuery::default() };
        self.spans.spans(query, 100).await.expect("works").found
    }

    async fn close(self) {
        assert_eq!(self.tasks.shutdown(Duration::from_secs(30)).await, 0);
    }
}

fn text(value: &str) -> serde_json::Value {
    json!({ "stringValue": value })
}

fn span(own: &str) -> serde_json::Value {
    json!({
        "traceId": TRACE, "spanId": own, "name": "charge card", "kind": 3,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000250000000",
        "attributes": [
            { "key": "http.status_code", "value": { "intValue": "502" } },
            { "key": "amounts", "value": { "arrayValue": { "values": [{ "intValue": 1 }] } } },
            { "key": "http.request.header.cookie", "value": text("session=hunter2") },
        ],
        "events": [{ "timeUnixNano": 1, "name": "exception",
            "attributes": [{ "key": "exception.message", "value": text("card declined") }] }],
        "status": { "code": 2, "message": "upstream said no" },
    })
}

fn request(spans: &[serde_json::Value]) -> serde_json::Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": text("impostor") },
            { "key": "service.instance.id", "value": text("orders-1") },
            { "key": "service.version", "value": text("1.4") },
        ]},
        "scopeSpans": [{ "scope": { "name": "my.library" }, "spans": spans }],
    }]})
}

fn protobuf(request: &serde_json::Value) -> Vec<u8> {
    let request: ExportTraceServiceRequest =
        serde_json::from_value(request.clone()).expect("works");
    request.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("works");
    out.finish().expect("works")
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

#[tokio::test]
async fn each_way_of_sending_stores_the_same_span() {
    let fixture = Fixture::new();
    let one = |own: &str| request(&[span(own)]);
    let json = one("00f067aa0ba902b1").to_string();
    let (proto, zipped) =
        (protobuf(&one("00f067aa0ba902b2")), gzip(&protobuf(&one("00f067aa0ba902b3"))));
    let (plain, packed) =
        (protobuf(&one("00f067aa0ba902b4")), gzip(&protobuf(&one("00f067aa0ba902b5"))));
    for (encoding, gzip, body) in [
        (Encoding::Json, false, json.into_bytes()),
        (Encoding::Protobuf, false, proto),
        (Encoding::Protobuf, true, zipped),
        (Encoding::Grpc, false, frame(0, &plain)),
        (Encoding::Grpc, true, frame(1, &packed)),
    ] {
        let reply = fixture.send(Signal::Traces, encoding, gzip, &body);
        assert_eq!((reply.status, reply.content_type), (200, encoding.content_type()));
        let code = reply.grpc.map(|(code, _)| code);
        assert_eq!(code, (encoding == Encoding::Grpc).then_some(0));
    }
    let found = fixture.found("service:orders status>=500 duration>200ms \"card declined\"").await;
    assert_eq!(found.len(), 5);
    for span in &found {
        assert_eq!(span.trace.to_string(), TRACE);
        assert_eq!(span.status, SpanStatus::Error);
        assert_eq!(span.attribute("http.response.status_code"), Some(&Value::Int(502)));
        assert_eq!(span.attribute("amounts"), Some(&Value::Json("[1]".into())));
        assert_eq!(span.duration_ns, 250_000_000);
    }
    fixture.close().await;
}

#[tokio::test]
async fn who_sends_decides_whose_it_is_and_secrets_are_hidden() {
    let fixture = Fixture::new();
    let body = request(&[span("00f067aa0ba902b7")]).to_string();
    fixture.send(Signal::Traces, Encoding::Json, false, body.as_bytes());
    assert!(fixture.found("service:impostor").await.is_empty());
    let found = fixture.found("service:orders").await;
    let of = &found[0].resource;
    assert_eq!((of.service.as_str(), of.instance.as_str()), ("orders", "orders-1"));
    assert_eq!(of.attributes["otel.service.name"], "impostor");
    assert_eq!(of.attributes["service.version"], "1.4");
    assert!(fixture.found("hunter2").await.is_empty());
    assert_eq!(
        found[0].attribute("http.request.header.cookie"),
        Some(&Value::Text("••••••".into()))
    );
    fixture.close().await;
}

#[tokio::test]
async fn a_bad_span_is_refused_alone() {
    let fixture = Fixture::new();
    let mut nameless = span("00f067aa0ba902b8");
    nameless["traceId"] = json!("00000000000000000000000000000000");
    let mut tomorrow = span("00f067aa0ba902b9");
    tomorrow["startTimeUnixNano"] = json!("9000000000000000000");
    let body = request(&[nameless, span("00f067aa0ba902b7"), tomorrow]);
    let reply = fixture.send(Signal::Traces, Encoding::Protobuf, false, &protobuf(&body));
    assert_eq!(reply.status, 200);
    let told = ExportTraceServiceResponse::decode(&*reply.body)
        .expect("works")
        .partial_success
        .expect("works");
    assert_eq!(told.rejected_spans, 2);
    assert!(told.error_message.contains("valid trace id"), "{}", told.error_message);
    assert_eq!(fixture.found("").await.len(), 1);
    fixture.close().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_for_good() {
    let fixture = Fixture::new();
    let bomb = gzip(&vec![0; 65 << 20]);
    for (encoding, gzip, body, status, why) in [
        (Encoding::Json, false, &b"{"[..], 400, "JSON"),
        (Encoding::Json, false, &b"{\"resourceSpans\":7}"[..], 400, "JSON"),
        (Encoding::Protobuf, false, &b"\xff\xff"[..], 400, "protobuf"),
        (Encoding::Protobuf, true, &b"no gzip"[..], 400, "gzip"),
        (Encoding::Protobuf, true, &bomb[..], 413, "MiB"),
        (Encoding::Grpc, false, &b"\0\0"[..], 200, "complete"),
        (Encoding::Grpc, false, &b"\0\0\0\0\x09x"[..], 200, "long"),
        (Encoding::Grpc, false, &b"\x01\0\0\0\0"[..], 200, "announced"),
    ] {
        let reply = fixture.send(Signal::Traces, encoding, gzip, body);
        assert_eq!(reply.status, status, "{why}");
        let message = match &reply.grpc {
            Some((code, message)) => {
                assert_eq!(*code, 3);
                message.clone()
            }
            None => String::from_utf8_lossy(&reply.body).into_owned(),
        };
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(fixture.send(Signal::Traces, Encoding::Json, false, b"{}").status, 200);
    fixture.close().await;
}

#[tokio::test]
async fn a_full_store_asks_for_another_try() {
    let fixture = Fixture::new();
    let many: Vec<_> = (1..2000).map(|n| span(&format!("{n:016x}"))).collect();
    let body = protobuf(&request(&many));
    // Nothing is stored before this task yields.
    let replies: Vec<Reply> =
        (0..40).map(|_| fixture.send(Signal::Traces, Encoding::Protobuf, false, &body)).collect();
    let last = replies.last().expect("works");
    assert_eq!((last.status, last.retry_after), (429, Some(1)));
    let grpc = fixture.send(Signal::Traces, Encoding::Grpc, false, &frame(0, &body));
    assert_eq!(grpc.grpc.expect("works").0, 14);
    fixture.close().await;
}

#[tokio::test]
async fn log_records_join_the_printed_lines() {
    let fixture = Fixture::new();
    let body = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{
        "timeUnixNano": "1700000000123000000", "severityNumber": 17, "traceId": TRACE,
        "spanId": "00f067aa0ba902b7", "body": text("card declined"),
        "attributes": [{ "key": "order.id", "value": text("ord_1") }],
    }]}]}]});
    let reply = fixture.send(Signal::Logs, Encoding::Json, false, body.to_string().as_bytes());
    assert_eq!(reply.status, 200);
    let filter = Filter { trace_id: Some(TRACE.to_owned()), ..Filter::default() };
    let found = fixture.logs.last(&filter, 10).await.expect("works");
    assert_eq!(found.len(), 1);
    let record = &found[0];
    assert_eq!((record.message.as_str(), record.level), ("card declined", Some(Level::Error)));
    assert_eq!((record.at_ms, record.instance.to_string()), (1_700_000_000_123, "orders-0".into()));
    assert_eq!(record.fields["order.id"], "ord_1");
    fixture.close().await;
}
