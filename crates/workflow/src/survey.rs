//! For people: which instances there are, newest first, how many of each state, and all about
//! one of them.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::timer_created_event::Origin;
use dapr_durabletask_proto::{
    CreateInstanceRequest, HistoryEvent, OrchestrationStatus as Status, WorkflowState,
};
use prost_types::Timestamp;

use crate::admin::Filter;
use crate::engine::{Engine, Reuse};
use crate::entry::Entry;
use crate::error::WorkflowError;
use crate::event::instant;
use crate::instance::{Instance, target};
use crate::key::{Key, app_prefix};
use crate::load;
use crate::pages::{Listed, Pages};

/// One instance in a list. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub app: String,
    pub id: String,
    pub name: String,
    pub version: Option<String>,
    pub status: Status,
    pub created_ms: Option<u64>,
    pub updated_ms: Option<u64>,
    pub ended_ms: Option<u64>,
    /// When it is to begin, if that was said.
    pub scheduled_ms: Option<u64>,
    /// App and id of the instance that it is a child of.
    pub parent: Option<(String, String)>,
    pub custom_status: Option<String>,
    /// Why it was given up until a person does something.
    pub parked: Option<String>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Newest first.
    pub instances: Vec<Summary>,
    /// Of all that the filter lets pass but for its states.
    pub counts: BTreeMap<&'static str, u64>,
    /// There are more than were asked for.
    pub more: bool,
}

/// All about one instance.
#[derive(Debug, Clone)]
pub struct Details {
    pub summary: Summary,
    pub execution_id: Option<String>,
    pub input: Option<String>,
    pub output: Option<String>,
    pub failure: Option<Failure>,
    /// Where the next turn is: with a worker, in line for one, or nowhere.
    pub turn: TurnState,
    /// So many of its name are at work, which is the most; it has not begun.
    pub limit: Option<u32>,
    /// Not yet answered.
    pub activities: Vec<Open>,
    pub timers: Vec<OpenTimer>,
    /// Children that have not ended, with their app.
    pub children: Vec<(i32, String, String)>,
    /// Workers of the app that are connected.
    pub workers: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: String,
    pub message: String,
    pub stack: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTimer {
    pub id: i32,
    pub fires_ms: u64,
    /// The event that is waited for until then.
    pub event: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnState {
    Idle,
    /// Until a worker has room.
    Waiting,
    Running,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub id: i32,
    pub name: String,
    pub app: String,
    /// A worker has it.
    pub running: bool,
    /// How many workers were lost on it.
    pub lost: u32,
}

impl Engine {
    /// The newest `max` instances that `filter` lets pass, of one app or of all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(
        &self,
        app: Option<&str>,
        filter: &Filter,
        max: usize,
    ) -> Result<Found, WorkflowError> {
        let prefix = app.map_or_else(|| "i/".to_owned(), |app| format!("i/{}", app_prefix(app)));
        let any_state = Filter { statuses: Vec::new(), ..filter.clone() };
        let (mut newest, mut found) = (BTreeMap::new(), Found::default());
        let mut pages = Pages::new(&self.shared, prefix, None);
        while let Some(page) = pages.next().await? {
            for Listed { key, state, parked } in page {
                if !any_state.passes(&state) {
                    continue;
                }
                *found.counts.entry(word(state.workflow_status())).or_default() += 1;
                if !filter.passes(&state) {
                    continue;
                }
                let created = state.created_timestamp.as_ref().map_or(UNIX_EPOCH, instant);
                newest.insert((created, key), (state, parked));
                if newest.len() > max {
                    newest.pop_first();
                    found.more = true;
                }
            }
        }
        let newest = newest.into_iter().rev();
        let summary = |((_, key), (state, parked))| Summary { parked, ..summary(&key, &state) };
        found.instances = newest.map(summary).collect();
        Ok(found)
    }

    /// The apps that have an instance of this name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn apps_with(&self, apps: &[String], id: &str) -> Result<Vec<Key>, WorkflowError> {
        let mut found = Vec::new();
        for app in apps {
            let key = Key::new(app, id)?;
            if self.get(&key, false).await?.is_some() {
                found.push(key);
            }
        }
        Ok(found)
    }

    /// # Errors
    /// [`WorkflowError::NotFound`].
    pub async fn details(&self, key: &Key) -> Result<Details, WorkflowError> {
        let state = self.get(key, true).await?;
        let state = state.ok_or_else(|| WorkflowError::NotFound { id: key.id.to_string() })?;
        let failure = state.failure_details.as_ref().map(|failure| Failure {
            kind: failure.error_type.clone(),
            message: failure.error_message.clone(),
            stack: failure.stack_trace.clone().filter(|text| !text.is_empty()),
        });
        let mut details = Details {
            summary: summary(key, &state),
            execution_id: state.execution_id,
            input: state.input,
            output: state.output,
            failure,
            turn: TurnState::Idle,
            limit: None,
            activities: Vec::new(),
            timers: Vec::new(),
            children: Vec::new(),
            workers: self.workers(&key.app),
        };
        if self.shared.elsewhere(key) {
            // What the store says; who has an activity in hand is known elsewhere.
            if let Some(record) = self.shared.record(key).await? {
                let kv = &*self.shared.kv;
                open(&mut details, &load::instance(kv, key, record.incarnation).await?, &[]);
            }
            return Ok(details);
        }
        let resting = self.shared.lock().active.get(key).is_some_and(|of| of.resting);
        let stored = if resting { self.history(key).await? } else { Vec::new() };
        let memory = self.shared.lock();
        if let Some(instance) = memory.active.get(key) {
            open(&mut details, instance, &stored);
            let pool = memory.pools.get(&key.app);
            let name = &details.summary.name;
            details.limit = pool.and_then(|pool| pool.workflow_gate.behind(name, key));
        }
        Ok(details)
    }
}

