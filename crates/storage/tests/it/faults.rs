//! The memory back end fails when told to, as disks do.

use std::time::Duration;

use archipel_storage::memory::{MemoryKv, MemoryLogs};
use archipel_storage::{Kv as _, KvExt as _, Log, Logs as _, Record, RecordKey, Retry, Seq};

fn record(key: &str) -> Vec<Record> {
    vec![Record { key: Some(RecordKey::of(&[key])), bytes: "x".into() }]
}

async fn open(logs: &MemoryLogs) -> std::sync::Arc<dyn Log> {
    logs.open("a").await.expect("opens")
}

#[tokio::test]
async fn a_failed_append_changes_nothing_and_may_be_repeated() {
    let logs = MemoryLogs::default();
    let log = open(&logs).await;
    logs.faults().fail_next(2);
    for _ in 0..2 {
        let error = log.append(record("a")).await.expect_err("ordered");
        assert_eq!(error.retry(), Retry::Safe);
    }
    assert!(log.bounds().borrow().is_empty());
    assert_eq!(log.append(record("a")).await.expect("works again").seqs, [Seq(1)]);
}

#[tokio::test]
async fn a_torn_append_is_safe_to_repeat_with_a_key() {
    let logs = MemoryLogs::default();
    let log = open(&logs).await;
    logs.faults().tear_next(1);
    let error = log.append(record("a")).await.expect_err("ordered");
    assert_eq!(error.retry(), Retry::Unknown);
    let again = log.append(record("a")).await.expect("works");
    assert_eq!((again.seqs, again.fresh), (vec![Seq(1)], 0));
}

#[tokio::test]
async fn a_held_write_waits_until_released() {
    let kv = MemoryKv::default();
    kv.faults().hold();
    let waiting = kv.put("a", "1".into());
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
    assert!(early.is_err(), "it waits");
    assert!(kv.get("a").await.expect("reads").is_none());
    kv.faults().release();
    waiting.await.expect("commits");
    assert!(kv.get("a").await.expect("reads").is_some());
}
