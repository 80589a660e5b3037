//! The span store on real files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{SpanId, TraceId};
use archipel_rt::{CancellationToken, Tasks};
use archipel_telemetry::{
    Expr, Extra, Kind, Resource, Span, SpanPolicy, SpanQuery, SpanStatus, SpanStore, Value,
};

const SECOND: u64 = 1_000_000_000;
/// Fewer than this are not sealed.
const GROUP: u64 = 8192;

struct Opened {
    store: SpanStore,
    tasks: Tasks,
}

fn open_with(dir: &Path, policy: SpanPolicy) -> Opened {
    let tasks = Tasks::new(&CancellationToken::new());
    Opened { store: SpanStore::open(dir.to_owned(), policy, &tasks).expect("works"), tasks }
}

fn open(dir: &Path) -> Opened {
    open_with(dir, SpanPolicy::default())
}

impl Opened {
    async fn close(self) {
        assert_eq!(self.tasks.shutdown(Duration::from_secs(30)).await, 0);
    }

    async fn put(&self, numbers: std::ops::Range<u64>) {
        let spans: Vec<Span> = numbers.map(span).collect();
        for batch in spans.chunks(512) {
            assert!(self.store.take(batch.to_vec()));
        }
        self.store.flush().await;
    }

    async fn count(&self, question: &str) -> usize {
        let expr = Expr::parse(question).expect("works");
        let query = SpanQuery { expr, ..SpanQuery::default() };
        self.store.spans(query, usize::MAX).await.expect("works").found.len()
    }
}

fn trace_of(n: u64) -> TraceId {
    TraceId::new(
        u128::from(n / 4 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes(),
    )
    .expect("works")
}

fn id_of(n: u64) -> SpanId {
    SpanId::new((n + 1).to_be_bytes()).expect("works")
}

/// Four spans a trace: the gateway, orders, payments, and a database call that fails now and then.
fn span(n: u64) -> Span {
    let service = ["gateway", "orders", "payments", "payments"][(n % 4) as usize];
    let failed = n % 40 == 3;
    let mut attributes = vec![
        ("http.response.status_code".into(), Value::Int(if failed { 503 } else { 200 })),
        ("url.path".into(), Value::Text(format!("/orders/ord_{n}").into())),
        ("retry".into(), Value::Bool(failed)),
        ("load".into(), Value::Double(0.5)),
        // Of two types, as SDKs send it.
        match n % 2 {
            0 => ("server.port".into(), Value::Int(8080)),
            _ => ("server.port".into(), Value::Text("8080".into())),
        },
    ];
    if failed {
        attributes.push(("error.type".into(), Value::Text("Card declined by bank".into())));
        attributes.push(("city".into(), Value::Text("Straße".into())));
        attributes.push(("place".into(), Value::Text("İzmir ΣΟΦΟΣ".into())));
        attributes.push(("list".into(), Value::Json("[\"a b\"]".into())));
    }
    let message = serde_json::json!({ "exception.message": "no route\nto host" });
    let event = Extra::Event {
        name: "exception".into(),
        at_ns: n,
        attributes: message.as_object().expect("works").clone(),
    };
    Span {
        trace: trace_of(n),
        span: id_of(n),
        parent: (!n.is_multiple_of(4)).then(|| id_of(n - 1)),
        resource: Arc::new(Resource {
            service: service.into(),
            instance: format!("{service}-0"),
            attributes: serde_json::json!({ "service.version": "1.2" })
                .as_object()
                .expect("works")
                .clone(),
        }),
        name: "GET /orders/{id}".into(),
        kind: Kind::Server,
        status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
        start_ns: SECOND * 1000 + n * 1_000_000,
        duration_ns: (n % 100) * 1_000_000,
        attributes,
        extras: if failed { vec![event] } else { Vec::new() },
    }
}

fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir).expect("works").map(|e| e.expect("works").path()).collect();
    let is = |path: &PathBuf| {
        path.file_name().expect("works").to_str().expect("works").starts_with(prefix)
    };
    found.retain(is);
    found.sort();
    found
}

