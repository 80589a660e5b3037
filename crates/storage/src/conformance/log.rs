//! The rules of a log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Dice, LogFixture};
use crate::{
    Appended, BATCH_BYTES_MAX, Bounds, DEDUPE_WINDOW, Log, ReadLimit, Record, RecordKey, Retry,
    Seq, StorageError, Stored,
};

const ALL: ReadLimit = ReadLimit { records: usize::MAX >> 1, bytes: u64::MAX >> 1 };

fn plain(text: impl Into<String>) -> Record {
    Record { key: None, bytes: Bytes::from(text.into()) }
}

fn keyed(key: &str, text: &str) -> Record {
    Record { key: Some(RecordKey::of(&[key])), bytes: Bytes::from(text.to_owned()) }
}

async fn append(log: &Arc<dyn Log>, batch: Vec<Record>) -> Appended {
    log.append(batch).await.expect("the disk is fine")
}

async fn read(log: &Arc<dyn Log>, from: u64) -> Vec<Stored> {
    log.read(Seq(from), ALL).await.expect("the disk is fine")
}

fn texts(stored: &[Stored]) -> Vec<String> {
    stored.iter().map(|s| String::from_utf8_lossy(&s.bytes).into_owned()).collect()
}

fn seqs(of: &[u64]) -> Vec<Seq> {
    of.iter().copied().map(Seq).collect()
}

pub async fn positions_start_at_one_and_have_no_gaps(fixture: &impl LogFixture) {
    let log = fixture.open().await.open("a").await.expect("opens");
    assert_eq!(*log.bounds().borrow(), Bounds::EMPTY);
    assert!(read(&log, 1).await.is_empty());
    let one = append(&log, vec![plain("a")]).await;
    assert_eq!(one, Appended { seqs: seqs(&[1]), fresh: 1 });
    let two = append(&log, vec![plain("b"), plain("")]).await;
    assert_eq!(two.seqs, seqs(&[2, 3]));
    assert_eq!(append(&log, vec![]).await, Appended { seqs: vec![], fresh: 0 });
    let all = read(&log, 1).await;
    assert_eq!(texts(&all), ["a", "b", ""]);
    assert_eq!(all.iter().map(|s| s.seq).collect::<Vec<_>>(), seqs(&[1, 2, 3]));
    assert_eq!(*log.bounds().borrow(), Bounds { first: Seq(1), next: Seq(4), bytes: 2 });
}

pub async fn a_read_is_bounded_by_records_and_bytes(fixture: &impl LogFixture) {
    let log = fixture.open().await.open("a").await.expect("opens");
    append(&log, (0..10).map(|i| plain(format!("{i}{}", "x".repeat(99)))).collect()).await;
    let check = async |from, records, bytes, expected: &[u64]| {
        let found = log.read(Seq(from), ReadLimit { records, bytes }).await.expect("reads");
        let found: Vec<_> = found.iter().map(|s| s.seq.0).collect();
        assert_eq!(found, expected, "from {from}, {records} records, {bytes} bytes");
    };
    check(1, 3, 10_000, &[1, 2, 3]).await;
    check(9, 3, 10_000, &[9, 10]).await;
    check(11, 3, 10_000, &[]).await;
    check(u64::MAX, 3, 10_000, &[]).await;
    check(0, 1, 10_000, &[1]).await;
    check(4, 100, 350, &[4, 5, 6]).await;
    check(4, 100, 300, &[4, 5, 6]).await;
    check(4, 100, 1, &[4]).await;
    check(4, 0, 1_000, &[]).await;
}

pub async fn logs_do_not_see_each_other(fixture: &impl LogFixture) {
    let logs = fixture.open().await;
    let (a, b) = (logs.open("a").await.expect("opens"), logs.open("b/☃").await.expect("opens"));
    append(&a, vec![keyed("k", "in a")]).await;
    append(&b, vec![keyed("k", "in b")]).await;
    let again = logs.open("a").await.expect("opens");
    append(&again, vec![plain("in a again")]).await;
    assert_eq!(texts(&read(&a, 1).await), ["in a", "in a again"]);
    assert_eq!(texts(&read(&b, 1).await), ["in b"]);
    b.truncate_before(Seq(2)).await.expect("truncates");
    assert_eq!(read(&a, 1).await.len(), 2);
    assert_eq!(logs.names().await.expect("lists"), ["a", "b/☃"]);
    assert_eq!(a.name(), "a");
    assert!(logs.open("").await.is_err_and(|e| e.retry() == Retry::Never));
}

