//! The handle: what clients ask, what workers fetch and answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use archipel_rt::{self as rt, CancellationToken, Tasks, clock};
use archipel_storage::{Kv, Version};
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::{
    ActivityResponse, CreateInstanceRequest, ExecutionResumedEvent, ExecutionStartedEvent,
    ExecutionSuspendedEvent, HistoryEvent, TaskCompletedEvent, WorkItem, WorkflowInstance,
    WorkflowResponse, WorkflowState,
};
use prost::Message as _;
use tokio::sync::watch;
use uuid::Uuid;

use crate::chores;
use crate::commit::{Durable, Ended, Queue, Taken};
use crate::error::WorkflowError;
use crate::event;
use crate::instance::{self, Instance};
use crate::key::Key;
use crate::load;
use crate::migrate;
use crate::pool::{Room, Stream};
use crate::reach::Reach;
use crate::rest;
use crate::schedule::{self, Schedule};
use crate::sharing::{self, Role, Sharing};
use crate::state::{Effect, State, Unit};
use crate::stored::{EVENT_BYTES_MAX, InstanceV1, Record as _, instance_key};

/// The longest that the clock may jump unnoticed before a timer.
const ALARM_LOOK: Duration = Duration::from_secs(30);
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Creations of one name come one after the other; names share this many locks.
const STRIPES: usize = 64;
/// How often somebody who waits looks after an instance that another process runs.
const ELSEWHERE_LOOK: Duration = Duration::from_millis(100);

/// How many of each name may be at work at once, for one app; those without a name here have no
/// limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Instances that have begun and not ended; the others stay pending.
    pub workflows: BTreeMap<String, u32>,
    /// Activities that workers of the app have in hand.
    pub activities: BTreeMap<String, u32>,
}

#[derive(Debug, Clone)]
pub struct Config {
    /// How long instances that have ended are kept; for ever without.
    pub retention: Option<Duration>,
    /// After this many workers in a row were lost on the same item, the instance is parked.
    pub attempts_max: u32,
    /// Other processes have the store open too, and share the instances. Without, it is ours alone.
    pub sharing: Option<Sharing>,
    /// An instance to which nothing happens for so long keeps no history in memory.
    pub idle_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { retention: None, attempts_max: 20, idle_max: IDLE_MAX, sharing: None }
    }
}

/// When the name of an instance may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// When the one that had it has ended; it is replaced.
    Ended,
    /// When it was purged.
    Purged,
}

/// Durable workflows; cloning shares them, and is cheap: every request does.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    run: Arc<Run>,
}

/// What runs, and how it is stopped.
struct Run {
    tasks: Tasks,
    /// Cancelled when all that makes changes has ended.
    last: CancellationToken,
    committer: Tasks,
}

pub(crate) struct Shared {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) config: Config,
    state: Mutex<State>,
    pub(crate) queue: Queue<Effect>,
    stripes: Vec<tokio::sync::Mutex<()>>,
}

