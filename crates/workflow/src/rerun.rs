//! Runs an instance that has ended or was given up again from one of its steps, under another
//! name. One that was given up stays as it is.
//!
//! The new instance has the history of the old one up to the step, without what came of it and
//! of everything else that was open then: all that is begun anew. What was answered before is
//! not done again.

use dapr_durabletask_proto::HistoryEvent;
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::{
    OrchestrationStatus, ParentInstanceInfo, RerunParentInstanceInfo, WorkflowInstance,
};
use uuid::Uuid;

use crate::engine::Engine;
use crate::error::WorkflowError;
use crate::event;
use crate::instance::{self, Instance};
use crate::key::Key;
use crate::sharing;

/// What is run again, and as what.
#[derive(Debug, Clone, Default)]
pub struct Rerun {
    /// The step: the id of an activity, a timer or a child in the old history.
    pub event_id: i32,
    /// A fresh one without.
    pub new_id: Option<String>,
    /// Instead of the step's own input; timers have none.
    pub input: Option<Option<String>>,
    /// What the child is called, when the step is one.
    pub child_id: Option<String>,
}

impl Engine {
    /// Returns the new instance when it is durable.
    ///
    /// # Errors
    /// [`WorkflowError::NotFound`], [`WorkflowError::NotCompleted`] of the old one;
    /// [`WorkflowError::Invalid`] for a child, for what is no step, for an input of a timer;
    /// [`WorkflowError::AlreadyExists`] for the new name.
    pub async fn rerun(&self, source: &Key, rerun: Rerun) -> Result<Key, WorkflowError> {
        let mut rerun = rerun;
        let elsewhere = sharing::rerun_elsewhere(&self.shared, source, &mut rerun);
        if let Some(begun) = elsewhere.await {
            return begun;
        }
        let state = self.get(source, false).await?;
        let state = state.ok_or_else(|| WorkflowError::NotFound { id: source.id.to_string() })?;
        let given_up = state.workflow_status() == OrchestrationStatus::Stalled;
        if !given_up && !instance::is_terminal(state.workflow_status) {
            return Err(WorkflowError::NotCompleted { id: source.id.to_string() });
        }
        if state.parent_instance_id.is_some() {
            let text = format!("`{}` is a child; run its parent again", source.id);
            return Err(WorkflowError::Invalid(text));
        }
        let new_id = rerun.new_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let key = Key::new(&source.app, &new_id)?;
        let events = prefix(self.history(source).await?, source, &key, &rerun)?;
        self.adopt(&key, events).await?;
        Ok(key)
    }
}

/// The history that the new instance begins with.
fn prefix(
    mut events: Vec<HistoryEvent>,
    source: &Key,
    key: &Key,
    rerun: &Rerun,
) -> Result<Vec<HistoryEvent>, WorkflowError> {
    let is_step = |event: &HistoryEvent| {
        let step = matches!(
            event.event_type,
            Some(
                EventType::TaskScheduled(_)
                    | EventType::TimerCreated(_)
                    | EventType::ChildWorkflowInstanceCreated(_)
            )
        );
        step && event.event_id == rerun.event_id
    };
    let Some(at) = events.iter().position(is_step) else {
        let text = format!("`{}` has no step with the id {}", source.id, rerun.event_id);
        return Err(WorkflowError::Invalid(text));
    };
    events.truncate(at + 1);
    // What is open at that point is what the history itself says.
    let mut old = Instance::new(key.clone(), 0);
    events.iter().cloned().for_each(|event| old.absorb(event));
    let from = RerunParentInstanceInfo { instance_id: source.id.to_string() };
    for (place, event) in events.iter_mut().enumerate() {
        let id = event.event_id;
        if matches!(event.event_type, Some(EventType::ExecutionStarted(_))) {
            // The new instance is created now; what its code takes for the time is elsewhere.
            event.timestamp = Some(event::now());
        }
        let input = rerun.input.as_ref().filter(|_| place == at);
        match &mut event.event_type {
            Some(EventType::ExecutionStarted(start)) => {
                let execution_id = Some(Uuid::new_v4().to_string());
                let instance_id = key.id.to_string();
                start.workflow_instance = Some(WorkflowInstance { instance_id, execution_id });
                start.scheduled_start_timestamp = None;
            }
            Some(EventType::TaskScheduled(task)) if old.tasks.contains_key(&id) => {
                task.rerun_parent_instance_info = Some(from.clone());
                if let Some(input) = input {
                    task.input.clone_from(input);
                }
            }
            Some(EventType::TimerCreated(timer)) if old.timers.contains_key(&id) => {
                if input.is_some() {
                    let text = format!("step {id} is a timer, which takes no input");
                    return Err(WorkflowError::Invalid(text));
                }
                timer.rerun_parent_instance_info = Some(from.clone());
            }
            Some(EventType::ChildWorkflowInstanceCreated(child))
                if old.open_children.contains_key(&id) =>
            {
                child.rerun_parent_instance_info = Some(from.clone());
                // Under its old name it would take the place of the source's own child.
                let given = rerun.child_id.clone().filter(|_| place == at);
                child.instance_id = given.unwrap_or_else(|| format!("{}:{:04x}", key.id, id));
                if let Some(input) = input {
                    child.input.clone_from(input);
                }
            }
            _ => {}
        }
    }
    let is_child =
        matches!(events[at].event_type, Some(EventType::ChildWorkflowInstanceCreated(_)));
    if rerun.child_id.is_some() && !is_child {
        let text = format!("step {} is no child, which alone has a name", rerun.event_id);
        return Err(WorkflowError::Invalid(text));
    }
    Ok(events)
}

/// The start of a child that is begun again.
pub(crate) fn child_start(parent: &Instance, created: &HistoryEvent) -> Option<HistoryEvent> {
    let Some(EventType::ChildWorkflowInstanceCreated(child)) = &created.event_type else {
        return None;
    };
    let (_, own) = parent.start()?;
    let start = dapr_durabletask_proto::ExecutionStartedEvent {
        name: child.name.clone(),
        input: child.input.clone(),
        workflow_instance: Some(WorkflowInstance {
            instance_id: child.instance_id.clone(),
            execution_id: Some(Uuid::new_v4().to_string()),
        }),
        parent_instance: Some(ParentInstanceInfo {
            task_scheduled_id: created.event_id,
            name: Some(own.name.clone()),
            workflow_instance: own.workflow_instance.clone(),
            app_id: Some(parent.key.app.to_string()),
            ..Default::default()
        }),
        parent_trace_context: child.parent_trace_context.clone(),
        ..Default::default()
    };
    Some(event::outside(EventType::ExecutionStarted(start)))
}
