//! A SQLite file, opened for reading.
//!
//! `ATTACH` would reach other services' files and `VACUUM INTO` would write one: both need a
//! place for another database, of which this connection has none.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use archipel_rt::clock;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, InterruptHandle, OpenFlags};

use super::{InspectError, QUERY_TIME_MAX, Rows, TABLES_MAX, Table, cut};

pub(super) async fn query(path: PathBuf, sql: String) -> Result<Rows, InspectError> {
    within(move |stopper| run(&open(&path, stopper)?, &sql)).await
}

pub(super) async fn tables(path: PathBuf) -> Result<Vec<Table>, InspectError> {
    within(move |stopper| list(&open(&path, stopper)?)).await
}

/// Stops the connection's statement when it is dropped: the client went away, or time is up.
#[derive(Clone, Default)]
struct Stopper(Arc<Mutex<(bool, Option<InterruptHandle>)>>);

impl Stopper {
    /// Whether it had not been stopped before.
    fn watch(&self, connection: &Connection) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = Some(connection.get_interrupt_handle());
        !state.0
    }
}

struct StopOnDrop(Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        if let Some(handle) = &state.1 {
            handle.interrupt();
        }
    }
}

async fn within<T: Send + 'static>(
    work: impl FnOnce(&Stopper) -> Result<T, InspectError> + Send + 'static,
) -> Result<T, InspectError> {
    let stopper = Stopper::default();
    let stop = StopOnDrop(stopper.clone());
    let done = archipel_rt::blocking(move || work(&stopper));
    let done = clock::timeout(QUERY_TIME_MAX, done).await;
    drop(stop);
    done.unwrap_or(Err(InspectError::TooLong(QUERY_TIME_MAX)))
}

fn open(path: &Path, stopper: &Stopper) -> Result<Connection, InspectError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = (|| {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(1))?;
        connection.execute_batch("PRAGMA query_only = 1; PRAGMA trusted_schema = 0")?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        Ok(connection)
    })();
    let connection = opened.map_err(|error: rusqlite::Error| InspectError::Open(say(&error)))?;
    match stopper.watch(&connection) {
        true => Ok(connection),
        false => Err(InspectError::TooLong(QUERY_TIME_MAX)),
    }
}

fn run(connection: &Connection, sql: &str) -> Result<Rows, InspectError> {
    let refuse = |text: &str| InspectError::Statement(text.to_owned());
    let mut batch = Batch::new(connection, sql);
    let statement = batch.next().map_err(refused)?;
    let mut statement = statement.ok_or_else(|| refuse("there is no statement"))?;
    if statement.column_count() == 0 || !statement.readonly() {
        return Err(refuse("only statements that read are run here"));
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = Rows { columns, ..Rows::default() };
    let mut bytes = 0;
    let mut cursor = statement.raw_query();
    while let Some(row) = cursor.next().map_err(refused)? {
        let cells = (0..found.columns.len()).map(|i| row.get_ref(i).map(show));
        let cells = cells.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        if !found.push(cells, &mut bytes) {
            break;
        }
    }
    drop(cursor);
    drop(statement);
    match batch.next() {
        Ok(None) => Ok(found),
        _ => Err(refuse("one statement at a time")),
    }
}

fn list(connection: &Connection) -> Result<Vec<Table>, InspectError> {
    let names = "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') \
                 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut statement = connection.prepare(names).map_err(refused)?;
    let named = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let named = named.and_then(Iterator::collect::<Result<Vec<(String, String)>, _>>);
    let mut tables = Vec::new();
    for (name, kind) in named.map_err(refused)?.into_iter().take(TABLES_MAX) {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let rows = match kind.as_str() {
            "table" => {
                let count = format!("SELECT count(*) FROM {quoted}");
                connection.query_row(&count, [], |row| row.get(0)).ok()
            }
            _ => None,
        };
        let columns = connection.prepare("SELECT name FROM pragma_table_info(?1)");
        let columns = columns.and_then(|mut of| {
            of.query_map([&name], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        });
        let columns = columns.map_err(refused)?;
        tables.push(Table { name, kind, rows, estimated: false, bytes: None, columns });
    }
    Ok(tables)
}

fn refused(error: rusqlite::Error) -> InspectError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OperationInterrupted) => InspectError::TooLong(QUERY_TIME_MAX),
        _ => InspectError::Statement(say(&error)),
    }
}