impl Engine {
    /// Reads what has not ended and goes on with it. `stop` begins what [`Engine::shutdown`]
    /// does, without waiting for it.
    ///
    /// # Errors
    /// When what was stored cannot be read.
    pub async fn open(
        kv: Arc<dyn Kv>,
        config: Config,
        stop: &CancellationToken,
    ) -> Result<Self, WorkflowError> {
        let state = match &config.sharing {
            None => load::load(&*kv, &config).await?,
            // Of what has not ended, each process reads its share when it takes it.
            Some(sharing) => {
                migrate::to_this_layout(&*kv).await?;
                let mut state = State::new(0, &config);
                state.role = Some(Box::new(Role::new(sharing.clone())));
                state
            }
        };
        let shared = Arc::new(Shared {
            kv,
            config,
            state: Mutex::new(state),
            queue: Queue::new(),
            stripes: (0..STRIPES).map(|_| tokio::sync::Mutex::default()).collect(),
        });
        sharing::join(&shared).await?;
        let last = CancellationToken::new();
        let (tasks, committer) = (Tasks::new(stop), Tasks::new(&last));
        let (own, end) = (Arc::clone(&shared), last.clone());
        committer.spawn("workflow.commit", async move {
            let perform = |effects| own.lock().perform(effects);
            while own.queue.run(&*own.kv, &end, || own.fence(), perform).await == Ended::Fenced {
                sharing::rejoin(&own, &end).await;
            }
        });
        let (own, end) = (Arc::clone(&shared), tasks.stop_token());
        tasks.spawn("workflow.timers", async move { timers(&own, &end).await });
        let (own, end) = (Arc::clone(&shared), tasks.stop_token());
        tasks.spawn("workflow.histories", async move { rest::run(&own, &end).await });
        let (own, end) = (Arc::clone(&shared), tasks.stop_token());
        tasks.spawn("workflow.chores", async move { chores::run(&own, &end).await });
        let engine = Self { shared, run: Arc::new(Run { tasks, last, committer }) };
        let (own, end) = (engine.clone(), engine.run.tasks.stop_token());
        let schedules = async move { schedule::run(&own, &end).await };
        engine.run.tasks.spawn("workflow.schedules", schedules);
        if engine.shared.config.sharing.is_some() {
            engine.share();
        }
        Ok(engine)
    }

    fn share(&self) {
        let tasks = &self.run.tasks;
        let (own, end) = (Arc::clone(&self.shared), tasks.stop_token());
        tasks.spawn("workflow.beat", async move { sharing::beat(&own, &end).await });
        let (own, end) = (self.clone(), tasks.stop_token());
        tasks.spawn("workflow.share", async move { sharing::run(&own, &end).await });
    }

