//! kill -9 at seeded moments: whatever was acknowledged is there afterwards.
//!
//! The child is this same test binary, told by the environment to append and to print what was
//! acknowledged. The parent kills it, reopens the file and compares.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use archipel_storage::embedded::{EmbeddedKv, EmbeddedLogs, Options};
use archipel_storage::{Kv as _, KvExt as _, Logs as _, ReadLimit, Record, RecordKey, Seq};

const DIRECTORY: &str = "ARCHIPEL_TEST_CRASH_DIRECTORY";

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the tests of this file"]
async fn child_that_is_killed() {
    let directory = std::env::var(DIRECTORY).expect("set by the parent");
    let directory = Path::new(&directory);
    let logs = EmbeddedLogs::open(&directory.join("events.db"), Options::default()).await;
    let kv = EmbeddedKv::open(&directory.join("state.db"), Options::default()).await;
    let (logs, kv) = (logs.expect("opens"), Arc::new(kv.expect("opens")));
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..8 {
        let log = logs.open(&format!("log {}", producer % 3)).await.expect("opens");
        let kv = Arc::clone(&kv);
        tasks.spawn(async move {
            let start = log.bounds().borrow().next.0;
            for i in 0.. {
                let text = format!("{start}/{producer}/{i}");
                let record = Record {
                    key: Some(RecordKey::of(&[&text])),
                    bytes: text.clone().into_bytes().into(),
                };
                let seq = log.append(vec![record]).await.expect("appends").seqs[0];
                println!("log\t{}\t{seq}\t{text}", log.name());
                let key = format!("{producer}");
                kv.put(&key, text.clone().into_bytes().into()).await.expect("commits");
                println!("kv\t{key}\t0\t{text}");
                if producer == 0 && i % 20 == 19 {
                    log.truncate_before(Seq(seq.0.saturating_sub(50))).await.expect("truncates");
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

#[derive(Default)]
struct Acknowledged {
    log: BTreeMap<(String, u64), String>,
    /// The last value that was acknowledged; a later one may be there.
    kv: BTreeMap<String, String>,
}

fn run_and_kill(directory: &Path, lines: usize, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "crash::child_that_is_killed", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let mut left = lines;
    for line in out.lines() {
        let line = line.expect("text");
        if let [kind, name, seq, text] = line.split('\t').collect::<Vec<_>>()[..] {
            if kind == "log" {
                let seq = seq.parse().expect("a position");
                acknowledged.log.insert((name.to_owned(), seq), text.to_owned());
            } else {
                acknowledged.kv.insert(name.to_owned(), text.to_owned());
            }
        }
        left = left.saturating_sub(1);
        if left == 0 {
            // SIGKILL; what the child printed before is read to the end.
            let _ = child.kill();
        }
    }
    child.wait().expect("was started");
    assert_eq!(left, 0, "the child ended by itself; see its output");
}

async fn check(directory: &Path, context: &str, acknowledged: &Acknowledged) {
    let logs = EmbeddedLogs::open(&directory.join("events.db"), Options::default()).await;
    let logs = logs.expect("opens after a crash");
    for name in logs.names().await.expect("lists") {
        let log = logs.open(&name).await.expect("opens");
        let bounds = *log.bounds().borrow();
        let limit = ReadLimit { records: 1_000_000, bytes: u64::MAX >> 1 };
        let found = log.read(Seq(1), limit).await.expect("reads");
        let expected: Vec<_> = (bounds.first.0..bounds.next.0).map(Seq).collect();
        assert_eq!(found.iter().map(|s| s.seq).collect::<Vec<_>>(), expected, "{context} {name}");
        let bytes: u64 = found.iter().map(|s| s.bytes.len() as u64).sum();
        assert_eq!(bytes, bounds.bytes, "{context} {name}");
        for ((_, seq), text) in acknowledged.log.iter().filter(|((log, _), _)| *log == name) {
            if *seq >= bounds.first.0 {
                let record = &found[usize::try_from(seq - bounds.first.0).expect("fits")];
                assert_eq!(record.bytes, text.as_bytes(), "{context} {name} {seq}");
            }
        }
    }
    logs.close().await;

    let kv = EmbeddedKv::open(&directory.join("state.db"), Options::default()).await;
    let kv = kv.expect("opens after a crash");
    let order = |text: &str| -> Vec<u64> {
        text.split('/').map(|part| part.parse().expect("numbers")).collect()
    };
    for (key, text) in &acknowledged.kv {
        let found = kv.get(key).await.expect("reads").expect("was acknowledged");
        let found = String::from_utf8_lossy(&found.value).into_owned();
        assert!(order(&found) >= order(text), "{context}: {key} is {found}, was {text}");
    }
    kv.close().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged = Acknowledged::default();
    for seed in [3, 11, 29, 64, 128, 257, 400] {
        run_and_kill(directory.path(), seed, &mut acknowledged);
        check(directory.path(), &format!("killed after {seed} lines"), &acknowledged).await;
    }
    assert!(acknowledged.log.len() > 400, "{}", acknowledged.log.len());
}
