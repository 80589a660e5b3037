//! Keys and values in a real PostgreSQL: the contract, and what a database does to its clients.
//! Run by `tests/with-postgres.sh`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use archipel_storage::conformance::KvFixture;
use archipel_storage::memory::MemoryKv;
use archipel_storage::postgres::{PostgresKv, PostgresUrl};
use archipel_storage::{Expect, Kv, KvError, KvExt as _, Retry, StorageError, Tx, kv_conformance};
use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

const URL: &str = "ARCHIPEL_TEST_POSTGRES_URL";

fn server(test: &str) -> Option<String> {
    let url = std::env::var(URL).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!(
            "SKIPPED {test}: {URL} is not set; crates/storage/tests/with-postgres.sh sets it"
        );
    }
    url
}

/// Each test has one of its own.
fn namespace() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn open(url: &str, namespace: &str) -> PostgresKv {
    PostgresKv::open(PostgresUrl::parse(url).expect("a URL"), namespace).await.expect("opens")
}

struct Postgres {
    namespace: String,
    /// Where there is no server, the suite says so and runs on memory.
    instead: MemoryKv,
}

impl Postgres {
    fn new() -> Self {
        Self { namespace: namespace(), instead: MemoryKv::default() }
    }
}

#[async_trait]
impl KvFixture for Postgres {
    async fn open(&self) -> Arc<dyn Kv> {
        match server("the suite of keys and values") {
            Some(url) => Arc::new(open(&url, &self.namespace).await),
            None => Arc::new(self.instead.reopen()),
        }
    }
}

kv_conformance!(conformance, Postgres::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_see_one_serial_store_and_hear_each_other() {
    let Some(url) = server("two_processes") else { return };
    let namespace = namespace();
    let (a, b) = (open(&url, &namespace).await, open(&url, &namespace).await);
    let mut bell = b.bell().expect("it has one");
    // Listening is up once something was read.
    b.get("x").await.expect("reads");
    bell.mark_unchanged();
    a.commit(Tx::new().put("x", "1").ring()).await.expect("commits");
    bell.changed().await.expect("it rings");
    assert_eq!(b.get("x").await.expect("reads").expect("there").value, "1");

    let kvs = [Arc::new(a), Arc::new(b)];
    let mut tasks = JoinSet::new();
    for i in 0..8 {
        let kv = Arc::clone(&kvs[i % 2]);
        tasks.spawn(async move {
            let mut done = 0;
            while done < 10 {
                let entry = kv.get("n").await.expect("reads");
                let n: u64 = entry
                    .as_ref()
                    .map_or(0, |e| String::from_utf8_lossy(&e.value).parse().expect("a number"));
                let expect = entry.map_or(Expect::Absent, |e| Expect::Version(e.version));
                match kv.compare_and_set("n", expect, (n + 1).to_string().into()).await {
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
    assert_eq!(kvs[0].get("n").await.expect("reads").expect("there").value, "80");
}

/// A database of its own, which nobody has prepared.
async fn fresh_database(url: &str) -> String {
    let name = namespace().replace('-', "_");
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("makes it");
    format!("{}/{name}", url.rsplit_once('/').expect("a database").0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_make_the_tables_once() {
    let Some(url) = server("processes_that_start_at_once") else { return };
    let url = fresh_database(&url).await;
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        opening.spawn(async move { open(&url, "same").await });
    }
    while let Some(opened) = opening.join_next().await {
        opened.expect("opens").put("a", "b".into()).await.expect("writes");
    }
}

#[tokio::test]
async fn applications_in_one_database_do_not_see_each_other() {
    let Some(url) = server("applications_in_one_database") else { return };
    let (a, b) = (open(&url, &namespace()).await, open(&url, &namespace()).await);
    a.put("k", "a".into()).await.expect("writes");
    assert!(b.get("k").await.expect("reads").is_none());
    assert!(b.list_all("").await.expect("lists").is_empty());
    b.put("k", "b".into()).await.expect("writes");
    assert_eq!(a.get("k").await.expect("reads").expect("there").value, "a");
}

/// Commits that wait for each other within one batch, and one that is refused among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_batch_each_transaction_sees_those_before_it() {
    let Some(url) = server("in_one_batch") else { return };
    let kv = Arc::new(open(&url, &namespace()).await);
    let mut tasks = JoinSet::new();
    for i in 0..200 {
        let kv = Arc::clone(&kv);
        tasks.spawn(async move {
            let tx = Tx::new().put("last", i.to_string()).put(format!("own/{i}"), "x");
            let tx =
                if i % 2 == 0 { tx.expect("once", Expect::Absent).put("once", "") } else { tx };
            kv.commit(tx).await
        });
    }
    let (mut fine, mut refused) = (0, 0);
    while let Some(done) = tasks.join_next().await {
        match done.expect("a task") {
            Ok(_) => fine += 1,
            Err(KvError::Conflict { key }) => {
                assert_eq!(key, "once");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((fine, refused), (101, 99), "one of the hundred was first");
    assert_eq!(kv.list_all("own/").await.expect("lists").len(), 101);
}

#[tokio::test]
async fn a_database_that_is_not_there_or_lets_nobody_in_is_named_without_the_password() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let url = format!("postgres://me:secret@127.0.0.1:{port}/shop");
    let opened = PostgresKv::open(PostgresUrl::parse(&url).expect("a URL"), "x").await;
    let error = opened.expect_err("nobody is there");
    assert!(matches!(error, StorageError::Unreachable { .. }), "{error}");
    let text = archipel_rt::chain(&error);
    assert!(text.contains(&format!("127.0.0.1:{port}/shop")) && !text.contains("secret"), "{text}");

    let Some(server) = server("a_database_that_lets_nobody_in") else { return };
    let (head, tail) = server.split_once('@').expect("a URL with a password");
    let user = head.rsplit_once(':').expect("a password").0;
    let wrong = PostgresUrl::parse(&format!("{user}:wrong@{tail}")).expect("a URL");
    let error = PostgresKv::open(wrong, "x").await.expect_err("refused");
    assert!(archipel_rt::chain(&error).contains("password authentication failed"), "{error}");
}

/// A server in the middle that can be cut: what lies between us and a database.
struct Wire {
    port: u16,
    cut: Arc<tokio::sync::watch::Sender<u64>>,
    _tasks: JoinSet<()>,
}

impl Wire {
    async fn to(url: &str) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (head, tail) = url.rsplit_once('@').expect("a URL with a password");
        let (address, database) = tail.split_once('/').expect("a database");
        let address = address.to_owned();
        let cut = Arc::new(tokio::sync::watch::Sender::new(0));
        let (mut tasks, own) = (JoinSet::new(), Arc::clone(&cut));
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cut, address) = (own.subscribe(), address.clone());
                links.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(address).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {
                            let _ = near.shutdown().await;
                        }
                    }
                });
            }
        });
        (Self { port, cut, _tasks: tasks }, format!("{head}@127.0.0.1:{port}/{database}"))
    }

    fn cut(&self) {
        assert!(self.port > 0);
        self.cut.send_modify(|times| *times += 1);
    }
}