pub async fn many_producers_get_distinct_positions_in_their_order(fixture: &impl LogFixture) {
    const PRODUCERS: usize = 16;
    const EACH: usize = 50;
    let log = fixture.open().await.open("a").await.expect("opens");
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let mut last = 0;
            for i in 0..EACH {
                let seq = append(&log, vec![plain(format!("{producer} {i}"))]).await.seqs[0].0;
                assert!(seq > last, "a later append comes later");
                let seen = log.read(Seq(seq), ReadLimit { records: 1, bytes: 1 }).await;
                let seen = texts(&seen.expect("reads"));
                assert_eq!(seen, [format!("{producer} {i}")], "what was acknowledged is there");
                last = seq;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no producer fails");
    }
    let all = read(&log, 1).await;
    let expected: Vec<_> = (1..=(PRODUCERS * EACH) as u64).map(Seq).collect();
    assert_eq!(all.iter().map(|s| s.seq).collect::<Vec<_>>(), expected);
    let mut distinct = texts(&all);
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), PRODUCERS * EACH);
}

pub async fn a_batch_lies_together(fixture: &impl LogFixture) {
    let log = fixture.open().await.open("a").await.expect("opens");
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..8 {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            for _ in 0..10 {
                let batch = (0..5).map(|i| plain(format!("{producer} {i}"))).collect();
                let seqs = append(&log, batch).await.seqs;
                assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].next()), "{seqs:?}");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no producer fails");
    }
    for five in texts(&read(&log, 1).await).chunks(5) {
        let producer = five[0].split(' ').next().unwrap_or_default();
        let expected: Vec<_> = (0..5).map(|i| format!("{producer} {i}")).collect();
        assert_eq!(five, expected);
    }
}

pub async fn a_key_is_stored_once(fixture: &impl LogFixture) {
    let log = fixture.open().await.open("a").await.expect("opens");
    append(&log, vec![keyed("k1", "first"), plain("x")]).await;
    let again = append(&log, vec![keyed("k2", "second"), keyed("k1", "other body")]).await;
    assert_eq!(again, Appended { seqs: seqs(&[3, 1]), fresh: 1 });
    let twice = append(&log, vec![keyed("k3", "third"), keyed("k3", "third")]).await;
    assert_eq!(twice, Appended { seqs: seqs(&[4, 4]), fresh: 1 });
    assert_eq!(texts(&read(&log, 1).await), ["first", "x", "second", "third"]);

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let log = Arc::clone(&log);
        tasks.spawn(async move { append(&log, vec![keyed("k4", "fourth")]).await });
    }
    let mut fresh = 0;
    while let Some(done) = tasks.join_next().await {
        let done = done.expect("no producer fails");
        assert_eq!(done.seqs, seqs(&[5]));
        fresh += done.fresh;
    }
    assert_eq!((fresh, read(&log, 1).await.len()), (1, 5));
}

pub async fn a_key_is_stored_once_also_after_reopening(fixture: &impl LogFixture) {
    let logs = fixture.open().await;
    append(&logs.open("a").await.expect("opens"), vec![plain("x"), keyed("k", "1")]).await;
    logs.close().await;
    let log = fixture.open().await.open("a").await.expect("opens");
    assert_eq!(append(&log, vec![keyed("k", "2")]).await, Appended { seqs: seqs(&[2]), fresh: 0 });
}

pub async fn a_key_is_forgotten_outside_the_window(fixture: &impl LogFixture) {
    let log = fixture.open().await.open("a").await.expect("opens");
    append(&log, vec![keyed("old", "1"), keyed("gone", "2")]).await;
    log.truncate_before(Seq(2)).await.expect("truncates");
    append(&log, (2..DEDUPE_WINDOW).map(|_| plain("")).collect()).await;
    let inside = append(&log, vec![keyed("gone", "2")]).await;
    assert_eq!(inside.fresh, 0, "the last {DEDUPE_WINDOW} records are searched");
    append(&log, vec![plain(""), plain("")]).await;
    assert_eq!(append(&log, vec![keyed("gone", "2")]).await.fresh, 1);
    assert_eq!(append(&log, vec![keyed("old", "1")]).await.fresh, 1);
}