    /// Writes what has been accepted and stops. Returns how many tasks were left after `grace`.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        drop(self.shared.change(State::close));
        let left = self.run.tasks.shutdown(grace).await;
        drop(self.shared.change(State::leave));
        self.run.last.cancel();
        left + self.run.committer.shutdown(grace).await
    }

    /// Creates an instance and returns its name when that is durable.
    ///
    /// # Errors
    /// [`WorkflowError::AlreadyActive`], [`WorkflowError::AlreadyExists`] as `reuse` says.
    pub async fn create(
        &self,
        app: &str,
        request: CreateInstanceRequest,
        reuse: Reuse,
    ) -> Result<Key, WorkflowError> {
        let fresh = request.instance_id.is_empty();
        let mut request = request;
        let elsewhere = sharing::create_elsewhere(&self.shared, app, &mut request, reuse);
        if let Some(created) = elsewhere.await {
            return created;
        }
        let again = self.shared.config.sharing.is_some().then(|| request.clone());
        let id = match request.instance_id {
            id if id.is_empty() => Uuid::new_v4().to_string(),
            id => id,
        };
        let key = Key::new(app, &id)?;
        let execution = request.execution_id.filter(|id| !id.is_empty());
        let start = event::outside(EventType::ExecutionStarted(ExecutionStartedEvent {
            name: request.name,
            version: request.version,
            input: request.input,
            workflow_instance: Some(WorkflowInstance {
                instance_id: id,
                execution_id: execution.or_else(|| Some(Uuid::new_v4().to_string())),
            }),
            scheduled_start_timestamp: request.scheduled_start_timestamp,
            parent_trace_context: request.parent_trace_context,
            tags: request.tags,
            ..Default::default()
        }));
        check_size(&start)?;
        let purged = request.enforce_unique_instance_id || reuse == Reuse::Purged;
        // Held until the name is taken durably: the next one to ask will find it.
        let one_at_a_time = self.shared.stripe(&key).lock().await;
        let replaced = if fresh { None } else { self.shared.record(&key).await? };
        if purged && replaced.is_some() {
            return Err(WorkflowError::AlreadyExists { id: key.id.to_string() });
        }
        let replaced = replaced.map(|record| record.incarnation);
        let (created, durable) = self.shared.change_and(|state, unit| {
            // Completed a moment ago, and not yet durably so.
            if purged && state.active.contains_key(&key) {
                return Err(WorkflowError::AlreadyExists { id: key.id.to_string() });
            }
            state.create(&key, start, replaced, unit)
        });
        match (created, again) {
            // Handed over since we looked.
            (Err(WorkflowError::Unavailable(_)), Some(again)) => {
                // Whoever has it now may be us again.
                drop(one_at_a_time);
                return Box::pin(self.create(app, again, reuse)).await;
            }
            (created, _) => created?,
        }
        durable.wait().await?;
        Ok(key)
    }

    /// An instance that begins with a history.
    pub(crate) async fn adopt(
        &self,
        key: &Key,
        history: Vec<HistoryEvent>,
    ) -> Result<(), WorkflowError> {
        let _one_at_a_time = self.shared.stripe(key).lock().await;
        if self.get(key, false).await?.is_some() {
            return Err(WorkflowError::AlreadyExists { id: key.id.to_string() });
        }
        let (adopted, durable) =
            self.shared.change_and(|state, unit| state.adopt(key, history, unit));
        adopted?;
        durable.wait().await
    }

    /// An instance as it durably is. With `payloads`: input, output and failure too.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(
        &self,
        key: &Key,
        payloads: bool,
    ) -> Result<Option<WorkflowState>, WorkflowError> {
        if let Some(state) = self.shared.shown(key, payloads) {
            return Ok(Some(state));
        }
        let record = self.shared.record(key).await?;
        let (shown, incarnation) = (self.shared.shown(key, false), self.shared.shown_of(key));
        let Some(incarnation) = incarnation.or(record.as_ref().map(|record| record.incarnation))
        else {
            return Ok(None);
        };
        let mut state = shown.or(record.and_then(|record| record.state)).unwrap_or_default();
        if payloads {
            let events = load::history(&*self.shared.kv, key, incarnation).await?;
            instance::payloads(&mut state, events.iter());
        }
        Ok(Some(state))
    }

    /// Waits until `ready` says so of an instance, or of there being none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn wait(
        &self,
        key: &Key,
        payloads: bool,
        ready: impl Fn(Option<&WorkflowState>) -> bool,
    ) -> Result<Option<WorkflowState>, WorkflowError> {
        let mut watch = Watch::new(&self.shared, key);
        loop {
            watch.receiver.mark_unchanged();
            let found = self.get(key, payloads).await?;
            if ready(found.as_ref()) {
                return Ok(found);
            }
            tokio::select! {
                biased;
                changed = watch.receiver.changed() => changed.map_err(|_| WorkflowError::Closing)?,
                () = self.run.last.cancelled() => return Err(WorkflowError::Closing),
                // Nobody here is told.
                () = clock::sleep(ELSEWHERE_LOOK), if self.shared.elsewhere(key) => {}
            }
        }
    }

    /// # Errors
    /// [`WorkflowError::NotFound`]. An instance that has ended takes events and ignores them.
    pub async fn raise(
        &self,
        key: &Key,
        name: String,
        input: Option<String>,
    ) -> Result<(), WorkflowError> {
        self.tell(key, event::raised(name, input)).await
    }

    /// # Errors
    /// [`WorkflowError::NotFound`].
    pub async fn suspend(&self, key: &Key, reason: Option<String>) -> Result<(), WorkflowError> {
        let input = reason.filter(|reason| !reason.is_empty());
        let kind = EventType::ExecutionSuspended(ExecutionSuspendedEvent { input });
        self.tell(key, event::outside(kind)).await
    }

    /// # Errors
    /// [`WorkflowError::NotFound`].
    pub async fn resume(&self, key: &Key, reason: Option<String>) -> Result<(), WorkflowError> {
        let input = reason.filter(|reason| !reason.is_empty());
        let kind = EventType::ExecutionResumed(ExecutionResumedEvent { input });
        self.tell(key, event::outside(kind)).await
    }

    /// Asks an instance to end, and with `recurse` everything that it has begun.
    ///
    /// # Errors
    /// [`WorkflowError::NotFound`].
    pub async fn terminate(
        &self,
        key: &Key,
        output: Option<String>,
        recurse: bool,
    ) -> Result<(), WorkflowError> {
        if !recurse {
            return self.tell(key, event::terminated(output, false)).await;
        }
        check_size(&event::terminated(output.clone(), true))?;
        if self.get(key, false).await?.is_none() {
            return Err(WorkflowError::NotFound { id: key.id.to_string() });
        }
        self.shared.change(|state, unit| state.end(key, output, None, unit)).wait().await
    }

    async fn tell(&self, key: &Key, event: HistoryEvent) -> Result<(), WorkflowError> {
        check_size(&event)?;
        if self.shared.elsewhere(key) && self.get(key, false).await?.is_none() {
            return Err(WorkflowError::NotFound { id: key.id.to_string() });
        }
        let (taken, durable) =
            self.shared.change_and(|state, unit| state.deliver(key, event, unit));
        durable.wait().await?;
        if !taken && self.get(key, false).await?.is_none() {
            return Err(WorkflowError::NotFound { id: key.id.to_string() });
        }
        Ok(())
    }

    /// The committed history.
    ///
    /// # Errors
    /// [`WorkflowError::NotFound`].
    pub async fn history(&self, key: &Key) -> Result<Vec<HistoryEvent>, WorkflowError> {
        // What workers have been sent may be ahead of the disk; they ask for it here.
        self.shared.change(|_, _| ()).wait().await?;
        let incarnation = self.shared.incarnation(key).await?;
        let incarnation =
            incarnation.ok_or_else(|| WorkflowError::NotFound { id: key.id.to_string() })?;
        load::history(&*self.shared.kv, key, incarnation).await
    }

    /// A worker of `app`, from now on. `stateful`: it keeps histories.
    pub fn connect(&self, app: &str, stateful: bool) -> Worker {
        self.connect_with(app, stateful, Room::default())
    }

    /// [`Engine::connect`] of one that is never to have more than `room` in hand.
    pub fn connect_with(&self, app: &str, stateful: bool, room: Room) -> Worker {
        let (sender, items) = rt::channel("workflow.worker", room.turns + room.tasks);
        let app: Arc<str> = app.into();
        let stream = Stream::new(sender, stateful, room);
        let id = self.shared.lock().connect(&app, stream);
        Worker { shared: Arc::clone(&self.shared), app, id, items }
    }

    /// What a worker says to a turn. It need not be durable when this returns: after a crash the
    /// turn is handed out again, and what follows from it begins only when it is.
    ///
    /// # Errors
    /// [`WorkflowError::NotPending`] when nobody waits for it.
    pub async fn complete_turn(
        &self,
        app: &str,
        response: WorkflowResponse,
    ) -> Result<(), WorkflowError> {
        let key = Key::new(app, &response.instance_id)?;
        let (done, taken) =
            self.shared.change_ahead(|state, unit| state.complete_turn(&key, response, unit));
        done?;
        taken.wait().await
    }

    /// What a worker says to an activity. It need not be durable when this returns: after a crash
    /// the activity is run again, as one whose worker was lost. `app` is whose worker it is; the
    /// instance may be of another.
    ///
    /// # Errors
    /// [`WorkflowError::NotPending`] when nobody waits for it.
    pub async fn complete_task(
        &self,
        app: &str,
        response: ActivityResponse,
    ) -> Result<(), WorkflowError> {
        let bytes = response.encoded_len();
        let (id, token) = (response.task_id, response.completion_token);
        // Refused, it would be tried for ever; so it is the activity's failure.
        let details = if bytes > EVENT_BYTES_MAX {
            let (what, limit) = ("the result of the activity", EVENT_BYTES_MAX);
            Some(event::too_large(&WorkflowError::TooLarge { what, bytes, limit }))
        } else {
            response.failure_details
        };
        let result = |task_execution_id| match details {
            Some(details) => event::task_failed(id, task_execution_id, details),
            None => event::outside(EventType::TaskCompleted(TaskCompletedEvent {
                task_scheduled_id: id,
                result: response.result,
                task_execution_id,
                ..Default::default()
            })),
        };
        let own = Key::new(app, &response.instance_id)?;
        let (done, taken) = self.shared.change_ahead(|state, unit| {
            if let Some(foreign) = state.foreign_task(&own, id, &token) {
                state.answer_foreign(&foreign, result, unit);
                return Ok(());
            }
            let key = state.whose_task(&own, id, &token);
            state.complete_task(&key, id, &token, result, unit)
        });
        done?;
        taken.wait().await
    }

    /// From now on apps begin work in others only as `reach` allows; before, everywhere. What is
    /// under way goes on.
    pub fn allow(&self, reach: Reach) {
        self.shared.lock().reach = Some(reach);
    }

    /// Limits of an app from now on. What is at work goes on.
    pub fn limit(&self, app: &str, limits: &Limits) {
        self.shared.lock().limit(&app.into(), limits);
    }

    /// How long an app keeps instances that have ended; without, as [`Config::retention`] says.
    pub fn keep(&self, app: &str, kept: Option<Duration>) {
        let mut state = self.shared.lock();
        match kept {
            Some(kept) => drop(state.kept.insert(app.into(), kept)),
            None => drop(state.kept.remove(app)),
        }
        state.chores.notify_one();
    }

    /// What apps begin by the clock from now on, all of them.
    pub fn schedule(&self, all: Vec<(String, Vec<Schedule>)>) {
        let all = all.into_iter().map(|(app, of)| (app.into(), of)).collect();
        let mut state = self.shared.lock();
        state.schedules = all;
        state.schedules_changed.notify_one();
    }

    /// Whether a client of `from` may have to do with instances of `to`.
    ///
    /// # Errors
    /// [`WorkflowError::NotDeclared`].
    pub fn check_reach(&self, from: &str, to: &str) -> Result<(), WorkflowError> {
        self.shared.lock().reach.as_ref().map_or(Ok(()), |reach| reach.check(from, to))
    }

    /// How many workers an app has connected.
    pub fn workers(&self, app: &str) -> usize {
        self.shared.lock().pools.get(app).map_or(0, |pool| pool.streams.len())
    }
}

