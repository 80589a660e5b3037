//! Logs in one SQLite file.
//!
//! All logs share one table. A row's id is the log's number and the position in one integer, so
//! each log lies together in the tree, a read is one range scan, and there is no second index.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use archipel_rt::clock;
use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::watch;

use super::Options;
use super::file::{self, Schema};
use super::readers::Readers;
use super::window::Window;
use super::writer::{Answer, Engine, Writer};
use crate::log::{check_batch, check_name};
use crate::{
    Appended, Bounds, DEDUPE_WINDOW, Log, Logs, ReadLimit, Record, RecordKey, Seq, StorageError,
    Stored,
};

/// 2^18 logs of 2^44 records each: five years at 100,000 a second.
const SEQ_BITS: u32 = 44;

/// Rows removed in one command, so that appends get their turn in between.
const TRUNCATE_ROWS_MAX: u64 = 2_000;

const SCHEMA: Schema = Schema {
    kind: "logs",
    steps: &["
    CREATE TABLE log (
        id         INTEGER PRIMARY KEY,
        name       TEXT NOT NULL UNIQUE,
        first      INTEGER NOT NULL DEFAULT 1,
        next       INTEGER NOT NULL DEFAULT 1,
        bytes      INTEGER NOT NULL DEFAULT 0,
        last_at_ms INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE record (
        id    INTEGER PRIMARY KEY, -- log.id << 44 | position
        at_ms INTEGER NOT NULL,
        key   BLOB,
        body  BLOB NOT NULL
    );
    CREATE VIEW records AS
        SELECT log.name AS log, record.id & 0xfffffffffff AS seq,
               strftime('%Y-%m-%dT%H:%M:%fZ', record.at_ms / 1000.0, 'unixepoch') AS at,
               CAST(record.body AS TEXT) AS body
        FROM record JOIN log ON log.id = record.id >> 44;
    "],
};

fn row_id(log: i64, seq: u64) -> i64 {
    (log << SEQ_BITS) | i64::try_from(seq).unwrap_or(i64::MAX).min((1 << SEQ_BITS) - 1)
}

fn seq_of(id: i64) -> u64 {
    u64::try_from(id & ((1 << SEQ_BITS) - 1)).unwrap_or(0)
}

/// The logs of one file.
#[derive(Debug)]
pub struct EmbeddedLogs {
    writer: Arc<Writer<Command>>,
    readers: Arc<Readers>,
}

impl EmbeddedLogs {
    /// Opens or creates the file, with its directory.
    ///
    /// # Errors
    /// [`StorageError`] says which file and what to do: damaged, of a newer version, in use.
    pub async fn open(path: &Path, options: Options) -> Result<Self, StorageError> {
        let path = path.to_owned();
        archipel_rt::blocking(move || {
            let opened = file::open(&path, options, &SCHEMA)?;
            Ok(Self {
                writer: Arc::new(Writer::start(&path, opened, LogEngine::default())?),
                readers: Arc::new(Readers::new(path)),
            })
        })
        .await
    }
}

#[async_trait]
impl Logs for EmbeddedLogs {
    async fn open(&self, name: &str) -> Result<Arc<dyn Log>, StorageError> {
        check_name(name)?;
        let named = name.to_owned();
        let make = |answer| Command::Open { name: named, answer };
        let (id, bounds) = self.writer.submit(0, make).await?;
        Ok(Arc::new(EmbeddedLog {
            id,
            name: name.to_owned(),
            bounds,
            writer: Arc::clone(&self.writer),
            readers: Arc::clone(&self.readers),
        }))
    }

    async fn names(&self) -> Result<Vec<String>, StorageError> {
        self.readers
            .read(|connection| {
                let mut rows = connection.prepare_cached("SELECT name FROM log ORDER BY name")?;
                rows.query_map([], |row| row.get(0))?.collect()
            })
            .await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[derive(Debug)]
struct EmbeddedLog {
    id: i64,
    name: String,
    bounds: watch::Receiver<Bounds>,
    writer: Arc<Writer<Command>>,
    readers: Arc<Readers>,
}

#[async_trait]
impl Log for EmbeddedLog {
    fn name(&self) -> &str {
        &self.name
    }

    async fn append(&self, batch: Vec<Record>) -> Result<Appended, StorageError> {
        let bytes = check_batch(&self.name, &batch)?;
        let log = self.id;
        self.writer.submit(bytes, |answer| Command::Append { log, batch, answer }).await
    }

    async fn read(&self, from: Seq, limit: ReadLimit) -> Result<Vec<Stored>, StorageError> {
        if from >= self.bounds.borrow().next || limit.records == 0 {
            return Ok(Vec::new());
        }
        let (first, end) = (row_id(self.id, from.0), row_id(self.id + 1, 0));
        self.readers.read(move |connection| read_range(connection, first, end, limit)).await
    }

    async fn seek(&self, at_ms: u64) -> Result<Seq, StorageError> {
        let bounds = *self.bounds.borrow();
        let log = self.id;
        self.readers.read(move |connection| seek(connection, log, bounds, at_ms)).await
    }

    async fn truncate_before(&self, seq: Seq) -> Result<(), StorageError> {
        let log = self.id;
        loop {
            let before = seq.0;
            let done =
                self.writer.submit(0, |answer| Command::Truncate { log, before, answer }).await?;
            if done {
                return Ok(());
            }
        }
    }

    fn bounds(&self) -> watch::Receiver<Bounds> {
        self.bounds.clone()
    }
}

fn read_range(
    connection: &Connection,
    first: i64,
    end: i64,
    limit: ReadLimit,
) -> rusqlite::Result<Vec<Stored>> {
    let mut query = connection.prepare_cached(
        "SELECT id, at_ms, body FROM record WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = query.query(params![first, end, limit.records])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let body = row.get_ref(2)?.as_blob()?;
        bytes += body.len() as u64;
        if bytes > limit.bytes && !found.is_empty() {
            break;
        }
        found.push(Stored {
            seq: Seq(seq_of(row.get(0)?)),
            at_ms: row.get(1)?,
            bytes: Bytes::copy_from_slice(body),
        });
    }
    Ok(found)
}

/// Bisection by position: times never decrease within a log, so no index is needed.
fn seek(connection: &Connection, log: i64, bounds: Bounds, at_ms: u64) -> rusqlite::Result<Seq> {
    let mut query = connection.prepare_cached("SELECT at_ms FROM record WHERE id = ?1")?;
    let (mut low, mut high) = (bounds.first.0, bounds.next.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let at: Option<u64> =
            query.query_row([row_id(log, middle)], |row| row.get(0)).optional()?;
        // A row that is gone was truncated since, so it lies before what is asked for.
        if at.is_none_or(|at| at < at_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(Seq(low))
}

enum Command {
    Open { name: String, answer: Answer<(i64, watch::Receiver<Bounds>)> },
    Append { log: i64, batch: Vec<Record>, answer: Answer<Appended> },
    Truncate { log: i64, before: u64, answer: Answer<bool> },
}

/// An answer that waits for the commit.
enum Pending {
    Open { id: Option<i64>, answer: Answer<(i64, watch::Receiver<Bounds>)> },
    Append { appended: Appended, answer: Answer<Appended> },
    Truncate { done: bool, answer: Answer<bool> },
}

#[derive(Default)]
struct LogEngine {
    logs: HashMap<i64, LogState>,
    pending: Vec<Pending>,
}

struct LogState {
    bounds: Bounds,
    last_at_ms: u64,
    /// Read from the file when the first record with a key comes.
    window: Option<Window>,
    /// Changed in the open transaction.
    dirty: bool,
    published: watch::Sender<Bounds>,
}

impl LogState {
    fn new(bounds: Bounds, last_at_ms: u64) -> Self {
        let published = watch::Sender::new(bounds);
        Self { bounds, last_at_ms, window: None, dirty: false, published }
    }
}

impl Engine for LogEngine {
    type Command = Command;

    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut query =
            connection.prepare_cached("SELECT id, first, next, bytes, last_at_ms FROM log")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let bounds =
                Bounds { first: Seq(row.get(1)?), next: Seq(row.get(2)?), bytes: row.get(3)? };
            let last_at_ms = row.get(4)?;
            let state = self.logs.entry(row.get(0)?).or_insert_with(|| LogState::new(bounds, 0));
            (state.bounds, state.last_at_ms) = (bounds, last_at_ms);
            (state.window, state.dirty) = (None, false);
            state.published.send_if_modified(|old| std::mem::replace(old, bounds) != bounds);
        }
        Ok(())
    }

    fn refuse(&mut self, command: Command, error: StorageError) {
        // Nobody is there to be told when the caller has gone away; here and below.
        match command {
            Command::Open { answer, .. } => drop(answer.send(Err(error))),
            Command::Append { answer, .. } => drop(answer.send(Err(error))),
            Command::Truncate { answer, .. } => drop(answer.send(Err(error))),
        }
    }

    fn apply(&mut self, connection: &Connection, command: Command) -> rusqlite::Result<()> {
        match command {
            Command::Open { name, answer } => {
                self.pending.push(Pending::Open { id: None, answer });
                let opened = self.open(connection, &name)?;
                if let Some(Pending::Open { id, .. }) = self.pending.last_mut() {
                    *id = Some(opened);
                }
            }
            Command::Append { log, batch, answer } => {
                let appended = Appended { seqs: Vec::with_capacity(batch.len()), fresh: 0 };
                self.pending.push(Pending::Append { appended, answer });
                if let (Some(state), Some(Pending::Append { appended, .. })) =
                    (self.logs.get_mut(&log), self.pending.last_mut())
                {
                    append(connection, log, state, batch, appended)?;
                }
            }
            Command::Truncate { log, before, answer } => {
                self.pending.push(Pending::Truncate { done: true, answer });
                if let (Some(state), Some(Pending::Truncate { done, .. })) =
                    (self.logs.get_mut(&log), self.pending.last_mut())
                {
                    *done = truncate(connection, log, state, before)?;
                }
            }
        }
        Ok(())
    }

    fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut update = connection.prepare_cached(
            "UPDATE log SET first = ?2, next = ?3, bytes = ?4, last_at_ms = ?5 WHERE id = ?1",
        )?;
        for (id, state) in self.logs.iter().filter(|(_, state)| state.dirty) {
            let Bounds { first, next, bytes } = state.bounds;
            update.execute(params![id, first.0, next.0, bytes, state.last_at_ms])?;
        }
        Ok(())
    }

    fn finish(&mut self, outcome: Result<(), StorageError>) {
        if outcome.is_ok() {
            for state in self.logs.values_mut().filter(|state| state.dirty) {
                state.dirty = false;
                state.published.send_replace(state.bounds);
            }
        }
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Open { id, answer } => {
                    let opened = outcome.clone().map(|()| {
                        let id = id.expect("set by `apply`, or the transaction failed");
                        (id, self.logs[&id].published.subscribe())
                    });
                    drop(answer.send(opened));
                }
                Pending::Append { appended, answer } => {
                    drop(answer.send(outcome.clone().map(|()| appended)));
                }
                Pending::Truncate { done, answer } => {
                    drop(answer.send(outcome.clone().map(|()| done)));
                }
            }
        }
    }
}

impl LogEngine {
    fn open(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        connection
            .prepare_cached("INSERT INTO log (name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([name])?;
        let id = connection
            .prepare_cached("SELECT id FROM log WHERE name = ?1")?
            .query_row([name], |row| row.get(0))?;
        // Rolled back, this entry stays and is harmless: the id is given to the next new log.
        self.logs.entry(id).or_insert_with(|| LogState::new(Bounds::EMPTY, 0));
        Ok(id)
    }
}

fn append(
    connection: &Connection,
    log: i64,
    state: &mut LogState,
    batch: Vec<Record>,
    appended: &mut Appended,
) -> rusqlite::Result<()> {
    if state.window.is_none() && batch.iter().any(|record| record.key.is_some()) {
        state.window = Some(load_window(connection, log, state.bounds)?);
    }
    let mut insert = connection.prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3, ?4)")?;
    let at_ms = clock::wall_ms().max(state.last_at_ms);
    for record in batch {
        let seq = state.bounds.next;
        if let (Some(key), Some(window)) = (record.key, &mut state.window) {
            window.forget_before(seq.0.saturating_sub(DEDUPE_WINDOW as u64));
            if let Some(before) = window.get(&key) {
                appended.seqs.push(Seq(before));
                continue;
            }
            window.insert(seq.0, key);
        }
        let key = record.key.as_ref().map(|key| key.0.as_slice());
        insert.execute(params![row_id(log, seq.0), at_ms, key, record.bytes.as_ref()])?;
        state.bounds.next = seq.next();
        state.bounds.bytes += record.bytes.len() as u64;
        state.last_at_ms = at_ms;
        state.dirty = true;
        appended.seqs.push(seq);
        appended.fresh += 1;
    }
    Ok(())
}

fn load_window(connection: &Connection, log: i64, bounds: Bounds) -> rusqlite::Result<Window> {
    let first = bounds.next.0.saturating_sub(DEDUPE_WINDOW as u64).max(bounds.first.0);
    let mut query = connection
        .prepare_cached("SELECT id, key FROM record WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
    let mut rows = query.query([row_id(log, first), row_id(log + 1, 0)])?;
    let mut window = Window::default();
    while let Some(row) = rows.next()? {
        if let Some(key) = row.get::<_, Option<[u8; 16]>>(1)? {
            window.insert(seq_of(row.get(0)?), RecordKey(key));
        }
    }
    Ok(window)
}

/// Removes a part and says whether it was the last.
fn truncate(
    connection: &Connection,
    log: i64,
    state: &mut LogState,
    before: u64,
) -> rusqlite::Result<bool> {
    let target = before.min(state.bounds.next.0);
    let until = target.min(state.bounds.first.0 + TRUNCATE_ROWS_MAX);
    if until <= state.bounds.first.0 {
        return Ok(true);
    }
    let range = [row_id(log, state.bounds.first.0), row_id(log, until)];
    let bytes: u64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(length(body)), 0) FROM record WHERE id >= ?1 AND id < ?2",
        )?
        .query_row(range, |row| row.get(0))?;
    connection.prepare_cached("DELETE FROM record WHERE id >= ?1 AND id < ?2")?.execute(range)?;
    state.bounds.first = Seq(until);
    state.bounds.bytes = state.bounds.bytes.saturating_sub(bytes);
    state.dirty = true;
    if let Some(window) = &mut state.window {
        window.forget_before(until);
    }
    Ok(until == target)
}
