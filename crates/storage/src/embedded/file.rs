//! One SQLite file: whose it is, what is in it, how it is opened.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Durability, Options};
use crate::StorageError;
use crate::error::show;

/// "Arch" in the header of the file, so that it is not taken for another program's database.
const APPLICATION_ID: i32 = 0x4172_6368;

/// Another program that writes into our file (a tool in a person's hands) gets this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a file holds: its kind, and the step that makes each version of its tables from the one
/// before. Steps are only ever added.
pub(super) struct Schema {
    pub kind: &'static str,
    pub steps: &'static [&'static str],
}

/// A file opened for writing. The lock goes last.
#[derive(Debug)]
pub(super) struct Opened {
    pub connection: Connection,
    pub _lock: File,
}

pub(super) fn open(path: &Path, options: Options, schema: &Schema) -> Result<Opened, StorageError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let mut directory = DirBuilder::new();
        directory.recursive(true).mode(0o700);
        directory.create(parent).map_err(|e| StorageError::io(parent, "created", e))?;
    }
    let lock = lock(path)?;
    create_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)
        .map_err(|e| StorageError::sqlite(path, "opened", e))?;
    check_owner(path, &connection, schema)?;
    set_up(&connection, options).map_err(|e| StorageError::sqlite(path, "set up", e))?;
    migrate(&mut connection, schema).map_err(|e| StorageError::sqlite(path, "migrated", e))?;
    Ok(Opened { connection, _lock: lock })
}

pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "mmap_size", 256 << 20)?;
    Ok(connection)
}

/// A lock beside the file and not on it: closing any descriptor of the file itself would drop
/// the locks that SQLite holds in this process.
fn lock(path: &Path) -> Result<File, StorageError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(|e| StorageError::io(&beside, "opened", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse { store: show(path) }),
        Err(TryLockError::Error(e)) => Err(StorageError::io(&beside, "locked", e)),
    }
}

/// SQLite would create it by the umask; ours are for the owner alone.
fn create_private(path: &Path) -> Result<(), StorageError> {
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let kind = fs::metadata(path).map_err(|e| StorageError::io(path, "read", e))?;
            if kind.is_file() {
                return Ok(());
            }
            Err(StorageError::WrongKind {
                store: show(path),
                found: "something that is not a file".to_owned(),
                wanted: "a database file",
            })
        }
        Err(e) => Err(StorageError::io(path, "created", e)),
    }
}

/// Before anything is written: an empty file, or ours, of this kind, of a version we know.
fn check_owner(path: &Path, connection: &Connection, schema: &Schema) -> Result<(), StorageError> {
    let read = |e| StorageError::sqlite(path, "read", e);
    let wrong =
        |found: String| StorageError::WrongKind { store: show(path), found, wanted: schema.kind };
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(read)?;
    if tables == 0 {
        return Ok(());
    }
    let owner: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(read)?;
    if owner != APPLICATION_ID {
        return Err(wrong("the database of another program".to_owned()));
    }
    let (kind, found) = stored_version(connection).map_err(read)?;
    if kind != schema.kind {
        return Err(wrong(kind));
    }
    let known = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StorageError::Newer { store: show(path), found, known });
    }
    Ok(())
}

fn stored_version(connection: &Connection) -> rusqlite::Result<(String, i64)> {
    connection.query_row("SELECT kind, version FROM archipel_schema", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

fn set_up(connection: &Connection, options: Options) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Has an effect in an empty file only; lets truncated logs give space back to the disk.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(mode, "this file system allows no write-ahead log: writes are slower");
    }
    let sync = match options.sync {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", sync)?;
    // 16 MiB of log before a checkpoint: a checkpoint syncs twice, so it should be rare.
    connection.pragma_update(None, "wal_autocheckpoint", 4_096)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn migrate(connection: &mut Connection, schema: &Schema) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS archipel_schema (kind TEXT NOT NULL, version INTEGER NOT NULL)",
    )?;
    let found = match stored_version(&tx) {
        Ok((_, version)) => version,
        Err(rusqlite::Error::QueryReturnedNoRows) => {
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.execute("INSERT INTO archipel_schema VALUES (?1, 0)", [schema.kind])?;
            0
        }
        Err(error) => return Err(error),
    };
    let done = usize::try_from(found).unwrap_or(0);
    for step in &schema.steps[done.min(schema.steps.len())..] {
        tx.execute_batch(step)?;
    }
    tx.execute("UPDATE archipel_schema SET version = ?1", [schema.steps.len()])?;
    tx.commit()
}
