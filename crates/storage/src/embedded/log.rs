//! Logs in one SQLite file.
//!
//! Reads go to the pool of readers, everything else to the writer thread ([`super::log_engine`]).

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::watch;

use super::Options;
use super::file;
use super::log_engine::{Command, LogEngine, SCHEMA, row_id, seq_of};
use super::readers::Readers;
use super::writer::Writer;
use crate::log::{check_batch, check_name};
use crate::{Appended, Bounds, Log, Logs, ReadLimit, Record, Seq, StorageError, Stored};

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
