//! What went wrong with state, in the words and codes of Dapr.

use archipel_state::StateError;
use http::StatusCode;
use serde_json::{Value, json};

use super::STORE;
use crate::error::ApiError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing {
    Save,
    Get { key: String },
    Delete { key: String },
    Bulk,
    Transaction,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    #[error("state store {store} is not found")]
    NoStore { store: String },
    #[error("failed deserializing HTTP body: {reason}")]
    Malformed { reason: String },
    #[error("{reason}")]
    Key { key: String, reason: String },
    #[error("operation type {name} not supported")]
    Operation { name: String },
    #[error("{text}")]
    TooMany { text: String, count: usize, limit: usize },
    #[error("state store does not support querying")]
    NoQuery,
    #[error("{text}")]
    Failed { status: StatusCode, code: &'static str, text: String },
}

impl From<StateFault> for ApiError {
    fn from(fault: StateFault) -> Self {
        Self::State(fault)
    }
}

impl StateFault {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { reason: reason.into() }
    }

    pub(crate) fn of(doing: &Doing, error: &StateError) -> Self {
        let reason = archipel_rt::chain(error);
        let (code, text) = match doing {
            Doing::Save => {
                ("ERR_STATE_SAVE", format!("failed saving state in state store {STORE}: {reason}"))
            }
            Doing::Get { key } => {
                ("ERR_STATE_GET", format!("fail to get {key} from state store {STORE}: {reason}"))
            }
            Doing::Delete { key } => {
                ("ERR_STATE_DELETE", format!("failed deleting state with key {key}: {reason}"))
            }
            Doing::Bulk => ("ERR_STATE_BULK_GET", reason.clone()),
            Doing::Transaction => (
                "ERR_STATE_TRANSACTION",
                format!("error while executing state transaction: {reason}"),
            ),
        };
        let status = match error.first() {
            StateError::Key { key, .. } => return Self::Key { key: key.clone(), reason },
            StateError::TooMany { count, limit } => {
                return Self::TooMany { text: reason, count: *count, limit: *limit };
            }
            StateError::TooLarge { .. } | StateError::TooMuch { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            StateError::TimeToLive { .. } => StatusCode::BAD_REQUEST,
            // As in Dapr.
            _ if *doing == Doing::Transaction => StatusCode::INTERNAL_SERVER_ERROR,
            StateError::Mismatch { .. } => StatusCode::CONFLICT,
            StateError::Etag { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::Failed { status, code, text }
    }

    pub(crate) fn facts(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        use StatusCode as S;
        match self {
            Self::NoStore { .. } => {
                (S::BAD_REQUEST, "ERR_STATE_STORE_NOT_FOUND", Some("DAPR_STATE_NOT_FOUND"))
            }
            Self::Malformed { .. } => (S::BAD_REQUEST, "ERR_MALFORMED_REQUEST", None),
            Self::Key { .. } => {
                (S::BAD_REQUEST, "ERR_MALFORMED_REQUEST", Some("DAPR_STATE_ILLEGAL_KEY"))
            }
            Self::Operation { .. } => (S::BAD_REQUEST, "ERR_NOT_SUPPORTED_STATE_OPERATION", None),
            Self::TooMany { .. } => (
                S::BAD_REQUEST,
                "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
                Some("DAPR_STATE_TOO_MANY_TRANSACTIONS"),
            ),
            Self::NoQuery => (
                S::INTERNAL_SERVER_ERROR,
                "ERR_STATE_STORE_NOT_SUPPORTED",
                Some("DAPR_STATE_QUERYING_NOT_SUPPORTED"),
            ),
            Self::Failed { status, code, .. } => (*status, code, None),
        }
    }

    /// Changes the details that every rich error has to those of this one.
    pub(crate) fn detail(&self, details: &mut Vec<Value>) {
        let Some(info) = details.first_mut().filter(|_| !matches!(self, Self::NoStore { .. }))
        else {
            return;
        };
        info["metadata"] = match self {
            Self::TooMany { count, limit, .. } => json!({
                "currentOpsTransaction": count.to_string(),
                "maxOpsPerTransaction": limit.to_string(),
            }),
            _ => Value::Null,
        };
        details.insert(
            0,
            json!({
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "resource_type": "state", "resource_name": STORE, "owner": "", "description": "",
            }),
        );
        if let Self::Key { key, reason } = self {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": [{ "field": key, "description": reason }],
            }));
        }
    }
}
