//! Dapr's management API of workflows, for clients that do not speak the durabletask protocol.
//!
//! `http` and `grpc` take requests apart; what they ask is done here, once for both.

mod grpc;
mod http;
mod wire;

use std::sync::Arc;

use archipel_workflow::{Engine, Key, Reuse, WorkflowError};
use dapr_durabletask_proto::{CreateInstanceRequest, WorkflowState};

use crate::error::ApiError;

pub(crate) use self::grpc::answer as grpc;
pub(crate) use self::http::{Ask, ask, perform};

/// As Dapr has it. It is looked at here only: SDKs, which speak the other protocol, may use any.
const ID_CHARS_MAX: usize = 64;

/// What can be done to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Start,
    Get,
    Pause,
    Resume,
    Terminate,
    Purge,
    Raise,
}

impl Act {
    /// For a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Start => "starting workflow",
            Self::Get => "getting workflow",
            Self::Pause => "pausing workflow",
            Self::Resume => "resuming workflow",
            Self::Terminate => "terminating workflow",
            Self::Purge => "purging workflow",
            Self::Raise => "raising an event on workflow",
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Start => "ERR_START_WORKFLOW",
            Self::Get => "ERR_GET_WORKFLOW",
            Self::Pause => "ERR_PAUSE_WORKFLOW",
            Self::Resume => "ERR_RESUME_WORKFLOW",
            Self::Terminate => "ERR_TERMINATE_WORKFLOW",
            Self::Purge => "ERR_PURGE_WORKFLOW",
            Self::Raise => "ERR_RAISE_EVENT_WORKFLOW",
        }
    }
}

/// The workflows of one app, for a client of the same or of another.
pub(crate) struct Workflows<'a> {
    engine: &'a Engine,
    app: Arc<str>,
}

impl<'a> Workflows<'a> {
    /// `target` is another app, which only a declared caller may name.
    ///
    /// # Errors
    /// [`ApiError::WorkflowApp`].
    pub(crate) fn of(
        engine: &'a Engine,
        caller: &str,
        target: Option<&str>,
    ) -> Result<Self, ApiError> {
        let app = target.filter(|app| !app.is_empty()).unwrap_or(caller);
        engine
            .check_reach(caller, app)
            .map_err(|error| ApiError::WorkflowApp { reason: error.to_string() })?;
        Ok(Self { engine, app: app.into() })
    }

    /// Returns the id when the instance is durable; it need not have begun.
    pub(crate) async fn start(
        &self,
        name: &str,
        id: &str,
        input: Option<String>,
        at: Option<std::time::SystemTime>,
    ) -> Result<String, ApiError> {
        if name.is_empty() {
            return Err(ApiError::WorkflowName);
        }
        check_new_id(id)?;
        let request = CreateInstanceRequest {
            instance_id: id.to_owned(),
            name: name.to_owned(),
            input,
            scheduled_start_timestamp: at.map(Into::into),
            ..Default::default()
        };
        let created = self.engine.create(&self.app, request, Reuse::Ended).await;
        created.map(|key| key.id.to_string()).map_err(|error| failed(Act::Start, name, &error))
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Option<WorkflowState>, ApiError> {
        let key = self.key(Act::Get, id)?;
        self.engine.get(&key, true).await.map_err(|error| failed(Act::Get, id, &error))
    }

    pub(crate) async fn raise(
        &self,
        id: &str,
        event: &str,
        input: Option<String>,
    ) -> Result<(), ApiError> {
        let key = self.key(Act::Raise, id)?;
        if event.is_empty() {
            return Err(ApiError::WorkflowEventName);
        }
        let raised = self.engine.raise(&key, event.to_owned(), input).await;
        raised.map_err(|error| failed(Act::Raise, id, &error))
    }

    /// Everything that takes no more than an instance.
    pub(crate) async fn act(&self, act: Act, id: &str) -> Result<(), ApiError> {
        let key = self.key(act, id)?;
        let done = match act {
            Act::Pause => self.engine.suspend(&key, None).await,
            Act::Resume => self.engine.resume(&key, None).await,
            Act::Terminate => self.engine.terminate(&key, None, true).await,
            Act::Purge => self.engine.purge(&key, true, false).await.map(drop),
            // They have methods of their own.
            Act::Start | Act::Get | Act::Raise => Ok(()),
        };
        done.map_err(|error| match (&error, act) {
            (WorkflowError::NotFound { .. }, Act::Terminate | Act::Purge) => {
                ApiError::InstanceNotFound { id: id.to_owned() }
            }
            _ => failed(act, id, &error),
        })
    }

    fn key(&self, act: Act, id: &str) -> Result<Key, ApiError> {
        if id.is_empty() {
            return Err(ApiError::InstanceIdMissing);
        }
        Key::new(&self.app, id).map_err(|error| failed(act, id, &error))
    }
}

fn check_new_id(id: &str) -> Result<(), ApiError> {
    if id.chars().count() > ID_CHARS_MAX {
        return Err(ApiError::InstanceIdTooLong { limit: ID_CHARS_MAX });
    }
    match id.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
        true => Ok(()),
        false => Err(ApiError::InstanceIdInvalid { id: id.to_owned() }),
    }
}

fn failed(act: Act, what: &str, error: &WorkflowError) -> ApiError {
    ApiError::Workflow { act, what: what.to_owned(), reason: archipel_rt::chain(error) }
}

/// As Dapr writes a state.
pub(crate) fn status_word(state: &WorkflowState) -> &'static str {
    use dapr_durabletask_proto::OrchestrationStatus as Is;
    match state.workflow_status() {
        Is::Running => "RUNNING",
        Is::Completed => "COMPLETED",
        Is::ContinuedAsNew => "CONTINUED_AS_NEW",
        Is::Failed => "FAILED",
        Is::Canceled => "CANCELED",
        Is::Terminated => "TERMINATED",
        Is::Pending => "PENDING",
        Is::Suspended => "SUSPENDED",
        Is::Stalled => "UNKNOWN",
    }
}

/// What Dapr tells in its `properties`.
pub(crate) fn properties(state: &WorkflowState) -> Vec<(&'static str, String)> {
    let failure = state.failure_details.as_ref();
    let trace = failure.and_then(|failure| failure.stack_trace.clone());
    let output = state.output.clone().filter(|_| failure.is_none());
    let all = [
        ("dapr.workflow.input", state.input.clone()),
        ("dapr.workflow.output", output),
        ("dapr.workflow.custom_status", state.custom_status.clone()),
        ("dapr.workflow.failure.error_type", failure.map(|f| f.error_type.clone())),
        ("dapr.workflow.failure.error_message", failure.map(|f| f.error_message.clone())),
        ("dapr.workflow.failure.stack_trace", trace),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_words_of_at_most_64_letters() {
        for good in ["", "a", "order-7_x", "bestellung-ä世界", &"x".repeat(64)] {
            assert!(check_new_id(good).is_ok(), "{good}");
        }
        for bad in ["a b", "a/b", "a:b", "a.b", "ä@b"] {
            assert!(matches!(check_new_id(bad), Err(ApiError::InstanceIdInvalid { .. })), "{bad}");
        }
        let long = check_new_id(&"世".repeat(65));
        assert_eq!(long, Err(ApiError::InstanceIdTooLong { limit: 64 }));
    }
}
