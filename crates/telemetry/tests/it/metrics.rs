//! Metrics by OTLP: over time, for Prometheus, within bounds.

use std::time::Duration;

use archipel_model::ServiceName;
use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_telemetry::otlp::{Encoding, Otlp, Reply, Signal};
use archipel_telemetry::{MetricKey, MetricQuery, MetricStore};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use serde_json::{Value, json};

const MINUTE_MS: u64 = 60_000;

struct Fixture {
    dir: tempfile::TempDir,
    tasks: Tasks,
    otlp: Otlp,
    metrics: MetricStore,
}

impl Fixture {
    fn new() -> Self {
        Self::open(tempfile::tempdir().expect("works"))
    }

    fn open(dir: tempfile::TempDir) -> Self {
        let tasks = Tasks::new(&CancellationToken::new());
        let (spans, logs, metrics) = crate::stores(dir.path(), &tasks);
        Self { dir, tasks, otlp: Otlp::new(spans, logs, metrics.clone()), metrics }
    }

    fn send_as(&self, sender: &str, encoding: Encoding, request: &Value) -> Reply {
        let body = match encoding {
            Encoding::Json => request.to_string().into_bytes(),
            _ => {
                let request: ExportMetricsServiceRequest =
                    serde_json::from_value(request.clone()).expect("is one");
                request.encode_to_vec()
            }
        };
        let body = match encoding {
            Encoding::Grpc => {
                let head = [&[0][..], &(body.len() as u32).to_be_bytes()].concat();
                [head, body].concat()
            }
            _ => body,
        };
        let sender = ServiceName::new(sender).expect("works");
        self.otlp.receive(Signal::Metrics, encoding, false, &body, &sender)
    }

    fn send(&self, metrics: &[Value]) {
        let reply = self.send_as("orders", Encoding::Protobuf, &request(metrics));
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{reply:?}");
    }

    /// The values of one metric in the last hour, without gaps.
    async fn lines(&self, metric: &str) -> Vec<(MetricKey, Vec<f32>)> {
        let until_ms = clock::wall_ms();
        let query = MetricQuery {
            metrics: vec![metric.to_owned()],
            since_ms: until_ms - 50 * MINUTE_MS,
            until_ms,
            points: 2_000,
            ..MetricQuery::default()
        };
        let lines = self.metrics.lines(query).await.expect("works").lines;
        lines.into_iter().map(|(key, of)| (key, of.into_iter().flatten().collect())).collect()
    }

    async fn values(&self, metric: &str) -> Vec<f32> {
        self.lines(metric).await.into_iter().flat_map(|(_, values)| values).collect()
    }

    fn exposed(&self) -> String {
        let mut out = String::new();
        self.metrics.expose(&mut out);
        out
    }
}

fn request(metrics: &[Value]) -> Value {
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": { "stringValue": "impostor" } },
            { "key": "service.instance.id", "value": { "stringValue": "orders-1" } },
        ]},
        "scopeMetrics": [{ "metrics": metrics }],
    }]})
}

fn ns(at_ms: u64) -> String {
    (at_ms * 1_000_000).to_string()
}

fn point(start_ms: u64, at_ms: u64, value: f64) -> Value {
    json!({ "startTimeUnixNano": ns(start_ms), "timeUnixNano": ns(at_ms), "asDouble": value,
        "attributes": [{ "key": "http.route", "value": { "stringValue": "/a\"b" } }] })
}

fn sum(name: &str, temporality: u8, monotonic: bool, points: &[Value]) -> Value {
    json!({ "name": name, "unit": "{thing}", "description": "Things.", "sum": {
        "aggregationTemporality": temporality, "isMonotonic": monotonic, "dataPoints": points } })
}

const DELTA: u8 = 1;
const CUMULATIVE: u8 = 2;

#[tokio::test]
async fn each_way_of_sending_says_the_same_and_who_sends_decides_whose_it_is() {
    for encoding in [Encoding::Json, Encoding::Protobuf, Encoding::Grpc] {
        let fixture = Fixture::new();
        let now = clock::wall_ms();
        let gauge = json!({ "name": "queue.size", "unit": "1", "gauge": { "dataPoints": [
            { "timeUnixNano": ns(now), "asInt": "7" } ] } });
        let reply = fixture.send_as("orders", encoding, &request(&[gauge]));
        assert_eq!(reply.status, 200, "{encoding:?} {reply:?}");
        let lines = fixture.lines("queue.size").await;
        let (key, values) = lines.first().expect("one");
        assert_eq!((&*key.service, &*key.instance), ("orders", "orders-1"));
        assert_eq!(values, &[7.0]);
        let told = fixture.exposed();
        let line = "queue_size_ratio{service_name=\"orders\",service_instance_id=\"orders-1\"} 7";
        assert!(told.contains(line), "{told}");
        assert!(told.contains("# TYPE queue_size_ratio gauge"), "{told}");
    }
}

