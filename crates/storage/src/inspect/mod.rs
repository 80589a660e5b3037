//! A look into a service's database, without the means to change it.
//!
//! That nothing is written is the database's own promise, not ours: a file is opened for reading,
//! a server runs everything in a `READ ONLY` transaction. What a statement says is never taken
//! apart here. It runs for some seconds at most and gives so many rows; when the future is
//! dropped, it is stopped.

mod postgres;
mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

/// A statement that runs longer is stopped.
pub const QUERY_TIME_MAX: Duration = Duration::from_secs(5);
/// Rows that are given.
pub const ROWS_MAX: usize = 500;
/// Of one value; the rest is cut off.
pub const CELL_BYTES_MAX: usize = 2_000;
/// Of all values together: rows end where this is reached.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Tables that are listed.
const TABLES_MAX: usize = 500;

/// Whose database.
#[derive(Clone)]
pub enum Source {
    Sqlite(PathBuf),
    /// A URL, with its password.
    Postgres(String),
}

#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// What the database says, which is for the person who wrote the statement.
    #[error("{0}")]
    Statement(String),
    #[error("could not open the database: {0}")]
    Open(String),
    #[error("stopped after {} s", .0.as_secs())]
    TooLong(Duration),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// `table` or `view`.
    pub kind: String,
    /// `None`: not counted.
    pub rows: Option<u64>,
    /// The database's own estimate, not a count.
    pub estimated: bool,
    /// On disk with its indexes, where the database tells.
    pub bytes: Option<u64>,
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub columns: Vec<String>,
    /// `None`: NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// There are more than are given.
    pub more: bool,
}

impl Rows {
    /// Takes a row if there is room.
    fn push(&mut self, row: Vec<Option<String>>, bytes: &mut usize) -> bool {
        *bytes += row.iter().flatten().map(String::len).sum::<usize>();
        self.more = self.rows.len() >= ROWS_MAX || *bytes > ANSWER_BYTES_MAX;
        if !self.more {
            self.rows.push(row);
        }
        !self.more
    }
}

impl Source {
    /// # Errors
    /// When it cannot be opened or read in time.
    pub async fn tables(&self) -> Result<Vec<Table>, InspectError> {
        match self {
            Self::Sqlite(path) => sqlite::tables(path.clone()).await,
            Self::Postgres(url) => postgres::tables(url).await,
        }
    }

    /// Runs one statement that gives rows.
    ///
    /// # Errors
    /// [`InspectError::Statement`] when the database refuses it.
    pub async fn query(&self, sql: &str) -> Result<Rows, InspectError> {
        match self {
            Self::Sqlite(path) => sqlite::query(path.clone(), sql.to_owned()).await,
            Self::Postgres(url) => postgres::query(url, sql).await,
        }
    }
}

fn cut(text: &str) -> String {
    if text.len() <= CELL_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(CELL_BYTES_MAX);
    format!("{}… ({} bytes)", &text[..end], text.len())
}
