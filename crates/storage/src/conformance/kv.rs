//! The rules of keys and values.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Dice, KvFixture};
use crate::{
    Entry, Expect, Kv, KvError, KvExt as _, LIST_BYTES_MAX, Retry, StorageError, Tx,
    VALUE_BYTES_MAX, Version,
};

async fn text(kv: &Arc<dyn Kv>, key: &str) -> Option<String> {
    let entry = kv.get(key).await.expect("reads");
    entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
}

async fn commit(kv: &Arc<dyn Kv>, tx: Tx) -> Version {
    kv.commit(tx).await.expect("commits")
}

pub async fn what_is_put_can_be_read(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    assert_eq!(kv.get("a").await.expect("reads"), None);
    let version = commit(&kv, Tx::new().put("a", "1")).await;
    assert_eq!(kv.get("a").await.expect("reads"), Some(Entry { value: Bytes::from("1"), version }));
    commit(&kv, Tx::new().put("a", "")).await;
    assert_eq!(text(&kv, "a").await.as_deref(), Some(""));
    commit(&kv, Tx::new().delete("a").delete("never there")).await;
    assert_eq!(text(&kv, "a").await, None);
}

pub async fn a_transaction_happens_whole_or_not_at_all(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    let tx = Tx::new().put("a", "1").put("b", "1").put("a", "2").put("c", "1").delete("c");
    let version = commit(&kv, tx).await;
    assert_eq!(text(&kv, "a").await.as_deref(), Some("2"), "writes take effect in order");
    assert_eq!(text(&kv, "c").await, None);
    for key in ["a", "b"] {
        assert_eq!(kv.get(key).await.expect("reads").map(|e| e.version), Some(version));
    }
    let tx = Tx::new().put("a", "3").put("d", "1").expect("b", Expect::Absent).delete("b");
    let error = kv.commit(tx).await.expect_err("b is there");
    assert!(matches!(&error, KvError::Conflict { key } if key == "b"), "{error}");
    assert_eq!(text(&kv, "a").await.as_deref(), Some("2"));
    assert_eq!(text(&kv, "d").await, None);
}

pub async fn an_expectation_guards_a_write(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    let first = kv.compare_and_set("a", Expect::Absent, "1".into()).await.expect("absent");
    let conflict = |result: Result<Version, KvError>| {
        result.is_err_and(|e| matches!(e, KvError::Conflict { .. }))
    };
    assert!(conflict(kv.compare_and_set("a", Expect::Absent, "2".into()).await));
    let second =
        kv.compare_and_set("a", Expect::Version(first), "2".into()).await.expect("unchanged");
    assert!(second > first);
    assert!(conflict(kv.compare_and_set("a", Expect::Version(first), "3".into()).await));
    assert!(conflict(kv.compare_and_set("b", Expect::Version(first), "3".into()).await));
    // The checks see the store before the transaction's own writes.
    let tx = Tx::new().delete("a").expect("a", Expect::Version(second)).put("b", "1");
    commit(&kv, tx).await;
    assert_eq!((text(&kv, "a").await, text(&kv, "b").await.as_deref()), (None, Some("1")));
}

pub async fn a_version_never_comes_back(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    let first = commit(&kv, Tx::new().put("a", "1")).await;
    commit(&kv, Tx::new().delete("a")).await;
    kv.close().await;
    let kv = fixture.open().await;
    let second = commit(&kv, Tx::new().put("a", "1")).await;
    assert!(second > first, "removed and made again is not unchanged");
    let result = kv.compare_and_set("a", Expect::Version(first), "2".into()).await;
    assert!(result.is_err());
}

pub async fn a_list_is_ordered_and_paged(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    let keys = ["a", "a/", "a/1", "a/10", "a/2", "a/é", "a0", "b/1", "A/1"];
    let tx = keys.iter().rev().fold(Tx::new(), |tx, key| tx.put(*key, *key));
    commit(&kv, tx).await;
    let check = async |prefix: &str, after: Option<&str>, max, expected: &[&str]| {
        let found = kv.list(prefix, after, max).await.expect("lists");
        let found: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, expected, "{prefix:?} after {after:?}");
    };
    check("a/", None, 100, &["a/", "a/1", "a/10", "a/2", "a/é"]).await;
    check("a/", None, 2, &["a/", "a/1"]).await;
    check("a/", Some("a/1"), 2, &["a/10", "a/2"]).await;
    check("a/", Some("a/é"), 2, &[]).await;
    check("a/", Some("A"), 1, &["a/"]).await;
    check("", None, 3, &["A/1", "a", "a/"]).await;
    check("c", None, 3, &[]).await;
    check("a", None, 0, &[]).await;

    let large = Bytes::from(vec![1; VALUE_BYTES_MAX]);
    for i in 0..4 {
        commit(&kv, Tx::new().put(format!("large/{i}"), large.clone())).await;
    }
    let page = kv.list("large/", None, 100).await.expect("lists");
    assert_eq!(page.len(), LIST_BYTES_MAX / VALUE_BYTES_MAX, "a page is bounded by bytes");
    let all = kv.list_all("large/").await.expect("lists");
    assert_eq!(all.len(), 4);
}