pub(crate) fn check_size(event: &HistoryEvent) -> Result<(), WorkflowError> {
    let bytes = event.encoded_len();
    if bytes > EVENT_BYTES_MAX {
        return Err(WorkflowError::TooLarge { what: "the payload", bytes, limit: EVENT_BYTES_MAX });
    }
    Ok(())
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fence(&self) -> Option<(String, Version)> {
        self.lock().role.as_ref()?.fence()
    }

    /// To be called with the state locked.
    pub(crate) fn discard(&self) {
        self.queue.discard();
    }

    fn stripe(&self, key: &Key) -> &tokio::sync::Mutex<()> {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        &self.stripes[usize::try_from(hash % STRIPES as u64).unwrap_or_default()]
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State, &mut Unit)) -> Durable {
        self.change_and(change).1
    }

    /// Changes memory, and has the disk follow in the same order.
    pub(crate) fn change_and<T>(
        &self,
        change: impl FnOnce(&mut State, &mut Unit) -> T,
    ) -> (T, Durable) {
        let mut state = self.lock();
        let mut unit = Unit::default();
        let result = change(&mut state, &mut unit);
        (result, self.queue.push(unit))
    }

    /// [`Shared::change_and`] for what a crash may undo.
    fn change_ahead<T>(&self, change: impl FnOnce(&mut State, &mut Unit) -> T) -> (T, Taken) {
        let mut state = self.lock();
        let mut unit = Unit::default();
        let result = change(&mut state, &mut unit);
        (result, self.queue.push_ahead(unit))
    }

    pub(crate) fn shown(&self, key: &Key, payloads: bool) -> Option<WorkflowState> {
        let state = self.lock();
        let Some((incarnation, shown)) = state.shown.get(key) else {
            // Of another process's instance the store alone knows.
            return state.mine(key).then(|| state.recent.get(key, payloads)).flatten();
        };
        let mut found = WorkflowState::clone(shown);
        // Of an execution that memory has left behind, the store tells.
        if payloads {
            let here = |i: &&Instance| i.incarnation == *incarnation && !i.resting;
            let instance = state.active.get(key).filter(here)?;
            let inbox = instance.inbox.iter().map(|(_, event)| event);
            instance::payloads(&mut found, instance.history.iter().chain(inbox));
            if !instance::is_terminal(found.workflow_status) {
                (found.output, found.failure_details) = (None, None);
            }
        }
        Some(found)
    }

    pub(crate) async fn record(&self, key: &Key) -> Result<Option<InstanceV1>, WorkflowError> {
        let name = instance_key(key);
        let entry = self.kv.get(&name).await?;
        entry.map(|entry| InstanceV1::read(&name, &entry.value)).transpose()
    }

    /// Of an instance that memory shows.
    fn shown_of(&self, key: &Key) -> Option<u64> {
        self.lock().shown.get(key).map(|(incarnation, _)| *incarnation)
    }

    /// Of an instance as it durably is.
    pub(crate) async fn incarnation(&self, key: &Key) -> Result<Option<u64>, WorkflowError> {
        match self.shown_of(key) {
            Some(incarnation) => Ok(Some(incarnation)),
            None => Ok(self.record(key).await?.map(|record| record.incarnation)),
        }
    }

    /// The children of an instance, as its history has them.
    pub(crate) async fn stored_children(&self, key: &Key) -> Result<Vec<Key>, WorkflowError> {
        let Some(incarnation) = self.incarnation(key).await? else { return Ok(Vec::new()) };
        let events = load::history(&*self.kv, key, incarnation).await?;
        Ok(events.iter().filter_map(|event| instance::child_of(&key.app, event)).collect())
    }
}

