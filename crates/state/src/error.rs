//! What can go wrong with state, as a client must tell it apart.

use archipel_storage::StorageError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    #[error("{reason}")]
    Key { key: String, reason: String },
    #[error("the value of `{key}` is {bytes} bytes; at most {limit} are stored")]
    TooLarge { key: String, bytes: usize, limit: usize },
    #[error("left out: one answer holds at most {limit} bytes of values; ask for fewer keys")]
    Answer { limit: usize },
    #[error("the transaction writes {bytes} bytes; at most {limit} are written at once")]
    TooMuch { bytes: u64, limit: u64 },
    #[error(
        "the transaction contains {count} operations, which is more than what the state store \
         supports: {limit}"
    )]
    TooMany { count: usize, limit: usize },
    #[error("possible etag mismatch: `{key}` is not as the caller knows it")]
    Mismatch { key: String },
    #[error("invalid etag value: `{etag}` was not given by this store")]
    Etag { etag: String },
    #[error("`ttlInSeconds` is `{text}`; give seconds, for example 60, or -1 for no end")]
    TimeToLive { text: String },
    /// Written by a newer version, or not by us.
    #[error("what is stored under `{key}` cannot be read: {reason}")]
    Stored { key: String, reason: String },
    /// Of items that are saved each by itself.
    #[error("{all}")]
    Several { first: Box<StateError>, all: String },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl StateError {
    /// One error for those of several items: it counts as the first that is about an etag.
    pub(crate) fn of_several(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() < 2 {
            return errors.pop();
        }
        let texts: Vec<_> = errors.iter().map(|error| archipel_rt::chain(error)).collect();
        let about_etag = errors.iter().position(Self::is_about_etag).unwrap_or(0);
        let first = Box::new(errors.swap_remove(about_etag));
        Some(Self::Several { first, all: texts.join("; ") })
    }

    /// What it counts as.
    pub fn first(&self) -> &Self {
        match self {
            Self::Several { first, .. } => first.first(),
            other => other,
        }
    }

    pub fn is_about_etag(&self) -> bool {
        matches!(self.first(), Self::Mismatch { .. } | Self::Etag { .. })
    }
}
