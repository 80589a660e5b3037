//! How fast spans are taken, stored and found: a million of a shop's, as OTLP and from memory.
//! Run with `--release`. Times are of the whole process, so that compression counts.

mod made_up;

use std::sync::Arc;

use archipel_model::{ServiceName, SpanId, TraceId};
use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_telemetry::otlp::{Encoding, Otlp, Signal};
use archipel_telemetry::{
    Expr, Hop, HopKind, Kind, LogStore, MetricPolicy, MetricStore, Resource, Span, SpanPolicy,
    SpanQuery, SpanStatus, SpanStore, Value,
};
use made_up::{id_of, mix, trace_of};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as wire;
use prost::Message;

const SPANS: u64 = 1_000_000;
const BATCH: u64 = 512;
const SERVICES: u64 = 20;

fn texts(n: u64) -> [(&'static str, String); 5] {
    [
        ("url.path", format!("/orders/{}", mix(n) % 100_000)),
        ("http.route", "/orders/{id}".to_owned()),
        ("client.address", format!("10.0.{}.{}", mix(n + 1) % 256, mix(n + 2) % 256)),
        ("enduser.id", format!("usr_{}", mix(n / 8) % 100_000)),
        ("db.query.text", "SELECT * FROM orders WHERE id = $1".to_owned()),
    ]
}

fn status(n: u64) -> i64 {
    if mix(n).is_multiple_of(50) { 503 } else { 200 }
}

fn span(n: u64, resources: &[Arc<Resource>]) -> Option<Span> {
    let mut attributes: Vec<_> =
        texts(n).into_iter().map(|(key, text)| (key.into(), Value::Text(text.into()))).collect();
    attributes.push(("http.response.status_code".into(), Value::Int(status(n))));
    attributes.push(("server.port".into(), Value::Int(8080)));
    Some(Span {
        trace: TraceId::new(trace_of(n))?,
        span: SpanId::new(id_of(n))?,
        parent: if n.is_multiple_of(8) { None } else { SpanId::new(id_of(n - 1)) },
        resource: resources[(n % SERVICES) as usize].clone(),
        name: "GET /orders/{id}".into(),
        kind: Kind::Server,
        status: if status(n) >= 500 { SpanStatus::Error } else { SpanStatus::Unset },
        start_ns: 1_700_000_000_000_000_000 + n * 86_400_000 + mix(n) % 1_000_000,
        duration_ns: mix(n) % 50_000_000,
        attributes,
        extras: Vec::new(),
    })
}

fn hop(n: u64, kinds: &[Arc<HopKind>]) -> Option<Hop> {
    let [(_, path), ..] = texts(n);
    Some(Hop {
        trace: TraceId::new(trace_of(n * 8))?,
        span: SpanId::new(id_of(n))?,
        parent: None,
        like: kinds[(n % SERVICES) as usize].clone(),
        failed: status(n) >= 500,
        start_ns: 1_700_000_000_000_000_000 + n * 50_000 + mix(n) % 100_000,
        duration_ns: mix(n) % 50_000_000,
        path: path.into(),
        code: status(n) as u16,
        bytes: mix(n) % 1_000,
        head_us: mix(n) % 50_000,
        more: Vec::new(),
    })
}

fn kinds(resources: &[Arc<Resource>]) -> Vec<Arc<HopKind>> {
    let kind = |resource: &Arc<Resource>| HopKind {
        resource: resource.clone(),
        name: "GET /orders/**".into(),
        caller: "outside".to_owned(),
        method: "GET".into(),
        route: Some("/orders/**".to_owned()),
    };
    resources.iter().map(kind).map(Arc::new).collect()
}

fn request(from: u64) -> Vec<u8> {
    let text = |value: String| AnyValue { value: Some(any_value::Value::StringValue(value)) };
    let spans = (from..from + BATCH).map(|n| wire::Span {
        trace_id: trace_of(n).to_vec(),
        span_id: id_of(n).to_vec(),
        parent_span_id: if n.is_multiple_of(8) { Vec::new() } else { id_of(n - 1).to_vec() },
        name: "GET /orders/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + n * 86_400_000,
        end_time_unix_nano: 1_700_000_000_000_000_000 + n * 86_400_000 + mix(n) % 50_000_000,
        attributes: texts(n)
            .into_iter()
            .map(|(key, value)| KeyValue {
                key: key.to_owned(),
                value: Some(text(value)),
                ..KeyValue::default()
            })
            .collect(),
        ..wire::Span::default()
    });
    let scope = wire::ScopeSpans { spans: spans.collect(), ..wire::ScopeSpans::default() };
    let group = wire::ResourceSpans { scope_spans: vec![scope], ..wire::ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec()
}

/// Processor seconds of this process, all threads.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after.split_whitespace().filter_map(|of| of.parse().ok()).collect();
    // utime and stime, in hundredths; the letter before them did not parse.
    fields.get(10..12).map_or(0.0, |of| of.iter().sum::<f64>() / 100.0)
}

fn told(what: &str, seconds: f64) {
    let rate = SPANS as f64 / seconds / 1000.0;
    println!("{what:28} {rate:7.0} k spans per CPU second ({seconds:.2} s)");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("spans-{}", std::process::id()));
    let tasks = Tasks::new(&CancellationToken::new());
    let resources: Vec<Arc<Resource>> = (0..SERVICES)
        .map(|n| Resource { service: format!("service-{n}"), ..Resource::default() })
        .map(Arc::new)
        .collect();
    let policy = SpanPolicy { bytes_max: 8 << 30, ..SpanPolicy::default() };
    let store = SpanStore::open(dir.join("spans"), policy, &tasks)?;

    let mut storing = 0.0;
    for from in (0..SPANS).step_by(BATCH as usize * 64) {
        let until = (from + BATCH * 64).min(SPANS);
        let spans: Vec<Span> = (from..until).filter_map(|n| span(n, &resources)).collect();
        let before = processor();
        for batch in spans.chunks(BATCH as usize) {
            if !store.take(batch.to_vec()) {
                return Err("dropped".into());
            }
        }
        store.flush().await;
        storing += processor() - before;
    }
    told("store", storing);
    println!("{:28} {:7.1} bytes on disk a span", "", store.bytes() as f64 / SPANS as f64);

    let store_of_hops = SpanStore::open(dir.join("hops"), policy, &tasks)?;
    let kinds = kinds(&resources);
    let mut storing = 0.0;
    for from in (0..SPANS).step_by(BATCH as usize * 64) {
        let before = processor();
        for from in (from..from + BATCH * 64).step_by(BATCH as usize) {
            let hops = (from..from + BATCH).filter_map(|n| hop(n, &kinds)).collect();
            if !store_of_hops.take_hops(hops) {
                return Err("dropped".into());
            }
        }
        store_of_hops.flush().await;
        storing += processor() - before;
    }
    told("make and store hops", storing);
    println!("{:28} {:7.1} bytes on disk a hop", "", store_of_hops.bytes() as f64 / SPANS as f64);

    for question in [
        "service:service-3 status:error duration>40ms",
        "usr_4711",
        "path:/orders/17",
        "nowhere",
        "duration>10s",
    ] {
        let query = SpanQuery { expr: Expr::parse(question)?, ..SpanQuery::default() };
        let started = clock::now();
        let found = store.spans(query, 50).await?.found.len();
        println!("{question:45} {found:3} found in {:?}", clock::now() - started);
    }
    let started = clock::now();
    let trace = TraceId::new(trace_of(SPANS / 2)).ok_or("no id")?;
    let found = store.trace(trace).await?.len();
    println!("{:45} {found:3} found in {:?}", "trace by id", clock::now() - started);
    let started = clock::now();
    let buckets = store.histogram(SpanQuery::default(), 3_600_000_000_000).await?.found.len();
    println!("{:45} {buckets:3} found in {:?}", "histogram of all", clock::now() - started);

    let logs = LogStore::open(dir.join("logs"), &tasks)?;
    let metrics = MetricStore::open(dir.join("metrics"), MetricPolicy::default())?;
    let store = SpanStore::open(dir.join("otlp"), policy, &tasks)?;
    let otlp = Otlp::new(store.clone(), logs, metrics);
    let sender = ServiceName::new("orders")?;
    let (mut whole, mut bytes) = (0.0, 0);
    for from in (0..SPANS).step_by(BATCH as usize * 64) {
        let bodies: Vec<Vec<u8>> =
            (from..from + BATCH * 64).step_by(BATCH as usize).map(request).collect();
        bytes += bodies.iter().map(Vec::len).sum::<usize>();
        let before = processor();
        for body in &bodies {
            let reply = otlp.receive(Signal::Traces, Encoding::Protobuf, false, body, &sender);
            if reply.status != 200 {
                return Err("dropped".into());
            }
        }
        store.flush().await;
        whole += processor() - before;
    }
    told("OTLP protobuf, and store", whole);
    println!("{:28} {:7.1} bytes on the wire a span", "", bytes as f64 / SPANS as f64);
    tasks.shutdown(std::time::Duration::from_secs(30)).await;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
