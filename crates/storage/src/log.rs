//! The contract of a durable log.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::StorageError;

/// Appends in one batch hold at most this many bytes; a batch is one unit of the disk's time.
pub const BATCH_BYTES_MAX: u64 = 16 << 20;

/// How many of a log's last records are searched for a record's key before it is appended.
pub const DEDUPE_WINDOW: usize = 16_384;

/// A position in one log; the first record has 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Says that two records are the same one sent twice: a digest of what identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey(pub [u8; 16]);

impl RecordKey {
    /// The digest of `parts`, in which `["a", "bc"]` and `["ab", "c"]` differ.
    pub fn of(parts: &[&str]) -> Self {
        use sha2::Digest as _;
        let mut digest = sha2::Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let digest = digest.finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

#[derive(Debug, Clone)]
pub struct Record {
    /// `None`: stored each time it is sent.
    pub key: Option<RecordKey>,
    pub bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970; never decreases within a log.
    pub at_ms: u64,
    pub bytes: Bytes,
}

/// Where the records of a batch are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// One position per record, in the order of the batch. A record that was there already
    /// (by its key) has the position it got the first time.
    pub seqs: Vec<Seq>,
    /// How many of them this call added.
    pub fresh: usize,
}

/// Everything in `first..next` can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Bounds {
    pub first: Seq,
    /// What the next record will get.
    pub next: Seq,
    /// The sum of the records' own bytes.
    pub bytes: u64,
}

impl Bounds {
    pub const EMPTY: Self = Self { first: Seq::FIRST, next: Seq::FIRST, bytes: 0 };

    pub fn len(&self) -> u64 {
        self.next.0 - self.first.0
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How much one read gives at most. The first record always comes, however large.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    pub records: usize,
    pub bytes: u64,
}

/// A durable, totally ordered log.
///
/// - When `append` returns, the batch survives a crash of this process (and of the machine, when
///   the back end was opened so); a batch is stored as a whole or not at all.
/// - Positions start at 1, have no gaps, and are never used twice, also after everything was
///   truncated and the store reopened.
/// - A record with a key that one of the last [`DEDUPE_WINDOW`] records has is not stored again:
///   so a producer that does not know whether its append happened repeats it.
/// - What was appended before a `read` began is seen by it, in order and unchanged.
/// - `bounds` moves only after the records it speaks of can be read.
#[async_trait]
pub trait Log: Send + Sync + std::fmt::Debug + 'static {
    fn name(&self) -> &str;

    /// Stores the records in this order, next to each other, and returns when they are durable.
    ///
    /// Waits while the store has too much to write already. Dropped before it returns, the batch
    /// may or may not be stored.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] above [`BATCH_BYTES_MAX`]; otherwise see
    /// [`StorageError::retry`].
    async fn append(&self, batch: Vec<Record>) -> Result<Appended, StorageError>;

    /// The records from `from` on, in order. Empty at the end of the log. A `from` before the
    /// first record starts at the first.
    async fn read(&self, from: Seq, limit: ReadLimit) -> Result<Vec<Stored>, StorageError>;

    /// The first record stored at `at_ms` or later; the end of the log when there is none.
    async fn seek(&self, at_ms: u64) -> Result<Seq, StorageError>;

    /// Removes what is before `seq`, at most everything. Dropped before it returns, a part may
    /// be removed. Their keys are forgotten with them.
    async fn truncate_before(&self, seq: Seq) -> Result<(), StorageError>;

    /// What is in it now, and notice of every change.
    fn bounds(&self) -> watch::Receiver<Bounds>;
}

/// The logs of one store.
#[async_trait]
pub trait Logs: Send + Sync + std::fmt::Debug + 'static {
    /// Opens the log of this name, creating it when it is not there. Opened twice, both handles
    /// are the same log.
    ///
    /// # Errors
    /// [`StorageError::Invalid`] when the name is empty or longer than 255 bytes.
    async fn open(&self, name: &str) -> Result<Arc<dyn Log>, StorageError>;

    /// The names of all logs, in order.
    async fn names(&self) -> Result<Vec<String>, StorageError>;

    /// Finishes what is being written and closes. Later calls fail with
    /// [`StorageError::Closed`]. Once it returns, the same store can be opened again.
    async fn close(&self);
}

pub(crate) fn check_name(name: &str) -> Result<(), StorageError> {
    if name.is_empty() || name.len() > 255 {
        return Err(StorageError::Invalid(format!(
            "`{name}` cannot be the name of a log: 1 to 255 bytes"
        )));
    }
    Ok(())
}

/// The bytes of a batch, if it is not too large.
pub(crate) fn check_batch(log: &str, batch: &[Record]) -> Result<u64, StorageError> {
    let bytes = batch.iter().map(|record| record.bytes.len() as u64).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(StorageError::TooLarge {
            what: format!("a batch for the log `{log}`"),
            bytes,
            limit: BATCH_BYTES_MAX,
        });
    }
    Ok(bytes)
}
