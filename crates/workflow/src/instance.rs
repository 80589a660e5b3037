//! One workflow instance in memory: its history, what has not been looked at yet, and what
//! follows from both.
//!
//! Everything but the events themselves is derived, by [`Instance::absorb`] and
//! [`Instance::arrive`] alone. A restart feeds them the stored events and gets the same instance:
//! no second record says what is outstanding, so none can disagree with the history.

use std::collections::{BTreeMap, VecDeque};

use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::{
    ExecutionCompletedEvent, ExecutionStartedEvent, HistoryEvent, OrchestrationStatus as Status,
    WorkflowState,
};
use prost::Message as _;
use prost_types::Timestamp;

use crate::key::Key;

/// What one turn hands to a worker at most: with the history rows that it becomes and the work
/// that follows from it, it has to fit into one transaction.
const TURN_BYTES_MAX: usize = 3 << 20;

#[derive(Debug)]
pub(crate) struct Instance {
    pub key: Key,
    /// Grows with every start of anything; tells an execution from its successors.
    pub incarnation: u64,
    pub history: Vec<HistoryEvent>,
    /// Most of its history is in the store alone: see `rest`.
    pub resting: bool,
    last_at: Option<Timestamp>,
    /// The row that the next turn is written to.
    pub next_row: u32,
    /// Events that no turn has taken in yet, each with its row.
    pub inbox: VecDeque<(u32, HistoryEvent)>,
    pub next_inbox_row: u32,
    pub custom_status: Option<String>,
    pub turn: Option<Turn>,
    /// In line for a worker.
    pub queued: bool,
    /// The start lies in the future.
    pub held: bool,
    /// Given up until a person does something, and why.
    pub parked: Option<String>,
    /// Turns in a row that a worker took and did not finish.
    pub lost_turns: u32,
    pub tasks: BTreeMap<i32, Task>,
    pub timers: BTreeMap<i32, Timestamp>,
    pub open_children: BTreeMap<i32, Key>,
    /// Each with the incarnation in which it was begun last, where that is known.
    pub children: BTreeMap<Key, u64>,
    /// What the record of it says that would not follow from the history.
    pub saved: Option<Saved>,
    /// It has no record yet: see [`State::unrecorded`](crate::state::State::unrecorded).
    pub unrecorded: bool,
    pub completed: Option<Status>,
    started: bool,
    suspended: bool,
    stalled: bool,
}

/// What people filter by, or what only its record knows: when one of these changes, it is written.
#[derive(Debug, PartialEq)]
pub(crate) struct Saved {
    status: Status,
    custom_status: Option<String>,
    parked: bool,
}

impl Saved {
    /// Than what follows from the events.
    pub(crate) fn says_more(&self) -> bool {
        self.parked || self.custom_status.is_some()
    }
}

/// A turn that a worker has.
#[derive(Debug)]
pub(crate) struct Turn {
    pub token: String,
    pub stream: u64,
    pub at: Timestamp,
    /// How many events of the inbox it has taken in.
    pub events: usize,
}

/// An activity that has been asked for and not answered.
#[derive(Debug)]
pub(crate) struct Task {
    /// Boxed: a map keeps room for eleven, and an event is large.
    pub scheduled: Box<HistoryEvent>,
    pub running: Option<Running>,
    pub lost: u32,
}

#[derive(Debug)]
pub(crate) struct Running {
    pub token: String,
    /// The app whose worker has it, and which of its streams.
    pub app: std::sync::Arc<str>,
    pub stream: u64,
}

impl Instance {
    pub(crate) fn new(key: Key, incarnation: u64) -> Self {
        Self {
            key,
            incarnation,
            history: Vec::new(),
            resting: false,
            last_at: None,
            next_row: 0,
            inbox: VecDeque::new(),
            next_inbox_row: 0,
            custom_status: None,
            turn: None,
            queued: false,
            held: false,
            parked: None,
            lost_turns: 0,
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            open_children: BTreeMap::new(),
            children: BTreeMap::new(),
            saved: None,
            unrecorded: false,
            completed: None,
            started: false,
            suspended: false,
            stalled: false,
        }
    }

