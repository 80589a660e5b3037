//! What a caller is told.

use archipel_storage::StorageError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum WorkflowError {
    #[error("no such instance exists: `{id}`")]
    NotFound { id: String },
    /// Both wordings that existing clients look for.
    #[error(
        "orchestration instance already exists: an active workflow with ID '{id}' already exists"
    )]
    AlreadyActive { id: String },
    #[error("orchestration instance already exists: a workflow with ID '{id}' has run")]
    AlreadyExists { id: String },
    #[error("orchestration has not yet completed: `{id}`; terminate it first")]
    NotCompleted { id: String },
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotDeclared(String),
    #[error("no such pending work: `{what}` is not waiting for this answer")]
    NotPending { what: String },
    #[error("{what} is {bytes} bytes; at most {limit} are stored")]
    TooLarge { what: &'static str, bytes: usize, limit: usize },
    #[error("the workflow store failed")]
    Storage(#[from] StorageError),
    #[error("the stored record `{key}` cannot be read: {reason}")]
    Stored { key: String, reason: String },
    /// Asked again, it may be done.
    #[error("{0}")]
    Unavailable(String),
    #[error("the workflow engine is stopping")]
    Closing,
}

impl WorkflowError {
    pub(crate) fn moved() -> Self {
        Self::Unavailable("another process took the instance over just now; ask again".to_owned())
    }
}
