//! A history event as people read it.

use dapr_durabletask_proto::history_event::EventType as Is;
use dapr_durabletask_proto::{HistoryEvent, TaskFailureDetails, TraceContext};

use crate::instance::target;
use crate::survey::{ms, word};

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    /// Of the action that made it; `rerun` takes it. -1: it came from outside.
    pub id: i32,
    pub at_ms: u64,
    pub kind: &'static str,
    /// Of the activity, the child, the event.
    pub name: Option<String>,
    /// The id of what this answers.
    pub of: Option<i32>,
    /// The other service that does it.
    pub app: Option<String>,
    /// Of a child: its instance. Of a timer: when, in milliseconds since 1970. Of an end: how.
    pub about: Option<String>,
    pub payload: Option<String>,
    pub failure: Option<String>,
    /// In which it was asked for.
    pub trace_id: Option<String>,
}

impl From<&HistoryEvent> for Entry {
    fn from(event: &HistoryEvent) -> Self {
        let mut entry = Self {
            id: event.event_id,
            at_ms: event.timestamp.as_ref().map_or(0, ms),
            app: target(event).map(str::to_owned),
            ..Self::default()
        };
        if let Some(what) = &event.event_type {
            entry.fill(what);
        }
        entry
    }
}

impl Entry {
    fn fill(&mut self, what: &Is) {
        let named = |name: &String| Some(name.clone());
        match what {
            Is::ExecutionStarted(e) => {
                self.kind = "started";
                self.trace_id = e.parent_trace_context.as_ref().and_then(trace_id);
                (self.name, self.payload) = (named(&e.name), e.input.clone());
            }
            Is::ExecutionCompleted(e) => {
                self.kind = "ended";
                let status =
                    dapr_durabletask_proto::OrchestrationStatus::try_from(e.workflow_status);
                self.about = status.ok().map(|status| word(status).to_owned());
                self.payload.clone_from(&e.result);
                self.failure = e.failure_details.as_ref().map(failure);
            }
            Is::ExecutionTerminated(e) => {
                self.kind = "terminate asked";
                self.payload.clone_from(&e.input);
            }
            Is::ExecutionSuspended(e) => {
                self.kind = "suspended";
                self.payload.clone_from(&e.input);
            }
            Is::ExecutionResumed(e) => {
                self.kind = "resumed";
                self.payload.clone_from(&e.input);
            }
            Is::ExecutionStalled(e) => {
                self.kind = "stalled";
                self.failure.clone_from(&e.description);
            }
            Is::TaskScheduled(e) => {
                self.kind = "activity scheduled";
                self.trace_id = e.parent_trace_context.as_ref().and_then(trace_id);
                (self.name, self.payload) = (named(&e.name), e.input.clone());
            }
            Is::TaskCompleted(e) => {
                self.kind = "activity completed";
                (self.of, self.payload) = (Some(e.task_scheduled_id), e.result.clone());
            }
            Is::TaskFailed(e) => {
                self.kind = "activity failed";
                self.of = Some(e.task_scheduled_id);
                self.failure = e.failure_details.as_ref().map(failure);
            }
            Is::ChildWorkflowInstanceCreated(e) => {
                self.kind = "child started";
                self.about = Some(e.instance_id.clone());
                (self.name, self.payload) = (named(&e.name), e.input.clone());
            }
            Is::ChildWorkflowInstanceCompleted(e) => {
                self.kind = "child completed";
                (self.of, self.payload) = (Some(e.task_scheduled_id), e.result.clone());
            }
            Is::ChildWorkflowInstanceFailed(e) => {
                self.kind = "child failed";
                self.of = Some(e.task_scheduled_id);
                self.failure = e.failure_details.as_ref().map(failure);
            }
            Is::DetachedWorkflowInstanceCreated(e) => {
                self.kind = "workflow started";
                self.about = Some(e.instance_id.clone());
            }
            Is::TimerCreated(e) => {
                self.kind = "timer created";
                self.name = e.name.clone().filter(|name| !name.is_empty());
                self.about = e.fire_at.as_ref().map(|at| ms(at).to_string());
            }
            Is::TimerFired(e) => {
                self.kind = "timer fired";
                self.of = Some(e.timer_id);
            }
            Is::WorkflowStarted(e) => {
                self.kind = "turn";
                self.about = e.version.as_ref().and_then(|version| version.name.clone());
            }
            Is::EventSent(e) => {
                self.kind = "event sent";
                self.about = Some(e.instance_id.clone());
                (self.name, self.payload) = (named(&e.name), e.input.clone());
            }
            Is::EventRaised(e) => {
                self.kind = "event raised";
                (self.name, self.payload) = (named(&e.name), e.input.clone());
            }
            _ => self.kind = "other",
        }
    }
}

fn failure(details: &TaskFailureDetails) -> String {
    match details.error_type.is_empty() {
        true => details.error_message.clone(),
        false => format!("{}: {}", details.error_type, details.error_message),
    }
}

/// Of `00-<trace>-<span>-01`.
fn trace_id(context: &TraceContext) -> Option<String> {
    let id = context.trace_parent.split('-').nth(1)?;
    let hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| id.to_ascii_lowercase())
}