pub async fn truncated_records_are_gone_and_positions_go_on(fixture: &impl LogFixture) {
    let logs = fixture.open().await;
    let log = logs.open("a").await.expect("opens");
    append(&log, (1..=10).map(|i| plain(format!("{i:03}"))).collect()).await;
    log.truncate_before(Seq(4)).await.expect("truncates");
    assert_eq!(*log.bounds().borrow(), Bounds { first: Seq(4), next: Seq(11), bytes: 21 });
    assert_eq!(read(&log, 1).await[0].seq, Seq(4), "a read before the start begins at the start");
    log.truncate_before(Seq(2)).await.expect("does nothing");
    log.truncate_before(Seq(u64::MAX)).await.expect("removes everything");
    assert_eq!(*log.bounds().borrow(), Bounds { first: Seq(11), next: Seq(11), bytes: 0 });
    logs.close().await;
    let log = fixture.open().await.open("a").await.expect("opens");
    assert_eq!(append(&log, vec![plain("x")]).await.seqs, seqs(&[11]), "never a position again");
    // More than one command of the embedded back end removes.
    append(&log, (0..5_000).map(|_| plain("y")).collect()).await;
    log.truncate_before(Seq(5_000)).await.expect("truncates");
    assert_eq!(*log.bounds().borrow(), Bounds { first: Seq(5_000), next: Seq(5_012), bytes: 12 });
}

pub async fn all_is_there_after_reopening(fixture: &impl LogFixture) {
    for round in 0..3_u64 {
        let logs = fixture.open().await;
        let log = logs.open("a").await.expect("opens");
        assert_eq!(log.bounds().borrow().next, Seq(1 + round * 2));
        append(&log, vec![plain(format!("{round}a")), plain(format!("{round}b"))]).await;
        logs.close().await;
    }
    let log = fixture.open().await.open("a").await.expect("opens");
    assert_eq!(texts(&read(&log, 1).await), ["0a", "0b", "1a", "1b", "2a", "2b"]);
    assert_eq!(log.bounds().borrow().bytes, 12);
}

pub async fn a_reader_is_told_when_there_is_more(fixture: &impl LogFixture) {
    let logs = fixture.open().await;
    let log = logs.open("a").await.expect("opens");
    let mut bounds = log.bounds();
    bounds.mark_unchanged();
    let reader = logs.open("a").await.expect("opens");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut seen = 0;
        while seen < 100 {
            bounds.wait_for(|b| b.next.0 > seen + 1).await.expect("the log is open");
            let found = reader.read(Seq(seen + 1), ALL).await.expect("reads");
            assert!(!found.is_empty(), "what the bounds speak of can be read");
            seen = found.last().map_or(seen, |s| s.seq.0);
        }
    });
    for i in 0..100 {
        append(&log, vec![plain(format!("{i}"))]).await;
    }
    let done = tokio::time::timeout(Duration::from_secs(20), tasks.join_next()).await;
    done.expect("the reader is told").expect("a task").expect("reads all");
}