pub async fn counting_together_loses_nothing(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let kv = Arc::clone(&kv);
        tasks.spawn(async move {
            let mut done = 0;
            while done < 10 {
                let entry = kv.get("n").await.expect("reads");
                let n: u64 = entry
                    .as_ref()
                    .map_or(0, |e| String::from_utf8_lossy(&e.value).parse().expect("a number"));
                let expect = entry.map_or(Expect::Absent, |e| Expect::Version(e.version));
                let next = Bytes::from((n + 1).to_string());
                match kv.compare_and_set("n", expect, next).await {
                    Ok(_) => done += 1,
                    Err(KvError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("nobody fails");
    }
    assert_eq!(text(&kv, "n").await.as_deref(), Some("80"));
}

pub async fn entries_are_there_after_reopening(fixture: &impl KvFixture) {
    for round in 0..3 {
        let kv = fixture.open().await;
        assert_eq!(kv.list_all("").await.expect("lists").len(), round);
        commit(&kv, Tx::new().put(format!("k{round}"), "v")).await;
        kv.close().await;
    }
}

pub async fn bad_keys_and_values_are_refused(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    let long = "k".repeat(2_000);
    for key in ["", "a\0b", long.as_str()] {
        let error = kv.put(key, Bytes::new()).await.expect_err("refused");
        assert_eq!(error.retry(), Retry::Never, "{error}");
    }
    let error = kv.put("a", Bytes::from(vec![0; VALUE_BYTES_MAX + 1])).await.expect_err("refused");
    assert!(matches!(error, KvError::Storage(StorageError::TooLarge { .. })), "{error}");
    kv.put("a", Bytes::from(vec![0; VALUE_BYTES_MAX])).await.expect("just fits");
}

pub async fn a_closed_kv_says_so(fixture: &impl KvFixture) {
    let kv = fixture.open().await;
    kv.close().await;
    kv.close().await;
    assert!(matches!(kv.get("a").await, Err(StorageError::Closed { .. })));
    let error = kv.put("a", Bytes::new()).await.expect_err("closed");
    assert!(matches!(error, KvError::Storage(StorageError::Closed { .. })), "{error}");
}

/// Transactions with expectations, right and wrong, and reopenings by dice, against a map.
pub async fn any_sequence_of_transactions_agrees_with_a_model(fixture: &impl KvFixture) {
    let mut kv = fixture.open().await;
    for seed in 0..6_u64 {
        let mut dice = Dice::new(seed);
        let mut model: BTreeMap<String, (String, Version)> = BTreeMap::new();
        for step in 0..60 {
            let context = format!("seed {seed}, step {step}");
            if dice.roll(12) == 0 {
                kv.close().await;
                kv = fixture.open().await;
            }
            let (mut tx, mut holds, mut after) = (Tx::new(), true, model.clone());
            for _ in 0..dice.roll(3) {
                let key = format!("{seed}/{}", dice.roll(6));
                let expect = match dice.roll(3) {
                    0 => Expect::Absent,
                    1 => Expect::Version(Version(dice.roll(50))),
                    _ => model.get(&key).map_or(Expect::Absent, |(_, v)| Expect::Version(*v)),
                };
                holds &= match expect {
                    Expect::Absent => !model.contains_key(&key),
                    Expect::Version(v) => model.get(&key).is_some_and(|(_, have)| *have == v),
                };
                tx = tx.expect(key, expect);
            }
            for i in 0..dice.roll(4) {
                let key = format!("{seed}/{}", dice.roll(6));
                if dice.roll(3) == 0 {
                    after.remove(&key);
                    tx = tx.delete(key);
                } else {
                    let value = format!("{step}.{i}");
                    after.insert(key.clone(), (value.clone(), Version(0)));
                    tx = tx.put(key, value);
                }
            }
            match kv.commit(tx).await {
                Ok(version) => {
                    assert!(holds, "{context}: happened against an expectation");
                    for (key, entry) in &mut after {
                        if entry.1 == Version(0) {
                            entry.1 = version;
                        }
                        assert!(entry.1 <= version, "{context}: {key}");
                    }
                    model = after;
                }
                Err(KvError::Conflict { .. }) => assert!(!holds, "{context}: refused"),
                Err(error) => panic!("{context}: {error}"),
            }
            let found = kv.list_all(&format!("{seed}/")).await.expect("lists");
            let found: BTreeMap<_, _> = found
                .into_iter()
                .map(|(k, e)| (k, (String::from_utf8_lossy(&e.value).into_owned(), e.version)))
                .collect();
            assert_eq!(found, model, "{context}");
        }
    }
    kv.close().await;
}
