//! Statements on a SQLite file, for a person at a terminal who has no `sqlite3`.

use std::path::Path;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, OpenFlags};

#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    #[error("could not open `{path}`")]
    Open {
        path: String,
        #[source]
        source: rusqlite::Error,
    },
    #[error("could not run the statement")]
    Statement(#[from] rusqlite::Error),
}

/// What one statement gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Rows { columns: Vec<String>, rows: Vec<Vec<String>> },
    Changed(usize),
}

/// An open file.
pub struct Sqlite(Connection);

impl Sqlite {
    /// The file must exist: a shell makes no databases.
    ///
    /// # Errors
    /// When it is not there or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, SqlError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            Ok(connection)
        };
        open()
            .map(Self)
            .map_err(|source| SqlError::Open { path: path.display().to_string(), source })
    }

    /// Runs all statements of `text`; stops at the first that fails.
    ///
    /// # Errors
    /// What SQLite says about the statement.
    pub fn run(&self, text: &str) -> Result<Vec<Answer>, SqlError> {
        let mut answers = Vec::new();
        let mut batch = Batch::new(&self.0, text);
        while let Some(mut statement) = batch.next()? {
            if statement.column_count() == 0 {
                answers.push(Answer::Changed(statement.raw_execute()?));
                continue;
            }
            let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let mut rows = Vec::new();
            let mut cursor = statement.raw_query();
            while let Some(row) = cursor.next()? {
                let cells = (0..columns.len()).map(|i| row.get_ref(i).map(show));
                rows.push(cells.collect::<Result<_, _>>()?);
            }
            answers.push(Answer::Rows { columns, rows });
        }
        Ok(answers)
    }
}

fn show(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("({} bytes)", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_give_rows_or_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        assert!(matches!(Sqlite::open(&path), Err(SqlError::Open { .. })), "it makes none");
        std::fs::write(&path, b"").expect("an empty file is an empty database");
        let database = Sqlite::open(&path).expect("opens");
        let text =
            "CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 'x'), (NULL, 2.5); SELECT * FROM t;";
        let answers = database.run(text).expect("runs");
        assert_eq!(answers[1], Answer::Changed(2));
        let rows = [["1", "x"], ["NULL", "2.5"]].map(|row| row.map(String::from).to_vec());
        let columns = ["a", "b"].map(String::from).to_vec();
        assert_eq!(answers[2], Answer::Rows { columns, rows: rows.to_vec() });
        assert!(database.run("SELECT nonsense").is_err());
    }
}
