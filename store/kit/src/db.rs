//! One SQLite file: a writer thread with a queue, and a few readers.
//!
//! All changes go through one thread, so a transaction never meets another one and never has
//! to be repeated. The thread takes whatever is waiting, runs each closure in a savepoint of its
//! own and commits once: with `synchronous=FULL` one sync to the disk then pays for the whole
//! batch, and throughput grows with load instead of standing at the disk's syncs per second.
//! A closure that fails rolls back only itself; nobody hears of success before the commit.
//!
//! A closure cannot `await`, so no network call can be made inside a transaction.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::env::StartError;
use crate::migrate::migrate;
use crate::problem::Problem;
use crate::time::{Clock, Timestamp};
use crate::trace::{self, Trace};

/// How many changes may wait. Beyond that the caller is told to come back.
const QUEUE_MAX: usize = 1024;
/// How many changes share one commit at most: bounds what one bad disk answer can fail.
const BATCH_MAX: usize = 128;
const READERS: usize = 2;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A statement that takes longer is logged with its text.
const SLOW: Duration = Duration::from_millis(200);

/// What survives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Every commit is on the disk before anybody hears of it.
    Full,
    /// The last commits may be lost with the power, never with the process.
    Normal,
}

/// A handle to the database of this service; clones share it.
#[derive(Clone)]
pub struct Db(Arc<Shared>);

struct Shared {
    jobs: mpsc::Sender<Box<dyn Job>>,
    readers: Mutex<Vec<Connection>>,
    reading: Semaphore,
    schema_version: u32,
    clock: Clock,
    signals: Arc<Signals>,
}

/// What the writer tells the rest of the service.
struct Signals {
    /// Grows with every commit that added to the outbox.
    outbox: watch::Sender<u64>,
    /// The last commit failed for want of space.
    full: AtomicBool,
}

impl Db {
    /// Opens or creates the file, brings it to the newest schema and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened or a migration fails.
    pub fn open(path: &Path, sync: Sync, migrations: &[&str]) -> Result<Self, StartError> {
        Self::open_with_clock(path, sync, migrations, Clock::default())
    }

