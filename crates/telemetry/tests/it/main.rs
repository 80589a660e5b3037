//! The log store as its users see it: what was printed is found again, within a budget.

mod export;
mod metrics;
mod otlp;
mod spans;
mod thin;

use std::collections::BTreeMap;
use std::time::Duration;

use archipel_model::{Bytes, InstanceId, LogPolicy, ServiceName};
use archipel_rt::{CancellationToken, Tasks};
use archipel_telemetry::{
    Filter, Level, Line, LogStore, MetricPolicy, MetricStore, SpanPolicy, SpanStore, Stream,
};
use futures_util::StreamExt;

fn line(instance: &str, at_ms: u64, text: &str) -> Line {
    let instance: InstanceId = instance.parse().expect("an instance");
    Line { at_ms, instance, stream: Stream::Stdout, text: text.to_owned() }
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a name")
}

/// All that one Archipel keeps, side by side in `dir`.
fn stores(dir: &std::path::Path, tasks: &Tasks) -> (SpanStore, LogStore, MetricStore) {
    let spans = SpanStore::open(dir.join("spans"), SpanPolicy::default(), tasks).expect("opens");
    let logs = LogStore::open(dir.join("logs"), tasks).expect("opens");
    let metrics = MetricStore::open(dir.join("metrics"), MetricPolicy::default()).expect("opens");
    (spans, logs, metrics)
}

struct Fixture {
    dir: tempfile::TempDir,
    tasks: Tasks,
    store: LogStore,
}

impl Fixture {
    fn open() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::in_dir(dir)
    }

    fn in_dir(dir: tempfile::TempDir) -> Self {
        let tasks = Tasks::new(&CancellationToken::new());
        let store = LogStore::open(dir.path().to_owned(), &tasks).expect("opens");
        Self { dir, tasks, store }
    }

    async fn reopen(self) -> Self {
        self.tasks.shutdown(Duration::from_secs(5)).await;
        Self::in_dir(self.dir)
    }

    async fn messages(&self, filter: &Filter, tail: usize) -> Vec<String> {
        let records = self.store.last(filter, tail).await.expect("reads");
        records.into_iter().map(|record| record.message).collect()
    }
}

#[tokio::test]
async fn what_was_printed_is_found_also_after_a_restart() {
    let it = Fixture::open();
    it.store.take(line(
        "a-0",
        1,
        r#"{"level":"error","msg":"one","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}"#,
    ));
    it.store.take(line("b-0", 2, "two"));
    it.store.take(line("a-1", 3, "three"));
    assert_eq!(it.messages(&Filter::default(), 10).await, ["one", "two", "three"]);
    let it = it.reopen().await;
    assert_eq!(it.messages(&Filter::default(), 2).await, ["two", "three"]);
    let a = Filter { services: [service("a")].into(), ..Filter::default() };
    assert_eq!(it.messages(&a, 10).await, ["one", "three"]);
    let bad = Filter { level: Some(Level::Warn), ..Filter::default() };
    assert_eq!(it.messages(&bad, 10).await, ["one"]);
    let trace = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
    assert_eq!(it.messages(&Filter { trace_id: trace, ..Filter::default() }, 10).await, ["one"]);
    let later = Filter { since_ms: Some(2), text: Some("THR".into()), ..Filter::default() };
    assert_eq!(it.messages(&later, 10).await, ["three"]);
}

