//! Telemetry to a collector: a small one of the test's own, which can be told what to answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_model::ServiceName;
use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_telemetry::export::{Exported, Exporter, Target};
use archipel_telemetry::otlp::{Encoding, Otlp, Signal};
use archipel_telemetry::{
    Expr, Filter, Kind, Line, LogStore, MetricQuery, MetricStore, Resource, Span, SpanQuery,
    SpanStatus, SpanStore, Stream, Value,
};
use archipel_testkit::eventually;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

const LONG: Duration = Duration::from_secs(60);

/// A status, and how long to wait then.
type Refusal = (u16, Option<u32>);

/// The stores of one Archipel.
struct Side {
    _dir: tempfile::TempDir,
    tasks: Tasks,
    spans: SpanStore,
    logs: LogStore,
    metrics: MetricStore,
}

impl Side {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("works");
        let tasks = Tasks::new(&CancellationToken::new());
        let (spans, logs, metrics) = crate::stores(dir.path(), &tasks);
        Self { _dir: dir, tasks, spans, logs, metrics }
    }

    fn exporter(&self) -> Exporter {
        Exporter::start(&self.spans, &self.logs, &self.metrics, &self.tasks)
    }

    async fn found(&self, question: &str) -> Vec<Span> {
        let expr = Expr::parse(question).expect("works");
        let query = SpanQuery { expr, ..SpanQuery::default() };
        self.spans.spans(query, 100).await.expect("works").found
    }
}

/// Takes what it is told to take, into the stores of another Archipel.
struct Collector {
    side: Side,
    address: SocketAddr,
    /// To answer with first.
    refuse: Arc<Mutex<VecDeque<Refusal>>>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Collector {
    async fn start(grpc: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("works");
        Self::serve(listener, grpc)
    }

    fn serve(listener: tokio::net::TcpListener, grpc: bool) -> Self {
        let side = Side::new();
        let address = listener.local_addr().expect("is bound");
        let otlp = Otlp::new(side.spans.clone(), side.logs.clone(), side.metrics.clone());
        let refuse: Arc<Mutex<VecDeque<Refusal>>> = Arc::default();
        let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let (refuse_too, seen_too, tasks) = (refuse.clone(), seen.clone(), side.tasks.clone());
        side.tasks.spawn_unnamed(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (otlp, refuse, seen) = (otlp.clone(), refuse_too.clone(), seen_too.clone());
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (otlp, refuse, seen) = (otlp.clone(), refuse.clone(), seen.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.expect("comes whole").to_bytes();
                        seen.lock().expect("works").push(head.headers.clone());
                        let no = refuse.lock().expect("works").pop_front();
                        Ok::<_, Infallible>(answer(&otlp, &head, &body, no))
                    }
                });
                let io = TokioIo::new(stream);
                tasks.spawn_unnamed(async move {
                    if grpc {
                        let builder = http2::Builder::new(TokioExecutor::new());
                        drop(builder.serve_connection(io, service).await);
                    } else {
                        drop(http1::Builder::new().serve_connection(io, service).await);
                    }
                });
            }
        });
        Self { side, address, refuse, seen }
    }

    fn target(&self, grpc: bool) -> Target {
        Target {
            url: format!("http://{}", self.address),
            grpc: Some(grpc),
            headers: vec![("x-api-key".to_owned(), "sesame".to_owned())],
            ca: None,
        }
    }
}

fn answer(
    otlp: &Otlp,
    head: &http::request::Parts,
    body: &[u8],
    no: Option<Refusal>,
) -> Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> {
    let (signal, grpc) = Signal::of_path(head.uri.path()).expect("a path of OTLP");
    if let Some((status, after)) = no {
        let mut response = Response::builder().status(status);
        if let Some(after) = after {
            response = response.header("retry-after", after);
        }
        return response.body(Full::default().boxed()).expect("works");
    }
    let packed = if grpc { "grpc-encoding" } else { "content-encoding" };
    let gzip = head.headers.get(packed).is_some_and(|value| value == "gzip");
    let encoding = if grpc { Encoding::Grpc } else { Encoding::Protobuf };
    let sender = ServiceName::new("copy").expect("works");
    let reply = otlp.receive(signal, encoding, gzip, body, &sender);
    let body = Full::new(Bytes::from(reply.body));
    let response = Response::builder().status(reply.status);
    match reply.grpc {
        None => response.body(body.boxed()).expect("works"),
        Some((code, _)) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", u16::from(code).into());
            let body = body.with_trailers(async { Some(Ok(trailers)) });
            response.body(body.boxed()).expect("works")
        }
    }
}

fn span(n: u64) -> Span {
    Span {
        trace: format!("{:032x}", n + 1).parse().expect("works"),
        span: format!("{:016x}", n + 1).parse().expect("works"),
        parent: None,
        resource: Arc::new(Resource { service: "orders".into(), ..Resource::default() }),
        name: "charge".into(),
        kind: Kind::Client,
        status: SpanStatus::Error,
        start_ns: clock::wall_ms() * 1_000_000,
        duration_ns: 5_000_000,
        attributes: vec![("order".into(), Value::Text(format!("ord_{n}").into()))],
        extras: Vec::new(),
    }
}

async fn sent(exporter: &Exporter, signal: Signal, count: u64) {
    let enough = async || match exporter.counts(signal) {
        Exported { sent, .. } if sent == count => Ok(()),
        other => Err(other),
    };
    eventually(LONG, enough).await;
}