#[tokio::test]
async fn a_counter_is_a_rate_over_time_also_when_it_begins_anew() {
    let fixture = Fixture::new();
    let begin = clock::wall_ms() - 30 * MINUTE_MS;
    let at = |seconds: u64| begin + seconds * 1_000;
    fixture.send(&[sum("placed", CUMULATIVE, true, &[point(begin, at(10), 50.0)])]);
    fixture.send(&[sum("placed", CUMULATIVE, true, &[point(begin, at(20), 70.0)])]);
    // The process began anew, and counted five.
    fixture.send(&[sum("placed", CUMULATIVE, true, &[point(at(25), at(30), 5.0)])]);
    assert_eq!(fixture.values("placed:rate").await, [5.0, 2.0, 0.5]);
    let now = clock::wall_ms();
    fixture.send(&[sum("sent", DELTA, true, &[point(now - 10_000, now - 5_000, 5.0)])]);
    fixture.send(&[sum("sent", DELTA, true, &[point(now - 5_000, now, 20.0)])]);
    assert_eq!(fixture.values("sent:rate").await, [1.0, 4.0]);
    let told = fixture.exposed();
    let labels = r#"service_name="orders",service_instance_id="orders-1",http_route="/a\"b""#;
    assert!(told.contains(&format!("sent_total{{{labels}}} 25")), "{told}");
    assert!(!told.contains("placed_total"), "what is silent for long is not the latest: {told}");
    let list = fixture.metrics.received();
    assert_eq!(list.iter().map(|of| &*of.metric).collect::<Vec<_>>(), ["placed", "sent"]);
    assert_eq!(list[1].lines, ["sent:rate"]);
}

#[tokio::test]
async fn a_histogram_is_told_by_rate_and_quantiles_whatever_its_kind() {
    let fixture = Fixture::new();
    let now = clock::wall_ms();
    let at = |seconds: u64| now - 60_000 + seconds * 1_000;
    let explicit = |seconds: u64, counts: [u64; 4]| {
        json!({ "name": "d", "unit": "s", "histogram": { "aggregationTemporality": 2,
            "dataPoints": [{ "startTimeUnixNano": ns(at(0)), "timeUnixNano": ns(at(seconds)),
                "count": counts.iter().sum::<u64>().to_string(), "sum": 12.5,
                "bucketCounts": counts.map(|n| n.to_string()), "explicitBounds": [1, 2, 4] }] } })
    };
    fixture.send(&[explicit(10, [100, 0, 0, 0])]);
    fixture.send(&[explicit(20, [100, 50, 50, 0])]);
    assert_eq!(fixture.values("d:rate").await, [10.0, 10.0]);
    assert_eq!(fixture.values("d:p50").await, [0.5, 2.0]);
    let told = fixture.exposed();
    let labels = r#"service_name="orders",service_instance_id="orders-1""#;
    for (le, count) in [("1", 100), ("2", 150), ("4", 200), ("+Inf", 200)] {
        let line = format!("d_seconds_bucket{{{labels},le=\"{le}\"}} {count}");
        assert!(told.contains(&line), "{line} in {told}");
    }
    assert!(told.contains(&format!("d_seconds_sum{{{labels}}} 12.5")), "{told}");
    assert!(told.contains(&format!("d_seconds_count{{{labels}}} 200")), "{told}");

    let exponential = |seconds: u64, scale: i64| {
        json!({ "name": "e", "unit": "ms", "exponentialHistogram": { "aggregationTemporality": 1,
            "dataPoints": [{ "startTimeUnixNano": ns(at(seconds - 10)),
                "timeUnixNano": ns(at(seconds)), "count": "4", "sum": 40.0, "scale": scale,
                "zeroCount": "1", "positive": { "offset": 3, "bucketCounts": ["1", "2"] } }] } })
    };
    fixture.send(&[exponential(10, 0), exponential(20, 4)]);
    let told = fixture.exposed();
    assert!(told.contains(&format!("e_milliseconds_count{{{labels}}} 8")), "{told}");
    assert!(told.contains(&format!("e_milliseconds_bucket{{{labels},le=\"+Inf\"}} 8")), "{told}");
    // At scale 0 the second bucket reaches from 16 to 32.
    let p99 = fixture.values("e:p99").await;
    assert!(p99[0] > 16.0 && p99[0] <= 32.0 && p99[1] < 2.0, "{p99:?}");
    let summary = json!({ "name": "s", "summary": { "dataPoints": [{
        "timeUnixNano": ns(now), "count": "9", "sum": 3.0,
        "quantileValues": [{ "quantile": 0.95, "value": 1.5 }] }] } });
    fixture.send(&[summary]);
    assert_eq!(fixture.values("s:p95").await, [1.5]);
    assert!(fixture.exposed().contains(&format!("s{{{labels},quantile=\"0.95\"}} 1.5")));
}