    /// Takes one event into the history.
    pub(crate) fn absorb(&mut self, event: HistoryEvent) {
        self.stalled &= matches!(event.event_type, Some(EventType::WorkflowStarted(_)));
        let id = event.event_id;
        match &event.event_type {
            Some(EventType::ExecutionStarted(_)) => self.started = true,
            Some(EventType::ExecutionSuspended(_)) => self.suspended = true,
            Some(EventType::ExecutionResumed(_)) => self.suspended = false,
            Some(EventType::ExecutionStalled(_)) => self.stalled = true,
            Some(EventType::TaskScheduled(_)) => {
                let task = Task { scheduled: event.clone().into(), running: None, lost: 0 };
                self.tasks.insert(id, task);
            }
            Some(EventType::TimerCreated(timer)) => {
                self.timers.insert(id, timer.fire_at.unwrap_or_default());
            }
            Some(EventType::ChildWorkflowInstanceCreated(_)) => {
                if let Some(key) = child_of(&self.key.app, &event) {
                    self.children.entry(key.clone()).or_default();
                    self.open_children.insert(id, key);
                }
            }
            Some(EventType::ExecutionCompleted(end)) => {
                let status = Status::try_from(end.workflow_status).unwrap_or(Status::Failed);
                self.completed = Some(status);
                self.tasks.clear();
                self.timers.clear();
                self.open_children.clear();
            }
            _ => drop(self.resolve(&event)),
        }
        self.last_at = event.timestamp;
        self.history.push(event);
    }

    /// Whether a new event is news to this instance, and if so, takes what it answers off the
    /// list of what is outstanding: the same answer a second time is none.
    pub(crate) fn arrive(&mut self, event: &HistoryEvent) -> bool {
        if self.completed.is_some() {
            return false;
        }
        match &event.event_type {
            Some(EventType::ExecutionStarted(_)) => self.start().is_none(),
            _ => self.resolve(event),
        }
    }

    /// Puts an event that has arrived in line, and says which row it is written to.
    pub(crate) fn enqueue(&mut self, event: HistoryEvent) -> u32 {
        let row = self.next_inbox_row;
        self.next_inbox_row += 1;
        self.inbox.push_back((row, event));
        row
    }

    /// False for the answer to something that is not outstanding.
    fn resolve(&mut self, event: &HistoryEvent) -> bool {
        match &event.event_type {
            Some(EventType::TaskCompleted(e)) => self.tasks.remove(&e.task_scheduled_id).is_some(),
            Some(EventType::TaskFailed(e)) => self.tasks.remove(&e.task_scheduled_id).is_some(),
            Some(EventType::TimerFired(e)) => self.timers.remove(&e.timer_id).is_some(),
            Some(EventType::ChildWorkflowInstanceCompleted(e)) => {
                self.open_children.remove(&e.task_scheduled_id).is_some()
            }
            Some(EventType::ChildWorkflowInstanceFailed(e)) => {
                self.open_children.remove(&e.task_scheduled_id).is_some()
            }
            _ => true,
        }
    }

    /// The events that a turn begun now takes in.
    pub(crate) fn next_events(&self) -> impl Iterator<Item = &HistoryEvent> {
        let mut bytes = 0;
        self.inbox.iter().map(|(_, event)| event).take_while(move |event| {
            let first = bytes == 0;
            bytes += event.encoded_len();
            first || bytes <= TURN_BYTES_MAX
        })
    }

    /// Whether a worker could do something for it.
    pub(crate) fn wants_turn(&self) -> bool {
        let idle = self.turn.is_none() && !self.queued && self.completed.is_none();
        idle && self.parked.is_none() && !self.inbox.is_empty() && !self.held
    }

    pub(crate) fn start(&self) -> Option<(&HistoryEvent, &ExecutionStartedEvent)> {
        let inbox = self.inbox.iter().map(|(_, event)| event);
        self.history.iter().chain(inbox).find_map(|event| match &event.event_type {
            Some(EventType::ExecutionStarted(start)) => Some((event, start)),
            _ => None,
        })
    }

