//! What can go wrong with storage, as a caller must tell it apart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What repeating the same call would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was applied: repeat when the cause may have passed.
    Safe,
    /// It may have been applied. Repeat only what is idempotent: records with a key, a
    /// transaction that checks versions.
    Unknown,
    /// It would fail in the same way.
    Never,
}

/// Cloneable, because one failed commit is the answer to everyone whose work was in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("no space is left for `{store}`: free some, and the work goes on by itself")]
    DiskFull {
        store: String,
        #[source]
        source: Arc<rusqlite::Error>,
    },
    #[error("`{store}` is locked by another program; close the tool that has it open for writing")]
    Busy {
        store: String,
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// No connection could be made.
    #[error("the database {store} cannot be reached: is it running, and is the URL right?")]
    Unreachable {
        store: String,
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The database said no, and changed nothing.
    #[error("the database {store} could not be {action}")]
    Refused {
        store: String,
        action: &'static str,
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    #[error("`{store}` could not be {action}")]
    Io {
        store: String,
        action: &'static str,
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "`{store}` is damaged or is not a file of ours; restore it from a backup, or move it \
         away to start empty"
    )]
    Corrupt {
        store: String,
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "`{store}` was written by a newer archipel (format {found}; this one knows up to {known}): \
         use that version, or move the file away to start empty"
    )]
    Newer { store: String, found: i64, known: i64 },
    #[error("`{store}` holds {found}, but {wanted} was expected; the path is the wrong one")]
    WrongKind { store: String, found: String, wanted: &'static str },
    #[error("`{store}` is open in another archipel process; stop that one first")]
    InUse { store: String },
    #[error("{what} is {bytes} bytes; at most {limit} are stored")]
    TooLarge { what: String, bytes: u64, limit: u64 },
    #[error("{0}")]
    Invalid(String),
    #[error("`{store}` is closed")]
    Closed { store: String },
    /// The memory back end was told to.
    #[error("`{store}` failed on command{}", if *.applied { " after the work was done" } else { "" })]
    Injected { store: String, applied: bool },
}

impl StorageError {
    pub fn retry(&self) -> Retry {
        match self {
            // A full disk shows while pages are written, before the commit: it is rolled back.
            Self::DiskFull { .. }
            | Self::Busy { .. }
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Injected { applied: false, .. } => Retry::Safe,
            // A writer that closes may have taken the work with it into its last commit.
            Self::Io { .. } | Self::Closed { .. } | Self::Injected { applied: true, .. } => {
                Retry::Unknown
            }
            Self::Corrupt { .. }
            | Self::Newer { .. }
            | Self::WrongKind { .. }
            | Self::InUse { .. }
            | Self::TooLarge { .. }
            | Self::Invalid(_) => Retry::Never,
        }
    }

    pub(crate) fn io(
        store: &Path,
        action: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Io { store: show(store), action, source: Arc::new(source) }
    }

    /// Sorts what SQLite says into what a caller can do about it.
    pub(crate) fn sqlite(store: &Path, action: &'static str, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let store = show(store);
        match source.sqlite_error_code() {
            Some(Code::DiskFull) => Self::DiskFull { store, source: Arc::new(source) },
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                Self::Busy { store, source: Arc::new(source) }
            }
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
                Self::Corrupt { store, source: Arc::new(source) }
            }
            _ => Self::Io { store, action, source: Arc::new(source) },
        }
    }
}

pub(crate) fn show(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}