#[tokio::test]
async fn questions_are_answered_from_sealed_groups_and_from_the_tail() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    opened.put(0..GROUP + 1000).await;
    let total = (GROUP + 1000) as usize;
    let errors = (0..total).filter(|n| n % 40 == 3).count();
    for (question, expected) in [
        ("", total),
        ("service:orders", total / 4),
        ("service:pay*", total / 2),
        ("service:nobody", 0),
        ("-service:payments", total / 2),
        ("service:orders OR service:gateway", total / 2),
        ("status:error", errors),
        ("status>=500", errors),
        ("status:503", errors),
        ("status!=200", errors),
        ("retry:true", errors),
        ("error.type:*", errors),
        ("\"card declined\"", errors),
        ("\"declined card\"", 0),
        ("declin*", errors),
        ("no route", errors),
        ("\"no route\" host", errors),
        ("duration>98ms", (0..total).filter(|n| n % 100 == 99).count()),
        ("duration>1h", 0),
        ("ord_9000", 1),
        ("path:/Orders/ORD_9000", 1),
        ("path:ord_9000", 0),
        ("error.type:\"card declined by BANK\"", errors),
        ("city:straßE", errors),
        ("city:\"İzmir ΣΟΦΟΣ\"", 0),
        ("σοφοσ", errors),
        ("place:\"İzmir ΣΟΦΟΣ\"", errors),
        ("list:\"[\\\"a b\\\"]\"", errors),
        ("path:/orders/ord_9*", 1 + 10 + 100 + 192),
        ("server.port:8080", total),
        ("server.port:\"8080\"", total),
        ("server.port>8000", total),
        ("load<1", total),
        ("load>1", 0),
        ("service.version:1.2", total),
        ("instance:orders-0 kind:server name:GET*", total / 4),
        (&format!("trace:{}", trace_of(9000)), 4),
        (&format!("span:{}", id_of(17)), 1),
    ] {
        assert_eq!(opened.count(question).await, expected, "{question}");
    }
    opened.close().await;
}

#[tokio::test]
async fn a_trace_comes_back_whole() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    // One trace begins in a sealed group and ends in the tail.
    opened.put(0..GROUP - 2).await;
    opened.put(GROUP - 2..GROUP + 40).await;
    for n in [0, GROUP - 4, GROUP, GROUP + 3] {
        let mut found = opened.store.trace(trace_of(n)).await.expect("works");
        let first = n / 4 * 4;
        let mut expected: Vec<Span> = (first..first + 4).map(span).collect();
        for span in found.iter_mut().chain(&mut expected) {
            span.attributes.sort_by(|a, b| a.0.cmp(&b.0));
        }
        assert_eq!(found, expected);
    }
    assert!(opened.store.trace(trace_of(1 << 40)).await.expect("works").is_empty());
    let query =
        SpanQuery { expr: Expr::parse("status:error").expect("works"), ..SpanQuery::default() };
    let traces = opened.store.traces(query, 5).await.expect("works");
    assert_eq!(traces.found.len(), 5);
    assert_eq!(traces.cut_at_ns, None);
    let newest = &traces.found[0];
    assert_eq!((newest.root_service.as_str(), newest.spans, newest.errors), ("gateway", 4, 1));
    assert_eq!(newest.services["payments"], 2);
    assert!(traces.found.is_sorted_by(|a, b| a.start_ns > b.start_ns));
    opened.close().await;
}

#[tokio::test]
async fn time_is_counted_in_buckets() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    opened.put(0..5000).await;
    let since_ns = Some(SECOND * 1001);
    let query = SpanQuery { since_ns, until_ns: Some(SECOND * 1003 - 1), ..SpanQuery::default() };
    let buckets = opened.store.histogram(query, SECOND).await.expect("works").found;
    let counts: Vec<(u64, u64, u64)> =
        buckets.iter().map(|b| (b.start_ns / SECOND, b.count, b.errors)).collect();
    assert_eq!(counts, [(1001, 1000, 25), (1002, 1000, 25)]);
    let median = buckets[0].durations.quantile(0.5);
    assert!((49_000_000..62_000_000).contains(&median), "{median}");
    opened.close().await;
}

#[tokio::test]
async fn what_was_flushed_survives_a_kill_and_a_torn_end() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    opened.put(0..GROUP + 100).await;
    opened.put(GROUP + 100..GROUP + 200).await;
    // A kill leaves the files as they are: no shutdown, and a copy stands for what it left.
    let killed = tempfile::tempdir().expect("works");
    for path in files(dir.path(), "") {
        fs::copy(&path, killed.path().join(path.file_name().expect("works"))).expect("works");
    }
    let again = open(killed.path());
    assert_eq!(again.count("").await, GROUP as usize + 200);
    again.close().await;
    // The last write was cut in the middle: what was whole before it stays.
    let tail = files(killed.path(), "tail").pop().expect("works");
    let bytes = fs::read(&tail).expect("works");
    fs::write(&tail, &bytes[..bytes.len() - 9]).expect("works");
    let again = open(killed.path());
    assert_eq!(again.count("").await, GROUP as usize + 100);
    again.put(GROUP + 100..GROUP + 150).await;
    again.close().await;
    let again = open(killed.path());
    assert_eq!(again.count("").await, GROUP as usize + 150);
    again.close().await;
    opened.close().await;
}

