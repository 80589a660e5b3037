//! What a worker's answer does to an instance: a pure function of the instance, the events of
//! the turn and the actions.
//!
//! It changes nothing. The caller takes the events into the history, sends the messages and
//! writes both in one transaction.

use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
use dapr_durabletask_proto::{
    ChildWorkflowInstanceCreatedEvent, CompleteWorkflowAction, CreateChildWorkflowAction,
    CreateDetachedWorkflowAction, CreateTimerAction, DetachedWorkflowInstanceCreatedEvent,
    EventSentEvent, ExecutionCompletedEvent, ExecutionStalledEvent, ExecutionStartedEvent,
    HistoryEvent, OrchestrationStatus as Status, ParentInstanceInfo, StalledReason,
    TaskFailureDetails, TaskRouter, TaskScheduledEvent, TimerCreatedEvent, TraceContext,
    WorkflowAction, WorkflowInstance, WorkflowResponse, create_timer_action, timer_created_event,
};
use prost::Message as _;
use prost_types::Timestamp;
use uuid::Uuid;

use crate::error::WorkflowError;
use crate::event;
use crate::instance::Instance;
use crate::key::Key;
use crate::reach::Reach;
use crate::stored::EVENT_BYTES_MAX;

/// What follows from one turn.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For the history, in order.
    pub history: Vec<HistoryEvent>,
    /// For other instances. One that starts an execution makes the instance.
    pub messages: Vec<(Key, HistoryEvent)>,
    /// The workflow begins anew, with these events before it.
    pub restart: Option<Vec<HistoryEvent>>,
    /// Every child, ended or not, is to be ended with this output.
    pub end_children: Option<Option<String>>,
}

/// Applies `response` to the turn that took in `new_events` at `at`.
pub(crate) fn apply(
    instance: &Instance,
    at: Timestamp,
    new_events: Vec<HistoryEvent>,
    response: WorkflowResponse,
    reach: Option<&Reach>,
) -> Outcome {
    let terminated = new_events.iter().rev().find_map(|event| match &event.event_type {
        Some(EventType::ExecutionTerminated(end)) => Some(end.clone()),
        _ => None,
    });
    let start = start_of(instance, &new_events);
    let outcome = Outcome::default();
    let mut apply = Apply { instance, start, reach, outcome, completed: false };
    apply.outcome.history.push(event::turn_started(at, response.version.clone()));
    apply.outcome.history.extend(new_events);

    let stays_ended = |action: &WorkflowAction| match &action.workflow_action_type {
        Some(Action::CompleteWorkflow(end)) => end.workflow_status != CONTINUED,
        _ => false,
    };
    let (mut bytes, limit) = (0, TURN_BYTES_MAX);
    for action in response.actions {
        if terminated.is_some() && !stays_ended(&action) {
            continue;
        }
        let own = action.encoded_len();
        bytes += own;
        if own > EVENT_BYTES_MAX || bytes > limit {
            let (what, bytes, limit) = match own > EVENT_BYTES_MAX {
                true => ("the payload of one action of a workflow", own, EVENT_BYTES_MAX),
                false => ("what a workflow asks for in one turn", bytes, limit),
            };
            let error = WorkflowError::TooLarge { what, bytes, limit };
            let details = Some(event::too_large(&error));
            apply.complete(action.id, Status::Failed as i32, None, details);
            break;
        }
        apply.action(action, response.version.as_ref().and_then(|v| v.name.as_deref()));
        if apply.outcome.restart.is_some() || apply.completed {
            break;
        }
    }
    if let Some(end) = terminated {
        if !apply.completed {
            apply.complete(-1, Status::Terminated as i32, end.input.clone(), None);
        }
        apply.outcome.end_children = end.recurse.then_some(end.input);
    }
    apply.outcome
}

/// All payloads of one turn: it is written as one transaction, some of them twice.
const TURN_BYTES_MAX: usize = archipel_storage::BATCH_BYTES_MAX as usize / 4;

const CONTINUED: i32 = Status::ContinuedAsNew as i32;

struct Apply<'a> {
    instance: &'a Instance,
    start: Option<ExecutionStartedEvent>,
    reach: Option<&'a Reach>,
    outcome: Outcome,
    completed: bool,
}

fn start_of(instance: &Instance, new_events: &[HistoryEvent]) -> Option<ExecutionStartedEvent> {
    let known = instance.start().map(|(_, start)| start.clone());
    known.or_else(|| {
        new_events.iter().find_map(|event| match &event.event_type {
            Some(EventType::ExecutionStarted(start)) => Some(start.clone()),
            _ => None,
        })
    })
}

