//! The contract of a small transactional store of keys and values.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{Retry, StorageError};

pub const KEY_BYTES_MAX: usize = 1_024;
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// One `list` stops after the entry with which it exceeds this.
pub const LIST_BYTES_MAX: usize = 8 << 20;

/// Grows with every commit of the store, so an entry that was removed and made again never
/// has a version it had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: Bytes,
    /// Of the commit that wrote it.
    pub version: Version,
}

/// What must hold for a transaction to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Version(Version),
}

#[derive(Debug, Clone)]
pub enum Write {
    Put { key: String, value: Bytes },
    Delete { key: String },
}

impl Write {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Checks and writes that happen together or not at all. The writes take effect in order; the
/// checks see the store as it was before any of them.
#[derive(Debug, Clone, Default)]
pub struct Tx {
    pub expects: Vec<(String, Expect)>,
    pub writes: Vec<Write>,
    /// Rings the bell of everybody who has the store open ([`Kv::bell`]).
    pub ring: bool,
}

impl Tx {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn expect(mut self, key: impl Into<String>, expect: Expect) -> Self {
        self.expects.push((key.into(), expect));
        self
    }

    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    #[must_use]
    pub fn ring(mut self) -> Self {
        self.ring = true;
        self
    }

    /// The bytes to write, when keys and values are within their limits.
    pub(crate) fn check(&self) -> Result<u64, StorageError> {
        let keys = self.expects.iter().map(|(key, _)| key.as_str());
        for key in keys.chain(self.writes.iter().map(Write::key)) {
            check_key(key)?;
        }
        let mut total = 0;
        for write in &self.writes {
            if let Write::Put { key, value } = write {
                if value.len() > VALUE_BYTES_MAX {
                    return Err(StorageError::TooLarge {
                        what: format!("the value of `{key}`"),
                        bytes: value.len() as u64,
                        limit: VALUE_BYTES_MAX as u64,
                    });
                }
                total += (key.len() + value.len()) as u64;
            }
        }
        if total > crate::BATCH_BYTES_MAX {
            return Err(StorageError::TooLarge {
                what: "a transaction".to_owned(),
                bytes: total,
                limit: crate::BATCH_BYTES_MAX,
            });
        }
        Ok(total)
    }
}

fn check_key(key: &str) -> Result<(), StorageError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
        return Err(StorageError::Invalid(format!(
            "{key:?} cannot be a key: 1 to {KEY_BYTES_MAX} bytes, without NUL"
        )));
    }
    Ok(())
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum KvError {
    /// Nothing was applied. Read again and decide anew.
    #[error("`{key}` was changed by someone else in the meantime")]
    Conflict { key: String },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl KvError {
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict { .. } => Retry::Never,
            Self::Storage(error) => error.retry(),
        }
    }
}

/// A durable map from text to bytes, in the order of the keys' bytes.
///
/// - When `commit` returns, the transaction survives a crash; it happened whole or not at all.
/// - Transactions are serial: each sees all that were committed before it, and none in part.
/// - A read that begins after a commit returned sees it. `list` shows one moment.
#[async_trait]
pub trait Kv: Send + Sync + std::fmt::Debug + 'static {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError>;

    /// Entries whose key starts with `prefix` and comes after `after`, in order, at most `max`;
    /// fewer when they are large ([`LIST_BYTES_MAX`]), but none only when there are no more.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Entry)>, StorageError>;

    /// Applies the transaction and returns the version its entries got.
    ///
    /// Dropped before it returns, it may or may not have happened.
    ///
    /// # Errors
    /// [`KvError::Conflict`] names the first expectation that did not hold.
    async fn commit(&self, tx: Tx) -> Result<Version, KvError>;

    /// Changes after a transaction that rings, of whoever committed it: then it pays to look.
    /// Now and then without a reason; who must not miss one also looks from time to time.
    /// `None`: nobody rings, and one has to look.
    fn bell(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Finishes what is being written and closes, as [`crate::Logs::close`].
    async fn close(&self);
}

/// What callers would otherwise write again and again.
#[async_trait]
pub trait KvExt: Kv {
    async fn put(&self, key: &str, value: Bytes) -> Result<Version, KvError> {
        self.commit(Tx::new().put(key, value)).await
    }

    async fn delete(&self, key: &str) -> Result<Version, KvError> {
        self.commit(Tx::new().delete(key)).await
    }

    /// Writes `value` if the entry still is as `expect` says.
    async fn compare_and_set(
        &self,
        key: &str,
        expect: Expect,
        value: Bytes,
    ) -> Result<Version, KvError> {
        self.commit(Tx::new().expect(key, expect).put(key, value)).await
    }

    /// All entries under a prefix, read in pages: not one moment if they are many.
    async fn list_all(&self, prefix: &str) -> Result<Vec<(String, Entry)>, StorageError> {
        let mut all: Vec<(String, Entry)> = Vec::new();
        loop {
            let after = all.last().map(|(key, _)| key.clone());
            let page = self.list(prefix, after.as_deref(), 1_000).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

impl<T: Kv + ?Sized> KvExt for T {}