#[tokio::test]
async fn a_crash_between_sealing_and_deleting_the_tail_counts_nothing_twice() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    opened.put(0..1000).await;
    let tail = files(dir.path(), "tail").pop().expect("works");
    let saved = fs::read(&tail).expect("works");
    opened.put(1000..GROUP).await;
    assert!(!tail.exists());
    opened.close().await;
    fs::write(&tail, saved).expect("works");
    let again = open(dir.path());
    assert_eq!(again.count("").await, GROUP as usize);
    assert!(!tail.exists());
    again.close().await;
}

#[tokio::test]
async fn many_small_saves_are_gathered() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    for n in 0..100 {
        opened.put(n * 3..n * 3 + 3).await;
    }
    assert_eq!(opened.count("").await, 300);
    opened.close().await;
    assert_eq!(files(dir.path(), "").len(), 1);
    let again = open(dir.path());
    assert_eq!(again.count("").await, 300);
    again.close().await;
}

#[tokio::test]
async fn keys_without_end_make_no_columns_without_end() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    let spans: Vec<Span> = (0..2000)
        .map(|n| {
            let mut span = span(n);
            span.attributes.push((format!("key_{n}").into(), Value::Text(format!("v{n}").into())));
            span
        })
        .collect();
    assert!(opened.store.take(spans));
    assert_eq!(opened.count("key_3:v3").await, 1);
    assert_eq!(opened.count("key_1999:v1999").await, 1);
    assert_eq!(opened.count("v1999").await, 1);
    let found = opened.store.trace(trace_of(1999)).await.expect("works");
    assert_eq!(found[3].attribute("key_1999"), Some(&Value::Text("v1999".into())));
    let stored =
        files(dir.path(), "tail").iter().map(|p| p.metadata().expect("works").len()).sum::<u64>();
    assert!(stored < 200_000, "{stored} bytes");
    opened.close().await;
}

#[tokio::test]
async fn the_oldest_files_make_room() {
    let dir = tempfile::tempdir().expect("works");
    let bytes_max = 1 << 20;
    // The first trace has an error, which thinning would keep.
    let sample = archipel_model::Sampling { rest: 1_000_000, ..Default::default() };
    let policy = SpanPolicy { bytes_max, sample, ..SpanPolicy::default() };
    let opened = open_with(dir.path(), policy);
    for n in 0..12 {
        opened.put(n * GROUP..(n + 1) * GROUP).await;
    }
    let newest = (12 * GROUP - 1).to_string();
    assert_eq!(opened.count("ord_0").await, 0, "the oldest is gone");
    assert_eq!(opened.count(&format!("ord_{newest}")).await, 1);
    let left: u64 = files(dir.path(), "").iter().map(|p| p.metadata().expect("works").len()).sum();
    assert!(left <= bytes_max + bytes_max / 4, "{left}");
    opened.close().await;
    let again = open_with(dir.path(), policy);
    assert_eq!(again.count(&format!("ord_{newest}")).await, 1);
    again.close().await;
}

#[tokio::test]
async fn a_store_that_cannot_keep_up_drops_and_counts() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    // Nothing is stored before this task yields.
    let taken = (0..200).filter(|_| opened.store.take((0..512).map(span).collect())).count();
    assert!((1..200).contains(&taken), "{taken}");
    assert_eq!(opened.store.counts().dropped, (200 - taken as u64) * 512);
    opened.close().await;
}

#[tokio::test]
async fn spans_are_counted_by_their_values() {
    let dir = tempfile::tempdir().expect("works");
    let opened = open(dir.path());
    opened.put(0..GROUP + 808).await;
    let query =
        SpanQuery { expr: Expr::parse("-service:orders").expect("works"), ..SpanQuery::default() };
    let keys = vec!["service".to_owned(), "status".to_owned()];
    let found = opened.store.tally(query, keys).await.expect("works").found;
    let lines: Vec<(String, u64, u64)> =
        found.iter().map(|t| (t.values.join(" "), t.count, t.errors)).collect();
    let expected =
        [("payments 200", 4275, 0), ("gateway 200", 2250, 0), ("payments 503", 225, 225)];
    assert_eq!(lines, expected.map(|(values, count, errors)| (values.to_owned(), count, errors)));
    opened.close().await;
}