    /// Like [`Db::open`], for a test that moves the time.
    pub fn open_with_clock(
        path: &Path,
        sync: Sync,
        migrations: &[&str],
        clock: Clock,
    ) -> Result<Self, StartError> {
        let failed = |why: String| StartError::Database { path: path.to_owned(), why };
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(|e| failed(e.to_string()))?;
        }
        let (writer, schema_version) =
            open_writer(path, sync, migrations).map_err(|e| failed(e.to_string()))?;
        let readers: rusqlite::Result<Vec<_>> = (0..READERS).map(|_| open_reader(path)).collect();
        let readers = readers.map_err(|e| failed(e.to_string()))?;
        let signals =
            Arc::new(Signals { outbox: watch::Sender::new(0), full: AtomicBool::new(false) });
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (of_writer, its_clock) = (Arc::clone(&signals), clock.clone());
        std::thread::Builder::new()
            .name("db-writer".into())
            .spawn(move || write_loop(&writer, queue, &of_writer, &its_clock))
            .map_err(|e| failed(format!("no thread for the writer: {e}")))?;
        let (readers, reading) = (Mutex::new(readers), Semaphore::new(READERS));
        Ok(Self(Arc::new(Shared { jobs, readers, reading, schema_version, clock, signals })))
    }

    /// Runs `change` in a transaction and returns once it is committed, or rolled back because
    /// `change` returned an error.
    ///
    /// Dropping the future does not undo the change: it was queued and will run.
    ///
    /// # Errors
    /// What `change` returned; 503 `overloaded` when too much is waiting or another process
    /// holds the file; 507 `storage-full`. In all of these nothing was changed.
    pub async fn write<T, F>(&self, change: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Change { change: Some(change), result: None, reply, trace: trace::current() };
        self.0.jobs.try_send(Box::new(job)).map_err(|_| {
            Problem::overloaded("Too many changes are waiting to be written.")
                .cause("the write queue is full")
        })?;
        answer.await.unwrap_or_else(|_| Err(Problem::internal("the database writer is gone")))
    }

    /// Runs `query` on a connection that only reads, in one snapshot.
    ///
    /// # Errors
    /// What `query` returned.
    pub async fn read<T, F>(&self, query: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Problem> + Send + 'static,
    {
        let _permit = self.0.reading.acquire().await.map_err(Problem::internal)?;
        let shared = Arc::clone(&self.0);
        let trace = trace::current();
        let work = tokio::task::spawn_blocking(move || {
            let pool = || shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
            let conn = pool()
                .pop()
                .ok_or_else(|| Problem::internal("no reader although it was promised"))?;
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                control(&conn, "BEGIN")?;
                trace::scope_sync(trace, || query(&conn))
            }));
            if !conn.is_autocommit() {
                let _ = control(&conn, "ROLLBACK");
            }
            pool().push(conn);
            outcome.unwrap_or_else(|panic| Err(panicked(&*panic)))
        });
        work.await.unwrap_or_else(|error| Err(Problem::internal(error)))
    }

    /// Whether the database answers and can store.
    pub(crate) async fn ready(&self) -> Result<(), Problem> {
        if self.0.signals.full.load(Ordering::Relaxed) {
            // Ask the disk again, by a change that needs a page: nobody else may be writing.
            self.write(|tx| {
                tx.execute_batch("CREATE TABLE space_probe(x); INSERT INTO space_probe VALUES(zeroblob(8192)); DROP TABLE space_probe")?;
                Ok(())
            })
            .await?;
        }
        self.read(|conn| Ok(conn.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }

    /// Changes when a commit added to the outbox.
    pub(crate) fn outbox_commits(&self) -> watch::Receiver<u64> {
        self.0.signals.outbox.subscribe()
    }

    pub fn schema_version(&self) -> u32 {
        self.0.schema_version
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

/// The transaction that a change runs in. Use it as a [`Connection`].
pub struct Tx<'c> {
    conn: &'c Connection,
    now: Timestamp,
    trace: Option<Trace>,
    wrote_outbox: Cell<bool>,
    after: RefCell<Vec<AfterCommit>>,
}

type AfterCommit = Box<dyn FnOnce() + Send>;

impl Tx<'_> {
    /// The one moment at which all of this transaction happens.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The trace of the request that asked for the change.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Runs `then` once this transaction is committed; never, if it is not.
    pub fn after_commit(&self, then: impl FnOnce() + Send + 'static) {
        self.after.borrow_mut().push(Box::new(then));
    }

    pub(crate) fn mark_outbox(&self) {
        self.wrote_outbox.set(true);
    }

    /// Runs `part` so that it takes effect whole or not at all, whatever becomes of the rest.
    pub(crate) fn attempt<T>(
        &self,
        part: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let (after, wrote) = (self.after.borrow().len(), self.wrote_outbox.get());
        control(self.conn, "SAVEPOINT part")?;
        let outcome = part();
        if outcome.is_err() {
            control(self.conn, "ROLLBACK TO part")?;
            self.after.borrow_mut().truncate(after);
            self.wrote_outbox.set(wrote);
        }
        control(self.conn, "RELEASE part")?;
        outcome
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}

/// What a job leaves for after the commit.
#[derive(Default)]
struct Left {
    wrote_outbox: bool,
    after: Vec<AfterCommit>,
}

trait Job: Send {
    /// Does the change. `None`: it must be rolled back.
    fn run(&mut self, conn: &Connection, now: Timestamp) -> Option<Left>;
    /// Why the change itself failed, once it ran.
    fn problem(&self) -> Option<&Problem>;
    /// Tells the caller, who waits for `committed` only if the change was kept.
    fn finish(self: Box<Self>, committed: Result<(), Problem>);
}

struct Change<T, F> {
    change: Option<F>,
    result: Option<Result<T, Problem>>,
    reply: oneshot::Sender<Result<T, Problem>>,
    trace: Option<Trace>,
}

impl<T, F> Job for Change<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
{
    fn run(&mut self, conn: &Connection, now: Timestamp) -> Option<Left> {
        let change = self.change.take()?;
        let tx = Tx {
            conn,
            now,
            trace: self.trace.clone(),
            wrote_outbox: Cell::new(false),
            after: RefCell::default(),
        };
        let work = AssertUnwindSafe(|| trace::scope_sync(self.trace.clone(), || change(&tx)));
        let result = catch_unwind(work).unwrap_or_else(|panic| Err(panicked(&*panic)));
        let kept = result.is_ok();
        self.result = Some(result);
        kept.then(|| Left { wrote_outbox: tx.wrote_outbox.get(), after: tx.after.take() })
    }

    fn problem(&self) -> Option<&Problem> {
        self.result.as_ref()?.as_ref().err()
    }

    fn finish(self: Box<Self>, committed: Result<(), Problem>) {
        let result = match (self.result, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(lost)) => Err(lost),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Problem::internal("the change never ran")),
        };
        // The caller may have gone away; the change stands.
        let _ = self.reply.send(result);
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    Problem::internal(format!("panic: {}", panic_text(panic)))
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn open_writer(
    path: &Path,
    sync: Sync,
    migrations: &[&str],
) -> rusqlite::Result<(Connection, u32)> {
    let mut conn = Connection::open(path)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "synchronous", if sync == Sync::Full { "FULL" } else { "NORMAL" })?;
    conn.set_prepared_statement_cache_capacity(64);
    let version = migrate(&mut conn, migrations)?;
    tell_slow(&mut conn)?;
    Ok((conn, version))
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.set_prepared_statement_cache_capacity(64);
    tell_slow(&mut conn)?;
    Ok(conn)
}

/// Logs each slow statement, under the trace of the request that waited for it.
fn tell_slow(conn: &mut Connection) -> rusqlite::Result<()> {
    let told = |event: TraceEvent<'_>| match event {
        TraceEvent::Profile(statement, took) if took > SLOW => {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(sql = %statement.sql(), took_ms, "slow statement");
        }
        _ => {}
    };
    conn.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(told))
}