/// Without the statement, which the person has before their eyes.
fn say(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

fn show(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(cut(&String::from_utf8_lossy(text))),
        ValueRef::Blob(bytes) => Some(format!("({} bytes)", bytes.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ROWS_MAX, Source};
    use super::*;

    fn made() -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        let connection = Connection::open(&path).expect("opens");
        let make = "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER, note TEXT, raw BLOB);
             INSERT INTO orders VALUES (1, 'first', x'00ff'), (2, NULL, NULL);
             CREATE VIEW late AS SELECT * FROM orders";
        connection.execute_batch(make).expect("made");
        (dir, Source::Sqlite(path))
    }

    #[tokio::test]
    async fn rows_and_tables_are_read_beside_a_writer() {
        let (dir, source) = made();
        let writer = Connection::open(dir.path().join("a.db")).expect("opens");
        writer.execute_batch("BEGIN IMMEDIATE").expect("begins");
        let found = source.query("SELECT id, note, raw FROM orders ORDER BY id").await;
        let found = found.expect("rows");
        assert_eq!(found.columns, ["id", "note", "raw"]);
        let texts = |row: &[Option<&str>]| row.iter().map(|c| c.map(str::to_owned)).collect();
        let first: Vec<_> = texts(&[Some("1"), Some("first"), Some("(2 bytes)")]);
        assert_eq!(found.rows, [first, texts(&[Some("2"), None, None])]);
        assert!(!found.more);
        let tables = source.tables().await.expect("tables");
        let told: Vec<_> = tables.iter().map(|t| (&*t.name, &*t.kind, t.rows)).collect();
        assert_eq!(told, [("late", "view", None), ("orders", "table", Some(2))]);
        assert_eq!(tables[1].columns, ["id", "note", "raw"]);
    }

    #[tokio::test]
    async fn nothing_is_written_and_no_other_file_is_reached() {
        let (dir, source) = made();
        let other = dir.path().join("other.db").display().to_string();
        for sql in [
            "UPDATE orders SET note = 'x' RETURNING id",
            "INSERT INTO orders VALUES (3, 'x', NULL) RETURNING id",
            "DROP TABLE orders",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA user_version = 7",
            &format!("ATTACH '{other}' AS o"),
            &format!("VACUUM INTO '{other}'"),
            "SELECT 1; SELECT 2",
            "SELECT 1; DROP TABLE orders",
            "PRAGMA query_only = 0; UPDATE orders SET note = 'x'",
            "CREATE TEMP TABLE t (a)",
            "SELECT load_extension('/tmp/x.so')",
            "SELECT * FROM nothing",
            "-- nothing",
            "",
        ] {
            let refused = source.query(sql).await.map(|found| found.rows);
            // A pragma may be taken and change nothing.
            assert!(refused.is_err() || sql.starts_with("PRAGMA"), "{sql}: {refused:?}");
        }
        assert!(!dir.path().join("other.db").exists());
        let now = source.query("SELECT count(*), max(note) FROM orders").await.expect("rows");
        assert_eq!(now.rows[0], [Some("2".to_owned()), Some("first".to_owned())]);
        let version = source.query("PRAGMA user_version").await.expect("rows");
        assert_eq!(version.rows[0], [Some("0".to_owned())]);
    }

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                           SELECT count(*) FROM n";

    #[tokio::test]
    async fn rows_and_time_are_bounded() {
        let (_dir, source) = made();
        let many = ENDLESS.replace("count(*)", "i");
        let found = source.query(&many).await.expect("rows");
        assert_eq!((found.rows.len(), found.more), (ROWS_MAX, true));
        let big = source.query("SELECT hex(zeroblob(4000))").await.expect("rows");
        assert!(big.rows[0][0].as_ref().is_some_and(|cell| cell.ends_with("(8000 bytes)")));
        let endless = source.query(ENDLESS).await;
        assert!(matches!(endless, Err(InspectError::TooLong(_))), "{endless:?}");
    }

    #[tokio::test]
    async fn a_statement_ends_when_nobody_waits_for_it() {
        let (_dir, source) = made();
        let Source::Sqlite(path) = source else { unreachable!() };
        let stopper = Stopper::default();
        let stop = StopOnDrop(stopper.clone());
        let work = tokio::task::spawn_blocking(move || {
            let connection = open(&path, &stopper)?;
            run(&connection, ENDLESS)
        });
        // Whether it has begun or not: afterwards it has ended.
        drop(stop);
        assert!(work.await.expect("no panic").is_err());
    }
}