#[tokio::test]
async fn following_tells_the_past_and_then_each_new_line_once() {
    let it = Fixture::open();
    it.store.take(line("a-0", 1, "past"));
    let mut follow = Box::pin(it.store.follow(Filter::default(), 10).await.expect("follows"));
    it.store.take(line("a-0", 1, r#"{"msg":"same moment"}"#));
    it.store.take(line("a-0", 2, r#"{"msg":"new"}"#));
    for expected in ["past", "same moment", "new"] {
        let record = follow.next().await.expect("a record");
        assert_eq!(record.message, expected);
    }
}

#[tokio::test]
async fn a_torn_line_costs_only_itself() {
    let it = Fixture::open();
    it.store.take(line("a-0", 1, "whole"));
    it.store.flush().await;
    let dir = it.dir.path().join("a");
    let file = std::fs::read_dir(&dir).expect("dir").next().expect("a file").expect("entry").path();
    let mut bytes = std::fs::read(&file).expect("read");
    bytes.extend_from_slice(b"{\"t\":5,\"i\":\"a-0\",\"s\":\"std");
    std::fs::write(&file, bytes).expect("write");
    let it = it.reopen().await;
    it.store.take(line("a-0", 9, "after"));
    assert_eq!(it.messages(&Filter::default(), 10).await, ["whole", "after"]);
}

/// Set for the child of the test below: where it writes.
const CHILD_DIR: &str = "ARCHIPEL_TEST_LOGS";

/// Not a test by itself: prints until it is killed.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let tasks = Tasks::new(&CancellationToken::new());
    let store = LogStore::open(dir.into(), &tasks).expect("opens");
    for n in 0_u64.. {
        let pad = "x".repeat(n as usize * 37 % 3_000);
        store.take(line("a-0", n, &format!(r#"{{"msg":"{n}","pad":"{pad}"}}"#)));
        if n % 100 == 0 {
            store.flush().await;
        }
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_write_loses_only_the_end() {
    let mut dir = tempfile::tempdir().expect("a directory");
    let mut next = 0;
    for life in 1..=4_u64 {
        let this = std::env::current_exe().expect("the test itself");
        let mut child = std::process::Command::new(this)
            .args(["--exact", "child_that_writes_until_it_is_killed"])
            .env(CHILD_DIR, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        let written = || {
            let files = std::fs::read_dir(dir.path().join("a")).into_iter().flatten();
            let sizes = files.map(|file| file.expect("entry").metadata().expect("meta").len());
            sizes.sum::<u64>()
        };
        let enough = written() + life * 700_000;
        archipel_testkit::eventually_blocking(Duration::from_secs(30), || {
            let bytes = written();
            if bytes > enough { Ok(()) } else { Err(format!("{bytes} bytes so far")) }
        });
        child.kill().expect("kill -9");
        child.wait().expect("gone");
        let it = Fixture::in_dir(dir);
        it.store.take(line("a-0", 0, r#"{"msg":"after"}"#));
        let records = it.store.last(&Filter::default(), usize::MAX).await.expect("reads");
        // Sorted by time, "after" stands with the zeros; every life counts from zero.
        let lost = records.iter().filter(|r| r.message == "after").count();
        assert_eq!(lost, usize::try_from(life).expect("small"), "a torn line swallowed the next");
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for record in records.iter().filter(|record| record.message != "after") {
            assert_eq!(record.message, record.at_ms.to_string());
            let pad = usize::try_from(record.at_ms).expect("small") * 37 % 3_000;
            assert_eq!(record.fields["pad"].as_str().map(str::len), Some(pad));
            *counts.entry(record.at_ms).or_default() += 1;
        }
        assert_eq!(counts.get(&0), Some(&life), "every life's beginning is there");
        let whole = counts.values().filter(|count| **count == life).count();
        assert!(whole > 100, "{whole} lines survived every life");
        let total: u64 = counts.values().sum();
        assert!(total > next, "{total} lines");
        next = total;
        it.tasks.shutdown(Duration::from_secs(5)).await;
        dir = it.dir;
    }
}

#[tokio::test]
async fn lines_that_did_not_fit_leave_a_note() {
    let it = Fixture::open();
    let text = format!(r#"{{"msg":"{}"}}"#, "x".repeat(40 << 10));
    // This thread is the runtime's only one: the writer gets no turn in between.
    for n in 0..2_000 {
        it.store.take(line("a-0", n, &text));
    }
    let dropped = it.store.dropped();
    assert!((500..2_000).contains(&dropped), "{dropped}: the queue holds bytes, not only lines");
    let noted = Filter { level: Some(Level::Warn), ..Filter::default() };
    let notes = it.messages(&noted, 10).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with(&format!("{dropped} lines are missing here")), "{notes:?}");
    it.store.take(line("a-0", 3_000, r#"{"msg":"room again"}"#));
    assert_eq!(it.messages(&Filter::default(), 10_000).await.len() as u64, 2_000 - dropped + 2);
}

#[tokio::test]
async fn who_floods_loses_its_own_lines_and_not_its_neighbours() {
    let it = Fixture::open();
    // As above: the writer gets no turn before everything is offered.
    for n in 0..50_000 {
        it.store.take(line("flood-0", n, r#"{"msg":"again"}"#));
        if n % 1_000 == 0 {
            it.store.take(line("quiet-0", n, r#"{"msg":"one of few"}"#));
        }
    }
    let messages = it.messages(&Filter::default(), usize::MAX).await;
    assert_eq!(messages.iter().filter(|message| *message == "one of few").count(), 50);
    let notes = messages.iter().filter(|message| message.contains("lines are missing here"));
    assert_eq!(notes.count(), 1, "the flood's own");
}

#[tokio::test]
async fn a_line_without_end_is_cut() {
    let it = Fixture::open();
    it.store.take(line("a-0", 1, &"é".repeat(100_000)));
    let messages = it.messages(&Filter::default(), 1).await;
    assert!(messages[0].len() < 70_000 && messages[0].ends_with("more bytes)"));
}

#[tokio::test]
async fn followers_see_lines_that_come_late() {
    let it = Fixture::open();
    it.store.take(line("a-0", 100, r#"{"msg":"past"}"#));
    let mut follow = Box::pin(it.store.follow(Filter::default(), 10).await.expect("follows"));
    // Another instance's reader was slower: its time lies before what was told already.
    it.store.take(line("b-0", 99, r#"{"msg":"late"}"#));
    it.store.take(line("a-0", 100, r#"{"msg":"past"}"#));
    for expected in ["past", "late", "past"] {
        let record = follow.next().await.expect("a record");
        assert_eq!(record.message, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_that_begin_in_the_middle_miss_nothing_and_see_nothing_twice() {
    let it = Fixture::open();
    let store = it.store.clone();
    it.tasks.spawn("test.printer", async move {
        // Fewer than a follower may be behind, or a slow machine would rightly lose some.
        for n in 0..4_000_u64 {
            store.take(line("a-0", n / 10, &format!(r#"{{"msg":"{n}"}}"#)));
            if n % 50 == 0 {
                store.flush().await;
            }
        }
    });
    for _ in 0..5 {
        let mut follow =
            Box::pin(it.store.follow(Filter::default(), usize::MAX).await.expect("follows"));
        for n in 0..3_000 {
            let record = follow.next().await.expect("a record");
            assert_eq!(record.message, n.to_string());
        }
    }
}

#[tokio::test]
async fn old_logs_go_also_when_nothing_is_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let gone = dir.path().join("gone");
    std::fs::create_dir(&gone).expect("made");
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for n in 0..3 {
        let path = gone.join(format!("{:015}-000.ndjson", n));
        let file = std::fs::File::create(path).expect("made");
        file.set_modified(old).expect("dated");
    }
    let it = Fixture::in_dir(dir);
    it.store.flush().await;
    archipel_testkit::eventually_blocking(Duration::from_secs(30), || {
        let left = std::fs::read_dir(&gone).expect("dir").count();
        if left == 1 { Ok(()) } else { Err(format!("{left} files")) }
    });
}

#[tokio::test]
async fn the_budget_holds_and_the_newest_stay() {
    let it = Fixture::open();
    let policy = LogPolicy { keep: Duration::from_secs(3_600), max: Bytes(24 << 20) };
    it.store.apply(BTreeMap::from([(service("a"), policy)])).await;
    let text = format!(r#"{{"msg":"{}"}}"#, "x".repeat(60 << 10));
    for at_ms in 0..800 {
        it.store.take(line("a-0", at_ms, &text));
        if at_ms % 200 == 0 {
            it.store.flush().await;
        }
    }
    it.store.flush().await;
    let sizes = std::fs::read_dir(it.dir.path().join("a")).expect("dir");
    let total: u64 = sizes.map(|entry| entry.expect("entry").metadata().expect("meta").len()).sum();
    assert!(total <= 32 << 20, "{total} bytes");
    let last = it.store.last(&Filter::default(), 1).await.expect("reads");
    assert_eq!(last[0].at_ms, 799);
}

#[tokio::test]
async fn what_is_full_becomes_smaller_while_it_runs_and_is_found_as_before() {
    let it = Fixture::open();
    for at_ms in 0..200 {
        let text = format!(r#"{{"msg":"{at_ms} {}"}}"#, "tide ".repeat(12 << 10));
        it.store.take(line("a-0", at_ms, &text));
        if at_ms % 50 == 0 {
            it.store.flush().await;
        }
    }
    let before = it.messages(&Filter::default(), usize::MAX).await;
    assert_eq!(before.len(), 200);
    let dir = it.dir.path().join("a");
    archipel_testkit::eventually(Duration::from_secs(60), || async {
        let names = std::fs::read_dir(&dir).expect("dir");
        let mut names: Vec<_> = names.map(|entry| entry.expect("entry").file_name()).collect();
        names.sort();
        let lines = names.iter().filter(|name| name.to_string_lossy().ends_with(".ndjson"));
        if lines.count() == 1 && names.len() > 1 { Ok(()) } else { Err(names) }
    })
    .await;
    assert_eq!(it.messages(&Filter::default(), usize::MAX).await, before);
    let it = it.reopen().await;
    it.store.take(line("a-0", 200, "after"));
    assert_eq!(it.messages(&Filter::default(), usize::MAX).await.len(), 201);
}

#[tokio::test]
async fn the_lines_of_a_stack_trace_are_one_record() {
    let it = Fixture::open();
    for text in
        ["Traceback (most recent call last):", "  File \"a.py\", line 1", "ValueError: no", "next"]
    {
        it.store.take(line("a-0", 1, text));
    }
    let messages = it.messages(&Filter::default(), 10).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].ends_with("ValueError: no"));
}

#[tokio::test]
async fn logs_are_asked_for_in_the_language_of_traces() {
    let fixture = Fixture::open();
    for (instance, text) in [
        ("orders-0", r#"{"level":"error","msg":"card declined","order":17,"path":"/orders/17"}"#),
        ("orders-1", r#"{"level":"info","msg":"order accepted","order":18}"#),
        ("cart-0", "WARN nearly full"),
    ] {
        fixture.store.take(line(instance, 1, text));
    }
    for (question, expected) in [
        ("service:orders", 2),
        ("instance:orders-1 OR service:cart", 2),
        ("level>=warn", 2),
        ("-level:error", 2),
        ("\"card declined\" order>=17", 1),
        ("order<18", 1),
        ("order!=17", 2),
        ("path:/orders/*", 1),
        ("declin*", 1),
        ("stream:stderr", 0),
    ] {
        let expr = archipel_telemetry::Expr::parse(question).expect("parses");
        let filter = Filter { expr, ..Filter::default() };
        let found = fixture.store.last(&filter, 10).await.expect("reads");
        assert_eq!(found.len(), expected, "{question}");
    }
}
