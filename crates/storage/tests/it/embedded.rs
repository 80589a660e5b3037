//! What is special to files: whose they are, who may read them, what a full disk does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use archipel_storage::embedded::{Durability, EmbeddedKv, EmbeddedLogs, Options};
use archipel_storage::{Kv as _, Log, Logs as _, ReadLimit, Record, Retry, Seq, StorageError};

async fn open(path: &Path) -> Result<EmbeddedLogs, StorageError> {
    EmbeddedLogs::open(path, Options::default()).await
}

fn record(text: &str) -> Record {
    Record { key: None, bytes: text.to_owned().into() }
}

async fn count(log: &dyn Log) -> usize {
    let limit = ReadLimit { records: usize::MAX >> 1, bytes: u64::MAX >> 1 };
    log.read(Seq(1), limit).await.expect("reads").len()
}

#[tokio::test]
async fn files_and_their_directory_are_for_the_owner_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("deep/data/events.db");
    let logs = open(&path).await.expect("opens");
    logs.open("a").await.expect("opens").append(vec![record("x")]).await.expect("appends");
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().expect("deep/data")), 0o700);
    for entry in fs::read_dir(path.parent().expect("deep/data")).expect("lists") {
        let entry = entry.expect("lists").path();
        assert_eq!(mode(&entry), 0o600, "{}", entry.display());
    }
}

#[tokio::test]
async fn a_second_process_is_told_to_wait_its_turn() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.db");
    let first = open(&path).await.expect("opens");
    let error = open(&path).await.expect_err("in use");
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    first.close().await;
    open(&path).await.expect("free again");
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let check = async |name: &str, make: &dyn Fn(&Path), says: &str| {
        let path = directory.path().join(name);
        make(&path);
        let before = fs::read(&path).ok();
        let error = open(&path).await.expect_err(name);
        assert!(error.to_string().contains(says), "{name}: {error}");
        assert_eq!(error.retry(), Retry::Never);
        assert_eq!(fs::read(&path).ok(), before, "{name}: unchanged");
    };
    check("text.db", &|p| fs::write(p, "not a database".repeat(99)).expect("writes"), "damaged")
        .await;
    let other = |path: &Path| {
        let other = rusqlite::Connection::open(path).expect("opens");
        other.execute_batch("CREATE TABLE t (x)").expect("creates");
    };
    check("other.db", &other, "another program").await;
    check("directory.db", &|p| fs::create_dir(p).expect("creates"), "not a file").await;

    let path = directory.path().join("newer.db");
    open(&path).await.expect("opens").close().await;
    let newer = |path: &Path| {
        let newer = rusqlite::Connection::open(path).expect("opens");
        newer.execute_batch("UPDATE archipel_schema SET version = 99").expect("updates");
    };
    check("newer.db", &newer, "newer archipel (format 99").await;

    let state = directory.path().join("state.db");
    let kv = EmbeddedKv::open(&state, Options::default()).await.expect("opens");
    kv.close().await;
    check("state.db", &|_| {}, "holds entries, but logs was expected").await;
}

#[tokio::test]
async fn a_damaged_page_is_an_error_and_not_a_panic() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.db");
    let logs = open(&path).await.expect("opens");
    let log = logs.open("a").await.expect("opens");
    let batch = (0..200).map(|i| record(&format!("{i} {}", "x".repeat(500)))).collect();
    log.append(batch).await.expect("appends");
    logs.close().await;
    let mut bytes = fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xff);
    fs::write(&path, bytes).expect("writes");
    let logs = open(&path).await.expect("the header is whole");
    let log = logs.open("a").await.expect("opens");
    let limit = ReadLimit { records: 1_000, bytes: u64::MAX >> 1 };
    let error = log.read(Seq(1), limit).await.expect_err("damaged");
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_recovers_by_itself() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("SKIPPED: no small file system can be mounted here (root and tmpfs needed)");
        return;
    };
    let path = disk.0.join("events.db");
    let logs = open(&path).await.expect("opens");
    let log = logs.open("a").await.expect("opens");
    let large = "x".repeat(100_000);
    let mut stored = 0;
    let error = loop {
        match log.append(vec![record(&large)]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "the disk is 4 MiB");
    };
    assert!(matches!(error, StorageError::DiskFull { .. } | StorageError::Io { .. }), "{error:?}");
    assert_eq!(count(&*log).await, stored, "what was refused is not there");
    assert!(log.append(vec![record(&large)]).await.is_err());
    disk.grow();
    let seq = log.append(vec![record("fits again")]).await.expect("by itself").seqs[0];
    assert_eq!(seq, Seq(stored as u64 + 1), "no gap");
    logs.close().await;
    let logs = open(&path).await.expect("opens");
    assert_eq!(count(&*logs.open("a").await.expect("opens")).await, stored + 1);
    logs.close().await;
}

struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(under: &Path) -> Option<Self> {
        let at = under.join("small");
        fs::create_dir(&at).ok()?;
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&at);
        mount.stderr(std::process::Stdio::null());
        mount.status().ok()?.success().then_some(Self(at))
    }

    fn grow(&self) {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-o", "remount,size=64m"]).arg(&self.0);
        assert!(mount.status().expect("ran before").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because readers of a failed test may still have it open.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn any_tool_can_read_what_is_in_a_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.db");
    let options = Options { sync: Durability::Normal };
    let logs = EmbeddedLogs::open(&path, options).await.expect("opens");
    let log = logs.open("order.placed").await.expect("opens");
    log.append(vec![record(r#"{"id":1}"#)]).await.expect("appends");
    let tool = rusqlite::Connection::open(&path).expect("opens beside us");
    let row: (String, i64, String) = tool
        .query_row("SELECT log, seq, body FROM records", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .expect("one record");
    assert_eq!(row, ("order.placed".to_owned(), 1, r#"{"id":1}"#.to_owned()));
}

#[tokio::test]
async fn truncated_logs_give_space_back_to_the_disk() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.db");
    let logs = open(&path).await.expect("opens");
    let log = logs.open("a").await.expect("opens");
    let large = "x".repeat(20_000);
    for _ in 0..60 {
        log.append((0..100).map(|_| record(&large)).collect()).await.expect("appends");
    }
    for seq in (100..=6_001).step_by(100).chain([6_001]) {
        log.truncate_before(Seq(seq)).await.expect("truncates");
    }
    logs.close().await;
    let size = fs::metadata(&path).expect("exists").len();
    assert!(size < 40 << 20, "{size} bytes are kept of 120 MB");
}