    pub(crate) fn execution_id(&self) -> Option<&str> {
        self.start()?.1.workflow_instance.as_ref()?.execution_id.as_deref()
    }

    /// The version that the last turn was bound to.
    pub(crate) fn version_name(&self) -> Option<&str> {
        self.history.iter().rev().find_map(|event| match &event.event_type {
            Some(EventType::WorkflowStarted(turn)) => turn.version.as_ref()?.name.as_deref(),
            _ => None,
        })
    }

    pub(crate) fn status(&self) -> Status {
        match self.completed {
            Some(status) => status,
            None if self.stalled || self.parked.is_some() => Status::Stalled,
            None if !self.started => Status::Pending,
            None if self.suspended => Status::Suspended,
            None => Status::Running,
        }
    }

    pub(crate) fn to_save(&self) -> Saved {
        let parked = self.parked.is_some();
        Saved { status: self.status(), custom_status: self.custom_status.clone(), parked }
    }

    /// What clients are shown, but for what is large: see [`payloads`].
    pub(crate) fn describe(&self) -> WorkflowState {
        let mut state = WorkflowState {
            instance_id: self.key.id.to_string(),
            workflow_status: self.status() as i32,
            custom_status: self.custom_status.clone(),
            ..WorkflowState::default()
        };
        if let Some((event, start)) = self.start() {
            state.name.clone_from(&start.name);
            state.version.clone_from(&start.version);
            state.created_timestamp = event.timestamp;
            state.last_updated_timestamp = event.timestamp;
            state.scheduled_start_timestamp = start.scheduled_start_timestamp;
            state.tags.clone_from(&start.tags);
            state.execution_id = self.execution_id().map(str::to_owned);
            if let Some(parent) = &start.parent_instance {
                let instance = parent.workflow_instance.as_ref();
                state.parent_instance_id = instance.map(|i| i.instance_id.clone());
                state.parent_app_id.clone_from(&parent.app_id);
            }
        }
        if self.last_at.is_some() {
            state.last_updated_timestamp = self.last_at;
        }
        let first = self.history.first().filter(|_| self.started);
        state.started_at = first.and_then(|event| event.timestamp);
        if self.completed.is_some() {
            state.completed_timestamp = state.last_updated_timestamp;
        }
        state
    }
}

/// The child that an event of an instance of `app` made.
pub(crate) fn child_of(app: &str, event: &HistoryEvent) -> Option<Key> {
    let Some(EventType::ChildWorkflowInstanceCreated(child)) = &event.event_type else {
        return None;
    };
    Key::new(target(event).unwrap_or(app), &child.instance_id).ok()
}

pub(crate) fn is_child_of(state: &WorkflowState, app: &str, parent: &Key) -> bool {
    state.parent_instance_id.as_deref() == Some(&*parent.id)
        && state.parent_app_id.as_deref().unwrap_or(app) == &*parent.app
}

/// The app that an event is addressed to, when it is not the instance's own.
pub(crate) fn target(event: &HistoryEvent) -> Option<&str> {
    event.router.as_ref()?.target_app_id.as_deref().filter(|app| !app.is_empty())
}

/// Adds input, output and failure, which only the events have.
pub(crate) fn payloads<'a>(
    state: &mut WorkflowState,
    events: impl DoubleEndedIterator<Item = &'a HistoryEvent> + Clone,
) {
    for event in events.clone() {
        if let Some(EventType::ExecutionStarted(start)) = &event.event_type {
            state.input.clone_from(&start.input);
            break;
        }
    }
    if let Some(end) = completion(events) {
        state.output.clone_from(&end.result);
        state.failure_details.clone_from(&end.failure_details);
    }
}

pub(crate) fn completion<'a>(
    events: impl DoubleEndedIterator<Item = &'a HistoryEvent>,
) -> Option<&'a ExecutionCompletedEvent> {
    events.rev().find_map(|event| match &event.event_type {
        Some(EventType::ExecutionCompleted(end)) => Some(end),
        _ => None,
    })
}

pub fn is_terminal(status: i32) -> bool {
    let ends = [Status::Completed, Status::Failed, Status::Terminated, Status::Canceled];
    ends.iter().any(|end| *end as i32 == status)
}
