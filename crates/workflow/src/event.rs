//! History events, made.

use std::time::SystemTime;

use archipel_rt::clock;
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::{
    ChildWorkflowInstanceCompletedEvent, ChildWorkflowInstanceFailedEvent, EventRaisedEvent,
    ExecutionCompletedEvent, ExecutionTerminatedEvent, HistoryEvent, OrchestrationStatus,
    TaskFailedEvent, TaskFailureDetails, TimerFiredEvent, WorkflowStartedEvent, WorkflowVersion,
};
use prost_types::Timestamp;

use crate::error::WorkflowError;

/// Of events that no action of the workflow made.
const NO_ACTION: i32 = -1;

pub(crate) fn now() -> Timestamp {
    Timestamp::from(clock::wall())
}

/// For comparing; what lies before 1970 is 1970.
pub(crate) fn instant(at: &Timestamp) -> SystemTime {
    SystemTime::try_from(*at).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// An event that came from outside the workflow's code.
pub(crate) fn outside(kind: EventType) -> HistoryEvent {
    of_action(NO_ACTION, kind)
}

/// The record of the action with this id.
pub(crate) fn of_action(id: i32, kind: EventType) -> HistoryEvent {
    HistoryEvent { event_id: id, timestamp: Some(now()), router: None, event_type: Some(kind) }
}

pub(crate) fn turn_started(at: Timestamp, version: Option<WorkflowVersion>) -> HistoryEvent {
    let kind = EventType::WorkflowStarted(WorkflowStartedEvent { version });
    HistoryEvent { timestamp: Some(at), ..outside(kind) }
}

pub(crate) fn raised(name: String, input: Option<String>) -> HistoryEvent {
    outside(EventType::EventRaised(EventRaisedEvent { name, input }))
}

pub(crate) fn terminated(input: Option<String>, recurse: bool) -> HistoryEvent {
    outside(EventType::ExecutionTerminated(ExecutionTerminatedEvent { input, recurse }))
}

pub(crate) fn timer_fired(timer_id: i32, fire_at: Timestamp) -> HistoryEvent {
    outside(EventType::TimerFired(TimerFiredEvent { fire_at: Some(fire_at), timer_id }))
}

/// How a child tells its parent that it has ended.
pub(crate) fn child_ended(id: i32, end: &ExecutionCompletedEvent) -> HistoryEvent {
    if end.workflow_status == OrchestrationStatus::Completed as i32 {
        outside(EventType::ChildWorkflowInstanceCompleted(ChildWorkflowInstanceCompletedEvent {
            task_scheduled_id: id,
            result: end.result.clone(),
            ..Default::default()
        }))
    } else {
        child_failed(id, end.failure_details.clone())
    }
}

pub(crate) fn child_failed(id: i32, details: Option<TaskFailureDetails>) -> HistoryEvent {
    outside(EventType::ChildWorkflowInstanceFailed(ChildWorkflowInstanceFailedEvent {
        task_scheduled_id: id,
        failure_details: details,
        ..Default::default()
    }))
}

pub(crate) fn task_failed(
    id: i32,
    task_execution_id: String,
    details: TaskFailureDetails,
) -> HistoryEvent {
    outside(EventType::TaskFailed(TaskFailedEvent {
        task_scheduled_id: id,
        failure_details: Some(details),
        task_execution_id,
        ..Default::default()
    }))
}

/// What somebody else might do better on the next try is not among it.
pub(crate) fn too_large(error: &WorkflowError) -> TaskFailureDetails {
    TaskFailureDetails { is_non_retriable: true, ..failure("PayloadTooLarge", error.to_string()) }
}

pub(crate) fn failure(kind: &str, message: String) -> TaskFailureDetails {
    TaskFailureDetails { error_type: kind.to_owned(), error_message: message, ..Default::default() }
}
