//! Old spans make room without all of them going.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{Sampling, SpanId, TraceId};
use archipel_rt::{CancellationToken, Tasks};
use archipel_telemetry::{
    Expr, Kind, Resource, Span, SpanPolicy, SpanQuery, SpanStatus, SpanStore, Value,
};
use archipel_testkit::eventually;

const GROUP: u64 = 8192;
const BYTES_MAX: u64 = 3 << 20;
const SLOW: Duration = Duration::from_secs(9);

fn trace_of(trace: u64) -> TraceId {
    let id = u128::from(trace + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    TraceId::new(id.to_be_bytes()).expect("works")
}

/// Four spans a trace; one in a hundred traces fails, another one is slow.
fn span(n: u64) -> Span {
    let trace = n / 4;
    let failed = trace % 100 == 7 && n % 4 == 3;
    let slow = trace % 100 == 50 && n.is_multiple_of(4);
    let word = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Span {
        trace: trace_of(trace),
        span: SpanId::new((n + 1).to_be_bytes()).expect("works"),
        parent: (!n.is_multiple_of(4)).then(|| SpanId::new(n.to_be_bytes()).expect("works")),
        resource: Arc::new(Resource { service: "orders".into(), ..Resource::default() }),
        name: "GET /orders/{id}".into(),
        kind: Kind::Server,
        status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
        start_ns: 1_000_000_000_000 + n * 1_000_000,
        duration_ns: if slow { SLOW.as_nanos() as u64 } else { 1_000_000 + n % 1_000 },
        // Something that does not compress.
        attributes: vec![("word".into(), Value::Text(format!("{word:032x}").into()))],
        extras: Vec::new(),
    }
}

fn open(dir: &Path, sample: Sampling) -> (SpanStore, Tasks) {
    let tasks = Tasks::new(&CancellationToken::new());
    let policy = SpanPolicy { bytes_max: BYTES_MAX, sample, ..SpanPolicy::default() };
    (SpanStore::open(dir.to_owned(), policy, &tasks).expect("opens"), tasks)
}

fn files(dir: &Path, thin: bool) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("works").map(|entry| entry.expect("works"));
    let names = names.map(|entry| entry.file_name().into_string().expect("is text"));
    let names = names.filter(|name| !name.starts_with("tail"));
    names.filter(|name| name.ends_with("t.arcs") == thin).collect()
}

async fn count(store: &SpanStore, question: &str) -> usize {
    let expr = Expr::parse(question).expect("works");
    let query = SpanQuery { expr, ..SpanQuery::default() };
    store.spans(query, usize::MAX).await.expect("works").found.len()
}

/// What the first file had, when it was thinned.
async fn thinned(dir: &Path, sample: Sampling) -> (SpanStore, Tasks) {
    let (store, tasks) = open(dir, sample);
    let mut n = 0;
    while files(dir, true).is_empty() {
        assert!(n < 200 * GROUP, "nothing was thinned: {:?}", files(dir, false));
        assert!(store.take((n..n + 1024).map(span).collect()));
        store.flush().await;
        n += 1024;
        // Or files would be deleted before they can be thinned.
        if store.bytes() > BYTES_MAX / 8 * 7 {
            let thin = async || match files(dir, true).len() {
                0 => Err(files(dir, false)),
                _ => Ok(()),
            };
            eventually(Duration::from_secs(60), thin).await;
        }
    }
    (store, tasks)
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_slow_ones_stay_whole_and_few_of_the_rest() {
    let dir = tempfile::tempdir().expect("works");
    let (store, tasks) = thinned(dir.path(), Sampling::default()).await;
    // All traces that lie wholly within the first file, which has at least one group.
    let traces = GROUP / 4 - 1;
    let mut kept = 0;
    for trace in 0..traces {
        let spans = store.trace(trace_of(trace)).await.expect("works").len();
        assert!(spans == 0 || spans == 4, "a trace stays whole or goes whole: {spans} of {trace}");
        let must = trace % 100 == 7 || trace % 100 == 50;
        assert!(spans == 4 || !must, "trace {trace} is worth keeping");
        kept += u64::from(spans == 4 && !must);
    }
    assert!((traces / 20..traces / 5).contains(&kept), "{kept} of {traces}, should be a tenth");
    let errors = count(&store, "status:error").await;
    assert_eq!(tasks.shutdown(Duration::from_secs(30)).await, 0);
    let (store, tasks) = open(dir.path(), Sampling::default());
    assert_eq!(count(&store, "status:error").await, errors, "as before the restart");
    assert_eq!(tasks.shutdown(Duration::from_secs(30)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thinned_store_reaches_further_back_and_keeps_its_budget() {
    let oldest = async |sample: Sampling| {
        let dir = tempfile::tempdir().expect("works");
        let (store, tasks) = open(dir.path(), sample);
        for n in 0..24 {
            assert!(store.take((n * GROUP..(n + 1) * GROUP).map(span).collect()));
            store.flush().await;
            // Thinning has its time between two files.
            let settled = async || match store.bytes() {
                bytes if sample.rest < 1_000_000 && bytes > BYTES_MAX / 8 * 7 => Err(bytes),
                _ => Ok(()),
            };
            eventually(Duration::from_secs(60), settled).await;
        }
        let bytes = store.bytes();
        assert!(bytes <= BYTES_MAX + BYTES_MAX / 4, "{bytes}");
        let query =
            SpanQuery { expr: Expr::parse("status:error").expect("works"), ..SpanQuery::default() };
        let spans = store.spans(query, usize::MAX).await.expect("works").found;
        assert_eq!(tasks.shutdown(Duration::from_secs(30)).await, 0);
        spans.iter().map(|span| span.start_ns).min().expect("there are some")
    };
    let all = oldest(Sampling { rest: 1_000_000, ..Sampling::default() }).await;
    let thin = oldest(Sampling::default()).await;
    assert!(thin < all, "{thin} {all}");
}