/// The writer thread: lives until the last handle is dropped.
fn write_loop(
    conn: &Connection,
    mut queue: mpsc::Receiver<Box<dyn Job>>,
    signals: &Signals,
    clock: &Clock,
) {
    while let Some(first) = queue.blocking_recv() {
        let mut waiting = VecDeque::from([first]);
        while waiting.len() < BATCH_MAX {
            let Ok(next) = queue.try_recv() else { break };
            waiting.push_back(next);
        }
        while !waiting.is_empty() {
            write_batch(conn, &mut waiting, signals, clock.now());
        }
    }
}

/// Runs jobs from the front of `waiting` in one transaction and tells their callers. Takes at
/// least one; leaves the rest when SQLite gave the transaction up in the middle.
fn write_batch(
    conn: &Connection,
    waiting: &mut VecDeque<Box<dyn Job>>,
    signals: &Signals,
    now: Timestamp,
) {
    let mut done: Vec<(Box<dyn Job>, Option<Left>)> = Vec::with_capacity(waiting.len());
    let mut committed = control(conn, "BEGIN IMMEDIATE").map_err(Problem::from);
    while let Some(mut job) = waiting.pop_front() {
        if committed.is_ok() {
            let (left, ended) = run_job(conn, job.as_mut(), now);
            done.push((job, left));
            if let Err(problem) = ended {
                committed = Err(problem);
                break;
            }
        } else {
            done.push((job, None));
        }
    }
    if committed.is_ok() {
        committed = control(conn, "COMMIT").map_err(Problem::from);
    }
    if !conn.is_autocommit() {
        let _ = control(conn, "ROLLBACK");
    }
    let problems = done.iter().filter_map(|(job, _)| job.problem()).chain(committed.as_ref().err());
    let full = problems.into_iter().any(|problem| problem.status() == 507);
    signals.full.store(full, Ordering::Relaxed);
    if committed.is_ok() && done.iter().flat_map(|(_, left)| left).any(|left| left.wrote_outbox) {
        signals.outbox.send_modify(|commits| *commits += 1);
    }
    for (job, left) in done {
        if committed.is_ok() {
            left.into_iter().flat_map(|left| left.after).for_each(|then| then());
        }
        job.finish(committed.clone());
    }
}

/// Runs one job in a savepoint. The second value is an error when the transaction around it is
/// gone: SQLite rolls back everything when, for instance, the disk is full.
fn run_job(
    conn: &Connection,
    job: &mut dyn Job,
    now: Timestamp,
) -> (Option<Left>, Result<(), Problem>) {
    if let Err(error) = control(conn, "SAVEPOINT job") {
        return (None, Err(error.into()));
    }
    let left = job.run(conn, now);
    let ended = if conn.is_autocommit() {
        let own = job.problem().cloned();
        Err(own.unwrap_or_else(|| Problem::internal("SQLite gave up the transaction")))
    } else {
        let undone = if left.is_some() { Ok(()) } else { control(conn, "ROLLBACK TO job") };
        undone.and_then(|()| control(conn, "RELEASE job")).map_err(Problem::from)
    };
    (left, ended)
}

/// A statement of few words that is needed all the time, so it is parsed once.
fn control(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}
