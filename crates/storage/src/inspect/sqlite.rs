//! A SQLite file, opened for reading.
//!
//! `ATTACH` would reach other services' files and `VACUUM INTO` would write one: both need a
//! place for another database, of which this connection has none. Some pragmas set what all
//! connections of the process share, Archipel's own among them, and do so while they are
//! prepared: only those that tell something are taken.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, InterruptHandle, OpenFlags};

use super::{InspectError, QUERY_TIME_MAX, Rows, TABLES_MAX, Table, cut};

/// One value, also one that is only computed: it stands in memory as a whole.
const VALUE_BYTES_MAX: i32 = 64 << 20;
/// Rows of one table that are counted.
const COUNTED_MAX: u64 = 1_000_000;
/// Tables that come later are not counted.
const COUNTING_MAX: Duration = Duration::from_secs(2);

/// Pragmas that tell something, whatever they are given.
const TELLING: [&str; 17] = [
    "collation_list",
    "compile_options",
    "data_version",
    "database_list",
    "foreign_key_check",
    "foreign_key_list",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "page_count",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];
/// Pragmas that tell something when they are given nothing.
const ASKED: [&str; 7] = [
    "application_id",
    "auto_vacuum",
    "encoding",
    "foreign_keys",
    "page_size",
    "schema_version",
    "user_version",
];

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
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(1))?;
        connection.execute_batch("PRAGMA query_only = 1; PRAGMA trusted_schema = 0")?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
        connection.authorizer(Some(judge))?;
        Ok(connection)
    })();
    let connection = opened.map_err(|error: rusqlite::Error| InspectError::Open(say(&error)))?;
    match stopper.watch(&connection) {
        true => Ok(connection),
        false => Err(InspectError::TooLong(QUERY_TIME_MAX)),
    }
}

/// That nothing is written is not decided here: some modules prepare writes that they never run.
fn judge(context: AuthContext<'_>) -> Authorization {
    let is = |known: &[&str], name: &str| known.iter().any(|k| k.eq_ignore_ascii_case(name));
    match context.action {
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let tells =
                is(&TELLING, pragma_name) || pragma_value.is_none() && is(&ASKED, pragma_name);
            if tells { Authorization::Allow } else { Authorization::Deny }
        }
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Authorization::Deny,
        _ => Authorization::Allow,
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
    let until = clock::now() + COUNTING_MAX;
    for (name, kind) in named.map_err(refused)?.into_iter().take(TABLES_MAX) {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let rows = match kind.as_str() {
            "table" => count(connection, &quoted, until),
            _ => None,
        };
        let columns = connection.prepare("SELECT name FROM pragma_table_info(?1)");
        let columns = columns.and_then(|mut of| {
            of.query_map([&name], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        });
        let columns = columns.map_err(refused)?;
        let estimated = rows.is_some_and(|rows| rows >= COUNTED_MAX);
        tables.push(Table { name, kind, rows, estimated, bytes: None, columns });
    }
    Ok(tables)
}

/// At most so many: a table of a hundred million must not hide the others.
fn count(connection: &Connection, quoted: &str, until: Instant) -> Option<u64> {
    if clock::now() >= until {
        return None;
    }
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {quoted} LIMIT {COUNTED_MAX})");
    connection.query_row(&sql, [], |row| row.get(0)).ok()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
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
        let make =
            "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER, note TEXT, raw BLOB);
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
            assert!(refused.is_err(), "{sql}: {refused:?}");
        }
        assert!(!dir.path().join("other.db").exists());
        let now = source.query("SELECT count(*), max(note) FROM orders").await.expect("rows");
        assert_eq!(now.rows[0], [Some("2".to_owned()), Some("first".to_owned())]);
        let version = source.query("PRAGMA user_version").await.expect("rows");
        assert_eq!(version.rows[0], [Some("0".to_owned())]);
        for sql in ["PRAGMA table_info(orders)", "PRAGMA Page_Size", "PRAGMA quick_check"] {
            assert!(source.query(sql).await.is_ok_and(|found| !found.rows.is_empty()), "{sql}");
        }
    }

    /// One that is set holds for every connection of the process: Archipel's own stores too.
    #[tokio::test]
    async fn no_pragma_reaches_what_the_process_shares() {
        let (dir, source) = made();
        for sql in [
            "PRAGMA hard_heap_limit = 1000",
            "PRAGMA soft_heap_limit = 1000",
            "PRAGMA temp_store_directory = '/nowhere'",
        ] {
            let refused = source.query(sql).await;
            assert!(matches!(refused, Err(InspectError::Statement(_))), "{sql}: {refused:?}");
        }
        let other = Connection::open(dir.path().join("own.db")).expect("opens");
        other.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").expect("memory");
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
        let huge = source.query("SELECT length(hex(zeroblob(400000000)))").await;
        assert!(matches!(huge, Err(InspectError::Statement(_))), "{huge:?}");
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