#[tokio::test]
async fn a_flood_of_series_is_refused_and_takes_nothing_from_others() {
    let fixture = Fixture::new();
    let now = clock::wall_ms();
    let points = (0..3_000).map(|n| {
        json!({ "timeUnixNano": ns(now), "asInt": n.to_string(),
            "attributes": [{ "key": "user", "value": { "intValue": n.to_string() } }] })
    });
    let points: Vec<Value> = points.collect();
    let flood = request(&[json!({ "name": "seen", "gauge": { "dataPoints": points } })]);
    let reply = fixture.send_as("orders", Encoding::Protobuf, &flood);
    let told = ExportMetricsServiceResponse::decode(&*reply.body).expect("is one");
    let partial = told.partial_success.expect("some were refused");
    assert_eq!((reply.status, partial.rejected_data_points), (200, 1_000));
    assert!(partial.error_message.contains("more time series"), "{partial:?}");
    assert_eq!(fixture.metrics.refused(), 1_000);
    let one = request(&[json!({ "name": "seen", "gauge": { "dataPoints": [
        { "timeUnixNano": ns(now), "asInt": "1" }] } })]);
    assert!(fixture.send_as("cart", Encoding::Protobuf, &one).body.is_empty(), "a neighbour's");
}

#[tokio::test]
async fn a_metric_of_another_kind_begins_anew_unless_another_service_still_sends_the_old() {
    let fixture = Fixture::new();
    let now = clock::wall_ms();
    let gauge =
        |at, value| json!({ "name": "jobs", "gauge": { "dataPoints": [point(0, at, value)] } });
    let counter = |at, value| sum("jobs", CUMULATIVE, true, &[point(now - 9_000, at, value)]);
    fixture.send(&[counter(now - 3_000, 60.0)]);
    fixture.send(&[gauge(now - 2_000, 7.0)]);
    assert_eq!(fixture.values("jobs").await, [7.0]);
    let page = fixture.exposed();
    assert!(page.contains("# TYPE jobs gauge") && !page.contains("jobs_total"), "{page}");
    // A late point of the old kind changes nothing back, and the sender is told.
    let late =
        fixture.send_as("orders", Encoding::Protobuf, &request(&[counter(now - 2_500, 61.0)]));
    let told = ExportMetricsServiceResponse::decode(&*late.body).expect("is one");
    assert_eq!(told.partial_success.map(|some| some.rejected_data_points), Some(1));
    // Nor can a neighbour change what is not its own.
    let other = fixture.send_as("cart", Encoding::Protobuf, &request(&[counter(now, 1.0)]));
    assert!(!other.body.is_empty(), "refused");
    assert_eq!((fixture.metrics.changed(), fixture.metrics.refused()), (1, 2));
    fixture.send(&[gauge(now, 8.0)]);
    assert_eq!(fixture.metrics.received()[0].services, [("orders".to_owned(), 1)].into());
}

#[tokio::test]
async fn no_service_speaks_for_the_platform_and_secrets_are_hidden() {
    let fixture = Fixture::new();
    let now = clock::wall_ms();
    let own = MetricKey {
        metric: "cpu".to_owned(),
        service: "orders".to_owned(),
        instance: "orders-1".to_owned(),
        labels: None,
    };
    fixture.metrics.record(now, [(own, 0.25)]);
    let label = json!({ "key": "api_key", "value": { "stringValue": "hunter2" } });
    fixture.send(&[json!({ "name": "cpu", "gauge": { "dataPoints": [
        { "timeUnixNano": ns(now), "asDouble": 99.0, "attributes": [label] }] } })]);
    assert_eq!(fixture.values("cpu").await, [0.25]);
    assert_eq!(fixture.values("otel.cpu").await, [99.0]);
    assert_eq!(fixture.metrics.received()[0].lines, ["otel.cpu"]);
    assert!(!fixture.exposed().contains("hunter2"));
}

#[tokio::test]
async fn minutes_of_received_metrics_survive_a_restart() {
    let fixture = Fixture::new();
    let begin = (clock::wall_ms() / MINUTE_MS - 5) * MINUTE_MS;
    for minute in 0..4 {
        let at = begin + minute * MINUTE_MS;
        fixture.metrics.save(at).await.expect("works");
        let value = minute as f64;
        fixture
            .send(&[json!({ "name": "g", "gauge": { "dataPoints": [point(0, at + 1, value)] } })]);
    }
    let Fixture { dir, tasks, .. } = fixture;
    assert_eq!(tasks.shutdown(Duration::from_secs(30)).await, 0);
    let fixture = Fixture::open(dir);
    let lines = fixture.lines("g").await;
    let (key, values) = lines.first().expect("it is known");
    assert_eq!(key.labels.as_deref(), Some(r#"http.route="/a\"b""#));
    assert_eq!((values[0], values.last().copied()), (0.0, Some(2.0)), "{values:?}");
}
