//! Sends invented spans or log lines of a shop by OTLP over gRPC, as fast as they are taken.
//!
//! `otlp_load URL traces|logs COUNT FROM [NAME: VALUE]…`, where each number from FROM up makes
//! the same span in every run. Prints the id of the trace in the middle, and says how long it took.

mod made_up;

use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_telemetry::export::{Client, Target, Verdict};
use archipel_telemetry::otlp::Signal;
use made_up::{id_of, mix, trace_of};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::{logs::v1 as logs, trace::v1 as trace};
use prost::Message;

const BATCH: u64 = 512;
const PATHS: [&str; 8] = ["orders", "cart", "items", "users", "stock", "prices", "ships", "pays"];

fn text(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn int(key: &str, value: u64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value as i64)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn resource() -> Resource {
    let attributes = vec![
        text("service.name", "orders".to_owned()),
        text("service.version", "1.4.2".to_owned()),
        text("telemetry.sdk.language", "go".to_owned()),
    ];
    Resource { attributes, ..Resource::default() }
}

fn span(n: u64, now_ns: u64) -> trace::Span {
    let what = PATHS[(mix(n) % 8) as usize];
    let failed = mix(n).is_multiple_of(50);
    let start = now_ns + n % BATCH * 1_000;
    trace::Span {
        trace_id: trace_of(n).to_vec(),
        span_id: id_of(n).to_vec(),
        parent_span_id: if n.is_multiple_of(8) { Vec::new() } else { id_of(n - 1).to_vec() },
        name: format!("GET /{what}/{{id}}"),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + mix(n) % 50_000_000,
        attributes: vec![
            text("http.request.method", "GET".to_owned()),
            text("url.path", format!("/{what}/{}", mix(n) % 100_000)),
            text("http.route", format!("/{what}/{{id}}")),
            text("client.address", format!("10.0.{}.{}", mix(n + 1) % 256, mix(n + 2) % 256)),
            text("enduser.id", format!("usr_{}", mix(n / 8) % 100_000)),
            int("http.response.status_code", if failed { 503 } else { 200 }),
            int("server.port", 8080),
        ],
        status: failed.then(|| trace::Status { message: String::new(), code: 2 }),
        ..trace::Span::default()
    }
}

fn line(n: u64, now_ns: u64) -> logs::LogRecord {
    let (order, user) = (mix(n) % 1_000_000, mix(n + 3) % 100_000);
    let body = match mix(n) % 4 {
        0 => format!("order ord_{order} accepted for usr_{user} in {} ms", mix(n + 1) % 90),
        1 => format!("reserved {} pieces of sku_{} for ord_{order}", n % 9, mix(n + 2) % 5_000),
        2 => format!("GET /orders/ord_{order} answered 200 with {} bytes", mix(n + 1) % 9_000),
        _ => format!("payment of ord_{order} taken, reference {:016x}", mix(n + 5)),
    };
    logs::LogRecord {
        time_unix_nano: now_ns + n % BATCH * 1_000,
        severity_number: if mix(n).is_multiple_of(50) { 13 } else { 9 },
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![text("logger", "shop.orders".to_owned()), int("thread.id", n % 16)],
        trace_id: trace_of(n).to_vec(),
        span_id: id_of(n).to_vec(),
        ..logs::LogRecord::default()
    }
}

fn request(signal: Signal, from: u64) -> Vec<u8> {
    let now_ns = clock::wall_ms() * 1_000_000;
    let resource = Some(resource());
    match signal {
        Signal::Logs => {
            let log_records = (from..from + BATCH).map(|n| line(n, now_ns)).collect();
            let scope_logs = vec![logs::ScopeLogs { log_records, ..Default::default() }];
            let group = logs::ResourceLogs { resource, scope_logs, ..Default::default() };
            ExportLogsServiceRequest { resource_logs: vec![group] }.encode_to_vec()
        }
        _ => {
            let spans = (from..from + BATCH).map(|n| span(n, now_ns)).collect();
            let scope_spans = vec![trace::ScopeSpans { spans, ..Default::default() }];
            let group = trace::ResourceSpans { resource, scope_spans, ..Default::default() };
            ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec()
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("the address of a receiver is missing")?;
    let signal = match args.next().as_deref() {
        Some("logs") => Signal::Logs,
        _ => Signal::Traces,
    };
    let count: u64 = args.next().ok_or("how many?")?.parse()?;
    let from: u64 = args.next().unwrap_or_default().parse().unwrap_or_default();
    let headers = args.filter_map(|header| {
        header.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    let headers = headers.collect();
    let target = Arc::new(Target { url, grpc: Some(true), headers, ca: None });
    let tasks = Tasks::new(&CancellationToken::new());
    let mut client = Client::new(&target, &tasks)?.plain();
    let began = clock::now();
    let mut again = 0;
    for at in (from..from + count).step_by(BATCH as usize) {
        let body = request(signal, at);
        loop {
            match client.send(signal, &body).await {
                Verdict::Taken => break,
                Verdict::Again(_, why) if again < 100_000 => {
                    if again == 0 {
                        eprintln!("asked to wait: {why}");
                    }
                    again += 1;
                    clock::sleep(Duration::from_millis(5)).await;
                }
                other => return Err(format!("{other:?}").into()),
            }
        }
    }
    let seconds = (clock::now() - began).as_secs_f64();
    let middle: String = trace_of(from + count / 2).iter().map(|b| format!("{b:02x}")).collect();
    println!("{{\"seconds\": {seconds:.3}, \"again\": {again}, \"trace\": \"{middle}\"}}");
    tasks.shutdown(Duration::from_millis(100)).await;
    Ok(())
}
