//! What the writer thread does for logs.
//!
//! All logs share one table. A row's id is the log's number and the position in one integer, so
//! each log lies together in the tree, a read is one range scan, and there is no second index.

use std::collections::HashMap;

use archipel_rt::clock;
use rusqlite::{Connection, params};
use tokio::sync::watch;

use super::file::Schema;
use super::window::Window;
use super::writer::{Answer, Engine};
use crate::{Appended, Bounds, DEDUPE_WINDOW, Record, RecordKey, Seq, StorageError};

/// 2^18 logs of 2^44 records each: five years at 100,000 a second.
const SEQ_BITS: u32 = 44;

/// Empty pages kept for new records (16 MiB) before some are given back to the disk.
const FREE_PAGES_MAX: i64 = 4_096;

/// Rows removed in one command, so that appends get their turn in between.
const TRUNCATE_ROWS_MAX: u64 = 2_000;

pub(super) const SCHEMA: Schema = Schema {
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

pub(super) fn row_id(log: i64, seq: u64) -> i64 {
    (log << SEQ_BITS) | i64::try_from(seq).unwrap_or(i64::MAX).min((1 << SEQ_BITS) - 1)
}

pub(super) fn seq_of(id: i64) -> u64 {
    u64::try_from(id & ((1 << SEQ_BITS) - 1)).unwrap_or(0)
}

pub(super) enum Command {
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
pub(super) struct LogEngine {
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
    give_back(connection)?;
    Ok(until == target)
}

/// A little per truncation, because it moves pages.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    if free > FREE_PAGES_MAX {
        // Each step of this statement frees one page.
        let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum(1024)")?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(())
}