impl Apply<'_> {
    fn action(&mut self, action: WorkflowAction, version: Option<&str>) {
        let (id, router) = (action.id, self.stamp(action.router));
        match action.workflow_action_type {
            Some(Action::ScheduleTask(task)) => {
                if let Err(error) = self.reaches(&router) {
                    let execution = task.task_execution_id.clone();
                    let failed = event::task_failed(id, execution, forbidden(&error));
                    self.outcome.messages.push((self.instance.key.clone(), failed));
                }
                let kind = EventType::TaskScheduled(TaskScheduledEvent {
                    name: task.name,
                    version: task.version,
                    input: task.input,
                    parent_trace_context: self.trace(),
                    task_execution_id: task.task_execution_id,
                    history_propagation_scope: task.history_propagation_scope,
                    ..Default::default()
                });
                self.record(id, router, kind);
            }
            Some(Action::CreateTimer(timer)) => self.timer(id, router, timer),
            Some(Action::CreateChildWorkflow(child)) => self.child(id, router, child),
            Some(Action::CreateDetachedWorkflow(spawn)) => self.detached(id, router, spawn),
            Some(Action::SendEvent(send)) => {
                let to = send.instance.map(|instance| instance.instance_id).unwrap_or_default();
                if let Some(key) = self.address(id, &router, &to) {
                    let message = event::raised(send.name.clone(), send.data.clone());
                    self.outcome.messages.push((key, message));
                    let sent =
                        EventSentEvent { instance_id: to, name: send.name, input: send.data };
                    self.record(id, router, EventType::EventSent(sent));
                }
            }
            Some(Action::TerminateWorkflow(end)) => {
                if let Some(key) = self.address(id, &router, &end.instance_id) {
                    let message = event::terminated(end.reason, end.recurse);
                    self.outcome.messages.push((key, message));
                }
            }
            Some(Action::CompleteWorkflow(end)) if end.workflow_status == CONTINUED => {
                self.outcome.restart = Some(self.restart(end));
            }
            Some(Action::CompleteWorkflow(end)) => {
                self.complete(id, end.workflow_status, end.result, end.failure_details);
            }
            Some(Action::WorkflowVersionNotAvailable(_)) => {
                let name = version.or(self.instance.version_name()).unwrap_or_default();
                let kind = EventType::ExecutionStalled(ExecutionStalledEvent {
                    reason: StalledReason::VersionNotAvailable as i32,
                    description: Some(format!("Version not available: {name}")),
                });
                self.outcome.history.push(event::outside(kind));
            }
            // An action of a later protocol: going on without it would be another workflow.
            None => {
                self.fail(id, "the worker asked for an action that this Archipel does not know")
            }
        }
    }

    fn timer(&mut self, id: i32, router: Option<TaskRouter>, timer: CreateTimerAction) {
        use create_timer_action::Origin as From;
        use timer_created_event::Origin as To;
        let origin = timer.origin.map(|origin| match origin {
            From::CreateTimer(o) => To::CreateTimer(o),
            From::ExternalEvent(o) => To::ExternalEvent(o),
            From::ActivityRetry(o) => To::ActivityRetry(o),
            From::ChildWorkflowRetry(o) => To::ChildWorkflowRetry(o),
        });
        let kind = EventType::TimerCreated(TimerCreatedEvent {
            fire_at: timer.fire_at,
            name: timer.name,
            rerun_parent_instance_info: None,
            origin,
        });
        self.record(id, router, kind);
    }

    fn child(&mut self, id: i32, router: Option<TaskRouter>, mut child: CreateChildWorkflowAction) {
        if child.instance_id.is_empty() {
            child.instance_id = self.default_child_id(id);
        }
        if let Err(error) = self.reaches(&router) {
            // The workflow may have an answer to that, as to any failure of a child. Recorded
            // under a name of this app, so that nothing there is taken for it.
            let instance_id = self.default_child_id(id);
            let kind = EventType::ChildWorkflowInstanceCreated(ChildWorkflowInstanceCreatedEvent {
                instance_id,
                name: child.name,
                input: child.input,
                ..Default::default()
            });
            self.record(id, None, kind);
            let failed = event::child_failed(id, Some(forbidden(&error)));
            return self.outcome.messages.push((self.instance.key.clone(), failed));
        }
        let Some(key) = self.address(id, &router, &child.instance_id) else { return };
        let own = self.start.as_ref();
        let start = ExecutionStartedEvent {
            name: child.name.clone(),
            input: child.input.clone(),
            workflow_instance: Some(fresh(&child.instance_id, None)),
            parent_instance: Some(ParentInstanceInfo {
                task_scheduled_id: id,
                name: own.map(|start| start.name.clone()),
                workflow_instance: own.and_then(|start| start.workflow_instance.clone()),
                app_id: Some(self.instance.key.app.to_string()),
                ..Default::default()
            }),
            parent_trace_context: self.trace(),
            ..Default::default()
        };
        let kind = EventType::ChildWorkflowInstanceCreated(ChildWorkflowInstanceCreatedEvent {
            instance_id: child.instance_id,
            name: child.name,
            version: child.version,
            input: child.input,
            parent_trace_context: self.trace(),
            history_propagation_scope: child.history_propagation_scope,
            retry_parent_instance_info: child.retry_parent_instance_info,
            ..Default::default()
        });
        self.record(id, router, kind);
        self.outcome.messages.push((key, event::outside(EventType::ExecutionStarted(start))));
    }

    fn detached(
        &mut self,
        id: i32,
        router: Option<TaskRouter>,
        spawn: CreateDetachedWorkflowAction,
    ) {
        let Some(key) = self.address(id, &router, &spawn.instance_id) else { return };
        let start = ExecutionStartedEvent {
            name: spawn.name,
            version: spawn.version,
            input: spawn.input,
            workflow_instance: Some(fresh(&spawn.instance_id, spawn.execution_id)),
            scheduled_start_timestamp: spawn.scheduled_start_timestamp,
            parent_trace_context: spawn.parent_trace_context.or_else(|| self.trace()),
            tags: spawn.tags,
            ..Default::default()
        };
        let kind = DetachedWorkflowInstanceCreatedEvent { instance_id: spawn.instance_id };
        self.record(id, router, EventType::DetachedWorkflowInstanceCreated(kind));
        self.outcome.messages.push((key, event::outside(EventType::ExecutionStarted(start))));
    }

    /// The same workflow with a new input and an empty history.
    fn restart(&self, end: CompleteWorkflowAction) -> Vec<HistoryEvent> {
        let old = self.start.clone().unwrap_or_default();
        let start = ExecutionStartedEvent {
            name: old.name,
            input: end.result,
            workflow_instance: Some(fresh(&self.instance.key.id, None)),
            parent_instance: old.parent_instance,
            parent_trace_context: old.parent_trace_context,
            tags: old.tags,
            ..Default::default()
        };
        let mut events = vec![event::outside(EventType::ExecutionStarted(start))];
        events.extend(end.carryover_events);
        events
    }

    /// The first end counts.
    fn complete(
        &mut self,
        id: i32,
        status: i32,
        result: Option<String>,
        failure: Option<TaskFailureDetails>,
    ) {
        let end =
            ExecutionCompletedEvent { workflow_status: status, result, failure_details: failure };
        if let Some((parent, task)) = self.start.as_ref().and_then(parent_of) {
            self.outcome.messages.push((parent, event::child_ended(task, &end)));
        }
        self.outcome.history.push(event::of_action(id, EventType::ExecutionCompleted(end)));
        self.completed = true;
    }

    fn fail(&mut self, id: i32, why: &str) {
        let details = event::failure("InvalidAction", why.to_owned());
        self.complete(id, Status::Failed as i32, None, Some(details));
    }

    /// Where a message goes; the workflow fails when that cannot be an address.
    fn address(&mut self, action: i32, router: &Option<TaskRouter>, id: &str) -> Option<Key> {
        let target = router.as_ref().and_then(|r| r.target_app_id.as_deref());
        let app = target.filter(|app| !app.is_empty()).unwrap_or(&self.instance.key.app);
        let key = self.reaches(router).and_then(|()| Key::new(app, id));
        key.map_err(|error| self.fail(action, &error.to_string())).ok()
    }

    /// Whether the application declares what this action asks of another app.
    fn reaches(&self, router: &Option<TaskRouter>) -> Result<(), WorkflowError> {
        let target = router.as_ref().and_then(|r| r.target_app_id.as_deref());
        match (self.reach, target.filter(|app| !app.is_empty())) {
            (Some(reach), Some(app)) => reach.check(&self.instance.key.app, app),
            _ => Ok(()),
        }
    }

    fn default_child_id(&self, action: i32) -> String {
        format!("{}:{:04x}", self.instance.key.id, action & 0xffff)
    }

    fn record(&mut self, id: i32, router: Option<TaskRouter>, kind: EventType) {
        let event = HistoryEvent { router, ..event::of_action(id, kind) };
        self.outcome.history.push(event);
    }

    /// Other apps are told who asks.
    fn stamp(&self, router: Option<TaskRouter>) -> Option<TaskRouter> {
        router
            .map(|router| TaskRouter { source_app_id: self.instance.key.app.to_string(), ..router })
    }

    fn trace(&self) -> Option<TraceContext> {
        self.start.as_ref()?.parent_trace_context.clone()
    }
}

fn forbidden(error: &WorkflowError) -> TaskFailureDetails {
    TaskFailureDetails {
        is_non_retriable: true,
        ..event::failure("NotDeclared", error.to_string())
    }
}

fn fresh(id: &str, execution_id: Option<String>) -> WorkflowInstance {
    let given = execution_id.filter(|id| !id.is_empty());
    let execution_id = given.unwrap_or_else(|| Uuid::new_v4().to_string());
    WorkflowInstance { instance_id: id.to_owned(), execution_id: Some(execution_id) }
}

/// Who is told of the end, and as which of its children.
pub(crate) fn parent_of(start: &ExecutionStartedEvent) -> Option<(Key, i32)> {
    let parent = start.parent_instance.as_ref()?;
    let id = &parent.workflow_instance.as_ref()?.instance_id;
    Some((Key::new(parent.app_id.as_deref()?, id).ok()?, parent.task_scheduled_id))
}