async fn timers(shared: &Shared, stop: &CancellationToken) {
    let changed = Arc::clone(&shared.lock().due_changed);
    loop {
        let next = shared.lock().due.first().map(|due| due.0);
        let wait = next.map(|at| at.duration_since(clock::wall()).unwrap_or_default());
        if wait.is_some_and(|wait| wait.is_zero()) {
            // The next round may come before this is durable: what is due is taken off in memory.
            drop(shared.change(State::ring));
            continue;
        }
        let wait = wait.unwrap_or(ALARM_LOOK).min(ALARM_LOOK);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            () = clock::sleep(wait) => {}
        }
    }
}

/// One worker's stream of work. Dropping it gives back what it had.
pub struct Worker {
    shared: Arc<Shared>,
    app: Arc<str>,
    id: u64,
    items: rt::Receiver<WorkItem>,
}

impl Worker {
    /// Waits for the next item. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<WorkItem> {
        self.items.recv().await
    }

    pub fn poll_next(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<WorkItem>> {
        self.items.poll_recv(context)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.shared.change(|state, unit| state.disconnect(&self.app, self.id, unit)));
    }
}

/// Somebody waits for changes of an instance.
struct Watch<'a> {
    shared: &'a Shared,
    key: &'a Key,
    receiver: watch::Receiver<()>,
}

impl<'a> Watch<'a> {
    fn new(shared: &'a Shared, key: &'a Key) -> Self {
        let mut state = shared.lock();
        let sender = state.watchers.entry(key.clone()).or_insert_with(|| watch::channel(()).0);
        let receiver = sender.subscribe();
        Self { shared, key, receiver }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.watchers.get(self.key).is_some_and(|sender| sender.receiver_count() <= 1) {
            state.watchers.remove(self.key);
        }
    }
}