pub async fn times_never_decrease_and_can_be_sought(fixture: &impl LogFixture) {
    let log = fixture.open().await.open("a").await.expect("opens");
    assert_eq!(log.seek(0).await.expect("seeks"), Seq(1));
    for i in 0..20 {
        append(&log, vec![plain(format!("{i}")), plain("second of its batch")]).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    log.truncate_before(Seq(6)).await.expect("truncates");
    let all = read(&log, 1).await;
    assert!(all.is_sorted_by_key(|s| s.at_ms));
    for stored in &all {
        let first = all.iter().find(|s| s.at_ms == stored.at_ms).map(|s| s.seq);
        assert_eq!(Some(log.seek(stored.at_ms).await.expect("seeks")), first);
    }
    assert_eq!(log.seek(0).await.expect("seeks"), Seq(6));
    assert_eq!(log.seek(u64::MAX >> 1).await.expect("seeks"), Seq(41));
}

pub async fn what_is_too_large_is_refused_and_nothing_stored(fixture: &impl LogFixture) {
    let log = fixture.open().await.open("a").await.expect("opens");
    let half = Bytes::from(vec![7; usize::try_from(BATCH_BYTES_MAX / 2 + 1).expect("fits")]);
    let record = Record { key: None, bytes: half };
    let error = log.append(vec![record.clone(), record.clone()]).await.expect_err("too large");
    assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(*log.bounds().borrow(), Bounds::EMPTY);
    append(&log, vec![record.clone()]).await;
    assert_eq!(read(&log, 1).await[0].bytes, record.bytes);
}

pub async fn a_closed_store_says_so(fixture: &impl LogFixture) {
    let logs = fixture.open().await;
    let log = logs.open("a").await.expect("opens");
    logs.close().await;
    logs.close().await;
    let closed = |error: StorageError| matches!(error, StorageError::Closed { .. });
    assert!(log.append(vec![plain("x")]).await.is_err_and(closed));
    assert!(logs.open("b").await.is_err_and(closed));
    assert!(logs.names().await.is_err_and(closed));
    let log = fixture.open().await.open("a").await.expect("opens");
    assert_eq!(*log.bounds().borrow(), Bounds::EMPTY, "what was refused did not happen");
}

/// Appends, keys, truncations, reads and reopenings by dice, against a vector.
pub async fn any_sequence_of_calls_agrees_with_a_model(fixture: &impl LogFixture) {
    let mut logs = fixture.open().await;
    for seed in 0..6_u64 {
        let name = format!("seed {seed}");
        let mut dice = Dice::new(seed);
        let mut log = logs.open(&name).await.expect("opens");
        let mut model: Vec<Option<String>> = Vec::new();
        let mut first = 1;
        for step in 0..60 {
            let context = format!("seed {seed}, step {step}");
            match dice.roll(10) {
                0 => {
                    first = first.max(1 + dice.roll(model.len() as u64 + 1));
                    log.truncate_before(Seq(first)).await.expect("truncates");
                }
                1 => {
                    logs.close().await;
                    logs = fixture.open().await;
                    log = logs.open(&name).await.expect("opens");
                }
                2..7 => {
                    let mut batch = Vec::new();
                    let mut expected = Vec::new();
                    for _ in 0..=dice.roll(6) {
                        let text = format!("key {}", dice.roll(40));
                        let kept = model.iter().enumerate().skip(first as usize - 1);
                        let before = kept.into_iter().find(|(_, r)| r.as_ref() == Some(&text));
                        match (dice.roll(2) == 0, before) {
                            (true, Some((at, _))) => {
                                expected.push(Seq(at as u64 + 1));
                                batch.push(keyed(&text, &text));
                            }
                            (true, None) => {
                                model.push(Some(text.clone()));
                                expected.push(Seq(model.len() as u64));
                                batch.push(keyed(&text, &text));
                            }
                            (false, _) => {
                                model.push(None);
                                expected.push(Seq(model.len() as u64));
                                batch.push(plain("plain"));
                            }
                        }
                    }
                    assert_eq!(append(&log, batch).await.seqs, expected, "{context}");
                }
                _ => {
                    let from = dice.roll(model.len() as u64 + 3);
                    let records = dice.roll(8) as usize;
                    let limit = ReadLimit { records, bytes: u64::MAX >> 1 };
                    let found = log.read(Seq(from), limit).await.expect("reads");
                    let start = from.max(first) as usize - 1;
                    let expected: Vec<_> = model
                        .iter()
                        .skip(start)
                        .take(records)
                        .map(|text| text.clone().unwrap_or("plain".to_owned()))
                        .collect();
                    assert_eq!(texts(&found), expected, "{context}, from {from}");
                }
            }
            let bounds = *log.bounds().borrow();
            let next = model.len() as u64 + 1;
            assert_eq!((bounds.first.0, bounds.next.0), (first.min(next), next), "{context}");
        }
    }
    logs.close().await;
}
