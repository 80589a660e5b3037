//! Keys and values in one SQLite file.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Options;
use super::file::{self, Schema};
use super::readers::Readers;
use super::writer::{Answer, Engine, Writer};
use crate::{Entry, Expect, Kv, KvError, LIST_BYTES_MAX, StorageError, Tx, Version, Write};

const SCHEMA: Schema = Schema {
    kind: "entries",
    steps: &["
    CREATE TABLE entry (
        key     TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        value   BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE counter (version INTEGER NOT NULL);
    INSERT INTO counter VALUES (0);
    CREATE VIEW entries AS SELECT key, version, CAST(value AS TEXT) AS value FROM entry;
    "],
};

/// The entries of one file.
#[derive(Debug)]
pub struct EmbeddedKv {
    writer: Writer<Command>,
    readers: Readers,
}

impl EmbeddedKv {
    /// Opens or creates the file, with its directory.
    ///
    /// # Errors
    /// As [`super::EmbeddedLogs::open`].
    pub async fn open(path: &Path, options: Options) -> Result<Self, StorageError> {
        let path = path.to_owned();
        archipel_rt::blocking(move || {
            let opened = file::open(&path, options, &SCHEMA)?;
            Ok(Self {
                writer: Writer::start(&path, opened, KvEngine::default())?,
                readers: Readers::new(path),
            })
        })
        .await
    }
}

#[async_trait]
impl Kv for EmbeddedKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        let key = key.to_owned();
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT version, value FROM entry WHERE key = ?1")?
                    .query_row([key], |row| entry(row, 0))
                    .optional()
            })
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Entry)>, StorageError> {
        let (prefix, after) = (prefix.to_owned(), after.unwrap_or("").to_owned());
        self.readers.read(move |connection| list(connection, &prefix, &after, max)).await
    }

    async fn commit(&self, tx: Tx) -> Result<Version, KvError> {
        let bytes = tx.check()?;
        match self.writer.submit(bytes, |answer| Command { tx, answer }).await? {
            Outcome::Done(version) => Ok(version),
            Outcome::Conflict(key) => Err(KvError::Conflict { key }),
        }
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn entry(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Entry> {
    Ok(Entry {
        version: Version(row.get(at)?),
        value: Bytes::copy_from_slice(row.get_ref(at + 1)?.as_blob()?),
    })
}

fn list(
    connection: &Connection,
    prefix: &str,
    after: &str,
    max: usize,
) -> rusqlite::Result<Vec<(String, Entry)>> {
    let mut query = connection.prepare_cached(
        "SELECT key, version, value FROM entry WHERE key >= ?1 AND key > ?2 ORDER BY key LIMIT ?3",
    )?;
    let mut rows = query.query(params![prefix, after, max])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < LIST_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        let entry = entry(row, 1)?;
        bytes += entry.value.len();
        found.push((key, entry));
    }
    Ok(found)
}

struct Command {
    tx: Tx,
    answer: Answer<Outcome>,
}

enum Outcome {
    Done(Version),
    Conflict(String),
}

#[derive(Default)]
struct KvEngine {
    version: u64,
    pending: Vec<(Option<Outcome>, Answer<Outcome>)>,
}

impl Engine for KvEngine {
    type Command = Command;

    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.version = connection
            .prepare_cached("SELECT version FROM counter")?
            .query_row([], |row| row.get(0))?;
        Ok(())
    }

    fn refuse(&mut self, command: Command, error: StorageError) {
        drop(command.answer.send(Err(error)));
    }

    fn apply(&mut self, connection: &Connection, command: Command) -> rusqlite::Result<()> {
        self.pending.push((None, command.answer));
        let outcome = match conflict(connection, &command.tx)? {
            Some(key) => Outcome::Conflict(key),
            None => {
                self.version += 1;
                write(connection, &command.tx, self.version)?;
                Outcome::Done(Version(self.version))
            }
        };
        if let Some((place, _)) = self.pending.last_mut() {
            *place = Some(outcome);
        }
        Ok(())
    }

    fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("UPDATE counter SET version = ?1")?
            .execute([self.version])
            .map(drop)
    }

    fn finish(&mut self, outcome: Result<(), StorageError>) {
        for (own, answer) in self.pending.drain(..) {
            let result =
                outcome.clone().map(|()| own.expect("set by `apply`, or the transaction failed"));
            drop(answer.send(result));
        }
    }
}

/// The first key that is not as the transaction expects.
fn conflict(connection: &Connection, tx: &Tx) -> rusqlite::Result<Option<String>> {
    let mut query = connection.prepare_cached("SELECT version FROM entry WHERE key = ?1")?;
    for (key, expect) in &tx.expects {
        let found: Option<u64> = query.query_row([key], |row| row.get(0)).optional()?;
        let holds = match expect {
            Expect::Absent => found.is_none(),
            Expect::Version(version) => found == Some(version.0),
        };
        if !holds {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

fn write(connection: &Connection, tx: &Tx, version: u64) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO entry VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM entry WHERE key = ?1")?;
    for step in &tx.writes {
        match step {
            Write::Put { key, value } => put.execute(params![key, version, value.as_ref()])?,
            Write::Delete { key } => delete.execute([key])?,
        };
    }
    Ok(())
}