#[tokio::test]
async fn spans_lines_and_metrics_arrive_over_both_protocols() {
    for grpc in [false, true] {
        let (ours, collector) = (Side::new(), Collector::start(grpc).await);
        let exporter = ours.exporter();
        exporter.apply(Some(collector.target(grpc)), &ours.tasks).expect("is a target");
        assert!(ours.spans.take((0..600).map(span).collect()));
        ours.logs.take(Line {
            at_ms: clock::wall_ms(),
            instance: "orders-1".parse().expect("works"),
            stream: Stream::Stderr,
            text: "ERROR card declined".to_owned(),
        });
        let own = archipel_telemetry::MetricKey {
            metric: "cpu".to_owned(),
            service: "orders".to_owned(),
            instance: "orders-1".to_owned(),
            labels: None,
        };
        sent(&exporter, Signal::Traces, 600).await;
        sent(&exporter, Signal::Logs, 1).await;
        let there = &collector.side;
        let found = there.found("order:ord_17").await;
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (one.kind, one.status, one.duration_ns),
            (Kind::Client, SpanStatus::Error, 5_000_000)
        );
        assert_eq!(one.resource.attributes["otel.service.name"], "orders");
        let lines = there.logs.last(&Filter::default(), 10).await.expect("works");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(
            (line.level, &*line.message),
            (Some(archipel_telemetry::Level::Error), "ERROR card declined")
        );
        let heads = collector.seen.lock().expect("works").clone();
        assert!(heads.iter().all(|head| head["x-api-key"] == "sesame"));
        let packed = if grpc { "grpc-encoding" } else { "content-encoding" };
        assert!(heads.iter().any(|head| head.get(packed).is_some_and(|of| of == "gzip")));
        // Metrics go every quarter of a minute.
        let arrived = async || {
            ours.metrics.record(clock::wall_ms(), [(own.clone(), 0.25)]);
            let query = MetricQuery {
                metrics: vec!["archipel.cpu".to_owned()],
                since_ms: clock::wall_ms() - 60_000,
                until_ms: clock::wall_ms(),
                points: 100,
                ..MetricQuery::default()
            };
            let lines = there.metrics.lines(query).await.expect("works").lines;
            if lines.is_empty() { Err("no metrics yet") } else { Ok(()) }
        };
        eventually(LONG, arrived).await;
        assert_eq!(exporter.counts(Signal::Traces).lost, 0);
    }
}

#[tokio::test]
async fn a_collector_that_is_busy_or_away_gets_everything_later() {
    // Away: nobody listens on this port yet.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("works");
    let address = listener.local_addr().expect("is bound");
    drop(listener);
    let ours = Side::new();
    let exporter = ours.exporter();
    let target = Target {
        url: format!("http://{address}"),
        grpc: Some(false),
        headers: Vec::new(),
        ca: None,
    };
    exporter.apply(Some(target), &ours.tasks).expect("is a target");
    assert!(ours.spans.take((0..100).map(span).collect()));
    ours.spans.flush().await;
    // It has tried at least once by now.
    clock::sleep(Duration::from_millis(1_500)).await;
    let listener = tokio::net::TcpListener::bind(address).await.expect("is free again");
    let collector = Collector::serve(listener, false);
    let busy = [(503, None), (429, Some(1)), (502, None)];
    collector.refuse.lock().expect("works").extend(busy);
    sent(&exporter, Signal::Traces, 100).await;
    assert_eq!(collector.side.found("order:ord_99").await.len(), 1);
    assert_eq!(exporter.counts(Signal::Traces).lost, 0);
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_and_the_next_goes_on() {
    let (ours, collector) = (Side::new(), Collector::start(false).await);
    let exporter = ours.exporter();
    collector.refuse.lock().expect("works").push_back((400, None));
    exporter.apply(Some(collector.target(false)), &ours.tasks).expect("is a target");
    assert!(ours.spans.take((0..10).map(span).collect()));
    let lost = async || match exporter.counts(Signal::Traces) {
        Exported { lost: 10, .. } => Ok(()),
        other => Err(other),
    };
    eventually(LONG, lost).await;
    assert!(ours.spans.take((10..20).map(span).collect()));
    sent(&exporter, Signal::Traces, 10).await;
    // Without a target nothing waits, and nothing is counted as lost.
    exporter.apply(None, &ours.tasks).expect("works");
    assert!(ours.spans.take((20..30).map(span).collect()));
    ours.spans.flush().await;
    assert_eq!(exporter.counts(Signal::Traces), Exported { sent: 10, lost: 10 });
}

#[tokio::test]
async fn what_one_collector_does_not_take_goes_to_the_next_or_is_counted_at_the_end() {
    // Connections are accepted by the system, and nobody reads.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("works");
    let deaf = Target {
        url: format!("http://{}", silent.local_addr().expect("is bound")),
        grpc: Some(false),
        headers: Vec::new(),
        ca: None,
    };
    let (ours, collector) = (Side::new(), Collector::start(false).await);
    let exporter = ours.exporter();
    exporter.apply(Some(deaf.clone()), &ours.tasks).expect("is a target");
    assert!(ours.spans.take((0..100).map(span).collect()));
    // The request is under way.
    let _first = silent.accept().await.expect("works");
    exporter.apply(Some(collector.target(false)), &ours.tasks).expect("is a target");
    sent(&exporter, Signal::Traces, 100).await;
    assert_eq!(exporter.counts(Signal::Traces).lost, 0);

    exporter.apply(Some(deaf), &ours.tasks).expect("is a target");
    assert!(ours.spans.take((100..150).map(span).collect()));
    let _under_way = silent.accept().await.expect("works");
    assert_eq!(ours.tasks.shutdown(LONG).await, 0, "no task is left");
    assert_eq!(exporter.counts(Signal::Traces), Exported { sent: 100, lost: 50 });
}