fn open(details: &mut Details, instance: &Instance, stored: &[HistoryEvent]) {
    details.summary.parked.clone_from(&instance.parked);
    details.turn = match (&instance.turn, instance.queued) {
        (Some(_), _) => TurnState::Running,
        (None, true) => TurnState::Waiting,
        (None, false) => TurnState::Idle,
    };
    details.activities = instance
        .tasks
        .iter()
        .filter_map(|(id, task)| {
            let Some(EventType::TaskScheduled(what)) = &task.scheduled.event_type else {
                return None;
            };
            Some(Open {
                id: *id,
                name: what.name.clone(),
                app: target(&task.scheduled).unwrap_or(&instance.key.app).to_owned(),
                running: task.running.is_some(),
                lost: task.lost,
            })
        })
        .collect();
    let timer = |(id, at): (&i32, &Timestamp)| OpenTimer {
        id: *id,
        fires_ms: ms(at),
        event: instance.history.iter().chain(stored).find_map(|event| awaited(event, *id)),
    };
    details.timers = instance.timers.iter().map(timer).collect();
    let children = instance.open_children.iter();
    details.children =
        children.map(|(id, key)| (*id, key.app.to_string(), key.id.to_string())).collect();
}

fn awaited(event: &HistoryEvent, timer: i32) -> Option<String> {
    match &event.event_type {
        Some(EventType::TimerCreated(created)) if event.event_id == timer => {
            match created.origin.as_ref()? {
                Origin::ExternalEvent(of) => Some(of.name.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}

fn summary(key: &Key, state: &WorkflowState) -> Summary {
    let parent = state.parent_instance_id.clone();
    let parent_app = state.parent_app_id.clone().unwrap_or_else(|| key.app.to_string());
    Summary {
        app: key.app.to_string(),
        id: key.id.to_string(),
        name: state.name.clone(),
        version: state.version.clone(),
        status: state.workflow_status(),
        created_ms: state.created_timestamp.as_ref().map(ms),
        updated_ms: state.last_updated_timestamp.as_ref().map(ms),
        ended_ms: state.completed_timestamp.as_ref().map(ms),
        scheduled_ms: state.scheduled_start_timestamp.as_ref().map(ms),
        parent: parent.map(|id| (parent_app, id)),
        custom_status: state.custom_status.clone(),
        parked: None,
        tags: state.tags.clone().into_iter().collect(),
    }
}

pub(crate) fn ms(at: &Timestamp) -> u64 {
    let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since(instant(at)).as_millis()).unwrap_or(u64::MAX)
}

/// A state in one lower-case word.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Completed => "completed",
        Status::ContinuedAsNew => "continued",
        Status::Failed => "failed",
        Status::Canceled => "canceled",
        Status::Terminated => "terminated",
        Status::Pending => "pending",
        Status::Suspended => "suspended",
        Status::Stalled => "stalled",
    }
}

/// The state that [`word`] writes so.
pub fn status_named(text: &str) -> Option<Status> {
    (0..=8).filter_map(|number| Status::try_from(number).ok()).find(|s| word(*s) == text)
}

/// An instance as a person begins one.
#[derive(Debug, Clone, Default)]
pub struct NewInstance {
    pub name: String,
    /// Empty: a fresh one.
    pub id: String,
    pub input: Option<String>,
    pub at: Option<SystemTime>,
    pub tags: BTreeMap<String, String>,
}

impl Engine {
    /// Begins an instance; one of its name that has ended is replaced.
    ///
    /// # Errors
    /// [`WorkflowError::AlreadyActive`].
    pub async fn start(&self, app: &str, new: NewInstance) -> Result<Key, WorkflowError> {
        let request = CreateInstanceRequest {
            instance_id: new.id,
            name: new.name,
            input: new.input,
            scheduled_start_timestamp: new.at.map(Timestamp::from),
            tags: new.tags.into_iter().collect(),
            ..Default::default()
        };
        self.create(app, request, Reuse::Ended).await
    }

    /// The same workflow from its beginning, under another name.
    ///
    /// # Errors
    /// [`WorkflowError::NotFound`]; [`WorkflowError::AlreadyExists`] for the new name.
    pub async fn start_again(
        &self,
        source: &Key,
        new_id: Option<String>,
        input: Option<String>,
    ) -> Result<Key, WorkflowError> {
        let state = self.get(source, true).await?;
        let state = state.ok_or_else(|| WorkflowError::NotFound { id: source.id.to_string() })?;
        let request = CreateInstanceRequest {
            instance_id: new_id.unwrap_or_default(),
            name: state.name,
            version: state.version,
            input: input.or(state.input),
            tags: state.tags,
            ..Default::default()
        };
        self.create(&source.app, request, Reuse::Purged).await
    }

    /// The committed history, for people.
    ///
    /// # Errors
    /// [`WorkflowError::NotFound`].
    pub async fn entries(&self, key: &Key) -> Result<Vec<Entry>, WorkflowError> {
        Ok(self.history(key).await?.iter().map(Entry::from).collect())
    }
}
