//! The log store as its users see it: what was printed is found again, within a budget.

use std::collections::BTreeMap;
use std::time::Duration;

use archipel_model::{Bytes, InstanceId, LogPolicy, ServiceName};
use archipel_rt::{CancellationToken, Tasks};
use archipel_telemetry::{Filter, Level, Line, LogStore, Stream};
use futures_util::StreamExt;

fn line(instance: &str, at_ms: u64, text: &str) -> Line {
    let instance: InstanceId = instance.parse().expect("an instance");
    Line { at_ms, instance, stream: Stream::Stdout, text: text.to_owned() }
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a name")
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