/// Counts up over a connection that is cut again and again. Whoever does not know whether a
/// commit happened looks, and no count is lost or made twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_in_the_middle_loses_nothing_that_was_promised() {
    let Some(url) = server("a_connection_cut_in_the_middle") else { return };
    let (wire, through) = Wire::to(&url).await;
    let namespace = namespace();
    let kv = Arc::new(open(&through, &namespace).await);
    let mut tasks = JoinSet::new();
    let writers = 8_u64;
    let (done, mut progress) = tokio::sync::watch::channel(0_u32);
    for w in 0..writers {
        let (kv, done) = (Arc::clone(&kv), done.clone());
        tasks.spawn(async move {
            let (mut unknown, mut safe) = (0, 0);
            for i in 0..100_u64 {
                let (key, value) = (format!("w/{w}"), i.to_string());
                loop {
                    let entry = kv.get(&key).await.expect("a read is repeated");
                    if entry.as_ref().is_some_and(|e| e.value == value) {
                        break;
                    }
                    let expect = entry.map_or(Expect::Absent, |e| Expect::Version(e.version));
                    match kv.compare_and_set(&key, expect, value.clone().into()).await {
                        Ok(_) => break,
                        Err(error) => match error.retry() {
                            Retry::Unknown => unknown += 1,
                            Retry::Safe => safe += 1,
                            Retry::Never => panic!("{error}"),
                        },
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                done.send_modify(|count| *count += 1);
            }
            (unknown, safe)
        });
    }
    let mut cutter = JoinSet::new();
    cutter.spawn(async move {
        // Between two cuts something gets through.
        let mut next = 0;
        while progress.wait_for(|count| *count >= next).await.is_ok() {
            next = *progress.borrow() + 30;
            wire.cut();
        }
    });
    let mut unknown = 0;
    while let Some(done) = tasks.join_next().await {
        unknown += done.expect("no writer fails").0;
    }
    drop(cutter);
    assert!(unknown > 0, "no commit was cut in the middle: the test tests nothing");
    let direct = open(&url, &namespace).await;
    let all = direct.list_all("w/").await.expect("lists");
    assert_eq!(all.len() as u64, writers);
    assert!(all.iter().all(|(_, entry)| entry.value == "99"));
}

/// The server throws all sessions out, as it does when it is restarted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_the_server_ends_are_made_anew() {
    let Some(url) = server("sessions_that_the_server_ends") else { return };
    let url = format!("{url}?application_name=ended-{}", std::process::id());
    let kv = open(&url, &namespace()).await;
    kv.put("a", "1".into()).await.expect("writes");
    let mut bell = kv.bell().expect("it has one");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connects");
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    for round in 0..5 {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = current_setting('application_name') \
                   AND pid <> pg_backend_pid()";
        client.batch_execute(end).await.expect("ends them");
        let mut written = kv.put("a", round.to_string().into()).await;
        while let Err(error) = written {
            assert_ne!(error.retry(), Retry::Never, "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            written = kv.put("a", round.to_string().into()).await;
        }
        let read = kv.get("a").await.expect("reads").expect("there");
        assert_eq!(read.value, round.to_string());
        bell.mark_unchanged();
        kv.commit(Tx::new().put("b", "1").ring()).await.expect("commits");
        bell.changed().await.expect("it rings again");
    }
}
