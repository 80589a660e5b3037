//! Everything the engine knows, under one lock, and the changes of it.
//!
//! Each change works on memory and notes in a [`Unit`] what has to be written for it. Nothing
//! here waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use archipel_rt::clock;
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::{
    ActivityRequest, CachedHistory, HistoryEvent, WorkItem, WorkflowInstance, WorkflowRequest,
    WorkflowResponse, WorkflowState, work_item,
};
use tokio::sync::{Notify, watch};

use crate::commit;
use crate::engine::Config;
use crate::error::WorkflowError;
use crate::event;
use crate::instance::{self, Instance, Running, Task, Turn, target};
use crate::key::Key;
use crate::noted::{active, record};
use crate::places::{free_task, may_begin};
use crate::pool::{Pool, Stream, TaskId};
use crate::reach::Reach;
use crate::recent::Recent;
use crate::rerun;
use crate::rest::Rests;
use crate::schedule::Schedule;
use crate::sharing::Role;
use crate::stored::{self, EndChildrenV1, MarkV1, Record as _};
use crate::turn::{self, Outcome};

/// Over a new beginning, of children that have ended.
const CHILDREN_KEPT: usize = 1_024;

pub(crate) type Unit = commit::Unit<Effect>;

/// What may happen once something is durable.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Clients see this from now on; `None`: there is no such instance any more.
    Show(Key, u64, Option<Box<WorkflowState>>),
    /// Memory need not hold it any longer.
    Forget(Key, u64),
    Task(TaskId),
    /// It has a record from now on.
    Recorded(Key),
    /// Somebody may have been let in through a gate.
    Dispatch(Arc<str>),
    /// Nothing happens to it now, with so many events in its history.
    Idle(Key, u64, usize),
    /// Slow work without haste: see `chores`.
    Chores,
}

/// Why an instance has to be looked at, at some time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    Start,
    Timer(i32),
}

pub(crate) type Due = (SystemTime, Key, u64, Alarm);

#[derive(Debug)]
pub(crate) struct State {
    pub active: HashMap<Key, Instance>,
    pub shown: HashMap<Key, (u64, Arc<WorkflowState>)>,
    pub recent: Recent,
    /// Keys of records that need not be there yet: of instances that are at work under a new name.
    /// A record by name is on a page of its own, so it is written once, at the end; before, the
    /// row of `a/` says what the events do not. Only with no other process on the store.
    pub unrecorded: BTreeSet<String>,
    pub watchers: HashMap<Key, watch::Sender<()>>,
    pub pools: HashMap<Arc<str>, Pool>,
    pub due: BTreeSet<Due>,
    pub incarnation: u64,
    pub next_stream: u64,
    pub attempts_max: u32,
    pub rests: Rests,
    /// No worker is taken on any more.
    pub closed: bool,
    /// Without: everything.
    pub reach: Option<Reach>,
    /// How long each app keeps what has ended, where it says so.
    pub kept: HashMap<Arc<str>, Duration>,
    pub schedules: BTreeMap<Arc<str>, Vec<Schedule>>,
    pub schedules_changed: Arc<Notify>,
    /// Rings when the earliest due time has changed.
    pub due_changed: Arc<Notify>,
    pub chores: Arc<Notify>,
    /// Among the processes that share the store; `None`: there are no others.
    pub role: Option<Box<Role>>,
}

impl State {
    pub(crate) fn new(incarnation: u64, config: &Config) -> Self {
        Self {
            active: HashMap::new(),
            shown: HashMap::new(),
            recent: Recent::default(),
            unrecorded: BTreeSet::new(),
            watchers: HashMap::new(),
            pools: HashMap::new(),
            due: BTreeSet::new(),
            incarnation,
            next_stream: 0,
            attempts_max: config.attempts_max,
            rests: Rests::new(config.idle_max),
            closed: false,
            reach: None,
            kept: HashMap::new(),
            schedules: BTreeMap::new(),
            schedules_changed: Arc::default(),
            due_changed: Arc::default(),
            chores: Arc::default(),
            role: None,
        }
    }

    /// Makes an instance out of its first event. One of the same name that has ended is replaced;
    /// `replaced` is its incarnation.
    ///
    /// # Errors
    /// When one of that name is active.
    pub(crate) fn create(
        &mut self,
        key: &Key,
        start: HistoryEvent,
        replaced: Option<u64>,
        unit: &mut Unit,
    ) -> Result<(), WorkflowError> {
        self.begin(key, replaced, unit)?;
        self.deliver(key, start, unit);
        self.save(key, unit);
        Ok(())
    }

    /// Makes an instance that has a history already.
    ///
    /// # Errors
    /// When one of that name is active.
    pub(crate) fn adopt(
        &mut self,
        key: &Key,
        history: Vec<HistoryEvent>,
        unit: &mut Unit,
    ) -> Result<(), WorkflowError> {
        self.begin(key, None, unit)?;
        self.take_in(key, &mut Outcome { history, ..Outcome::default() }, unit);
        let Some(instance) = self.active.get(key) else { return Ok(()) };
        let open = |event: &&HistoryEvent| instance.open_children.contains_key(&event.event_id);
        let begun = instance.history.iter().filter(open).filter_map(|created| {
            let child = instance.open_children.get(&created.event_id)?.clone();
            Some((child, rerun::child_start(instance, created)?))
        });
        for (child, start) in begun.collect::<Vec<_>>() {
            self.send(&child, start, unit);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        key: &Key,
        replaced: Option<u64>,
        unit: &mut Unit,
    ) -> Result<(), WorkflowError> {
        if !self.mine(key) {
            return Err(WorkflowError::moved());
        }
        let old = self.active.get(key);
        if old.is_some_and(|old| old.completed.is_none()) {
            return Err(WorkflowError::AlreadyActive { id: key.id.to_string() });
        }
        self.along(unit);
        // It may have ended a moment ago, and not yet durably so.
        let old = old.map(|old| old.incarnation).or(replaced);
        let incarnation = self.next_incarnation(unit);
        let mut instance = Instance::new(key.clone(), incarnation);
        if self.role.is_none() && old.is_none() {
            instance.unrecorded = true;
            self.unrecorded.insert(stored::instance_key(key));
        }
        unit.put(stored::active_key(&key.app, incarnation), active(&instance));
        self.active.insert(key.clone(), instance);
        if let Some(old) = old {
            discard(&key.app, old, unit);
        }
        Ok(())
    }

    fn next_incarnation(&mut self, unit: &mut Unit) -> u64 {
        self.incarnation += 1;
        if self.role.is_some() {
            return self.incarnation;
        }
        let mark = MarkV1 { version: 0, incarnation: self.incarnation };
        unit.put(stored::META.to_owned(), mark.write());
        self.incarnation
    }

    /// Takes an instance away; `stored` is the incarnation that its record tells of.
    pub(crate) fn erase(&mut self, key: &Key, stored: u64, unit: &mut Unit) {
        self.along(unit);
        let incarnation = self.next_incarnation(unit);
        unit.delete(stored::instance_key(key));
        self.recent.remove(key);
        self.release(key, unit);
        let active = self.active.remove(key).map(|active| active.incarnation);
        for old in active.into_iter().chain([stored]) {
            unit.delete(stored::active_key(&key.app, old));
            discard(&key.app, old, unit);
        }
        unit.then(Effect::Show(key.clone(), incarnation, None));
    }

    /// Brings an event to an instance. False: nobody there takes it.
    pub(crate) fn deliver(&mut self, key: &Key, event: HistoryEvent, unit: &mut Unit) -> bool {
        let taken = self.put(key, event, unit);
        if taken {
            self.line_up(key);
        }
        taken
    }

    /// [`State::deliver`] without a turn yet: more is to come.
    fn put(&mut self, key: &Key, event: HistoryEvent, unit: &mut Unit) -> bool {
        if !self.mine(key) {
            self.post_event(key, event, unit);
            return true;
        }
        let Some(instance) = self.active.get_mut(key) else { return false };
        if !instance.arrive(&event) {
            return false;
        }
        let starts = match &event.event_type {
            Some(EventType::ExecutionStarted(start)) => start.scheduled_start_timestamp,
            _ => None,
        };
        match starts.map(|at| event::instant(&at)).filter(|at| *at > clock::wall()) {
            Some(at) => {
                instance.held = true;
                let due = (at, key.clone(), instance.incarnation, Alarm::Start);
                self.due.insert(due);
                self.due_changed.notify_one();
            }
            // What ends it need not wait for what begins it.
            None if matches!(event.event_type, Some(EventType::ExecutionTerminated(_))) => {
                instance.held = false;
                if let Some(pool) = self.pools.get_mut(&key.app)
                    && let Some((_, start)) = instance.start()
                    && pool.workflow_gate.behind(&start.name, key).is_some()
                {
                    let next = pool.workflow_gate.leave(&start.name, key);
                    pool.turns.extend(next);
                    instance.queued = false;
                }
            }
            None => {}
        }
        // Whoever sends it something wants it to go on.
        if instance.parked.take().is_some() {
            instance.lost_turns = 0;
            record(instance, unit);
            for (id, _) in instance.tasks.iter().filter(|(_, task)| task.running.is_none()) {
                unit.then(Effect::Task((key.clone(), instance.incarnation, *id)));
            }
        }
        let value = stored::events_row(std::slice::from_ref(&event));
        let row = instance.enqueue(event);
        unit.put(stored::row_key('q', &key.app, instance.incarnation, row), value);
        true
    }

    /// Messages that a turn or an end sends: some make instances.
    pub(crate) fn send(&mut self, key: &Key, message: HistoryEvent, unit: &mut Unit) {
        if !self.mine(key) {
            return self.post_event(key, message, unit);
        }
        let Some(EventType::ExecutionStarted(start)) = &message.event_type else {
            if !self.deliver(key, message, unit) {
                tracing::debug!(instance = %key, "a message found nobody who waits for it");
            }
            return;
        };
        let parent = turn::parent_of(start);
        // Names of children come again when their parent begins anew.
        let family = parent.as_ref().and_then(|(parent, _)| self.active.get(parent));
        let old = family.and_then(|parent| parent.children.get(key)).copied();
        match self.create(key, message, old.filter(|old| *old > 0), unit) {
            Ok(()) => {
                if let Some((parent, _)) = parent
                    && let Some(parent) = self.active.get_mut(&parent)
                {
                    parent.children.insert(key.clone(), self.incarnation);
                }
            }
            Err(error) => match parent {
                Some((parent, task)) => {
                    let details = event::failure("AlreadyExists", error.to_string());
                    self.deliver(&parent, event::child_failed(task, Some(details)), unit);
                }
                None => {
                    tracing::warn!(instance = %key, %error, "a detached workflow was not begun")
                }
            },
        }
    }

    pub(crate) fn line_up(&mut self, key: &Key) {
        if let Some(instance) = self.active.get_mut(key)
            && instance.wants_turn()
        {
            instance.queued = true;
            if instance.resting {
                return self.rests.wake(key, instance.incarnation);
            }
            self.pools.entry(Arc::clone(&key.app)).or_default().turns.push_back(key.clone());
            self.dispatch(&Arc::clone(&key.app));
        }
    }

    /// Gives waiting work to workers with room.
    pub(crate) fn dispatch(&mut self, app: &Arc<str>) {
        if self.in_doubt() {
            return;
        }
        while let Some(pool) = self.pools.get_mut(app)
            && let Some(key) = pool.turns.front()
            && let Some(stream) = pool.stream_for_turn(key)
            && let Some(key) = pool.turns.pop_front()
        {
            self.hand_out_turn(app, stream, &key);
        }
        while let Some(pool) = self.pools.get_mut(app)
            && !pool.tasks.is_empty()
            && let Some(stream) = pool.stream_for_task()
            && let Some(task) = pool.tasks.pop_front()
        {
            self.hand_out_task(app, stream, task);
        }
    }

    fn hand_out_turn(&mut self, app: &Arc<str>, stream_id: u64, key: &Key) {
        let Some(instance) = self.active.get_mut(key) else { return };
        if instance.resting {
            // A place in the line from before; it comes again when it has its history.
            return;
        }
        instance.queued = false;
        if !instance.wants_turn() {
            return;
        }
        if let Some(pool) = self.pools.get_mut(app)
            && !may_begin(pool, instance)
        {
            // Until one of its name has ended.
            instance.queued = true;
            return;
        }
        let Some(stream) = stream_of(&mut self.pools, app, stream_id) else { return };
        let (token, at) = (token(), event::now());
        let mut new_events = vec![event::turn_started(at, None)];
        new_events.extend(instance.next_events().cloned());
        let known = stream.warm(key, instance.incarnation, instance.history.len());
        let request = WorkflowRequest {
            instance_id: key.id.to_string(),
            execution_id: instance.execution_id().map(str::to_owned),
            past_events: instance.history[known..].to_vec(),
            cached_history: (known > 0)
                .then(|| CachedHistory { event_count: i32::try_from(known).unwrap_or(i32::MAX) }),
            new_events,
            ..Default::default()
        };
        let events = request.new_events.len() - 1;
        instance.turn = Some(Turn { token: token.clone(), stream: stream_id, at, events });
        stream.turns.insert(key.clone());
        let request = work_item::Request::WorkflowRequest(request);
        send_item(stream, WorkItem { completion_token: token, request: Some(request) });
    }

    fn hand_out_task(&mut self, app: &Arc<str>, stream_id: u64, id: TaskId) {
        if self.hand_out_foreign(app, stream_id, &id) {
            return;
        }
        let (key, incarnation, number) = &id;
        let Some(instance) = self.active.get_mut(key).filter(|i| i.incarnation == *incarnation)
        else {
            return;
        };
        let execution_id = instance.execution_id().map(str::to_owned);
        let parked = instance.parked.is_some();
        let free = |task: &&mut Task| task.running.is_none();
        let Some(task) = instance.tasks.get_mut(number).filter(free) else { return };
        let Some(EventType::TaskScheduled(what)) = &task.scheduled.event_type else { return };
        if parked {
            // It is offered again when somebody wants it to go on; others may use its place.
            return free_task(&mut self.pools, app, stream_id, &what.name, &id);
        }
        if let Some(pool) = self.pools.get_mut(app)
            && !pool.activity_gate.enter(&what.name, &id)
        {
            return;
        }
        let request = ActivityRequest {
            name: what.name.clone(),
            version: what.version.clone(),
            input: what.input.clone(),
            workflow_instance: Some(WorkflowInstance {
                instance_id: key.id.to_string(),
                execution_id,
            }),
            task_id: *number,
            parent_trace_context: what.parent_trace_context.clone(),
            task_execution_id: what.task_execution_id.clone(),
            propagated_history: None,
        };
        let token = token();
        let Some(stream) = stream_of(&mut self.pools, app, stream_id) else { return };
        let running = Running { token: token.clone(), app: Arc::clone(app), stream: stream_id };
        task.running = Some(running);
        stream.tasks.insert(id);
        let request = work_item::Request::ActivityRequest(request);
        send_item(stream, WorkItem { completion_token: token, request: Some(request) });
    }

    /// # Errors
    /// When no worker has such a turn.
    pub(crate) fn complete_turn(
        &mut self,
        key: &Key,
        response: WorkflowResponse,
        unit: &mut Unit,
    ) -> Result<(), WorkflowError> {
        let pending = |what: &Key| WorkflowError::NotPending { what: what.to_string() };
        if !self.mine(key) {
            // Handed over in the meantime; the new holder has it done again.
            return Ok(());
        }
        let instance = self.active.get_mut(key).ok_or_else(|| pending(key))?;
        let turn = instance.turn.as_ref().ok_or_else(|| pending(key))?;
        if !response.completion_token.is_empty() && response.completion_token != turn.token {
            // An answer to a delivery that was given up; the one that counts is under way.
            return Ok(());
        }
        let Some(turn) = instance.turn.take() else { return Ok(()) };
        instance.lost_turns = 0;
        let taken: Vec<_> = instance.inbox.drain(..turn.events).collect();
        for (row, _) in &taken {
            unit.delete(stored::row_key('q', &key.app, instance.incarnation, *row));
        }
        let new_events = taken.into_iter().map(|(_, event)| event).collect();
        instance.custom_status.clone_from(&response.custom_status);
        let mut outcome = turn::apply(instance, turn.at, new_events, response, self.reach.as_ref());
        let app = Arc::clone(&key.app);
        if let Some(stream) = stream_of(&mut self.pools, &app, turn.stream) {
            stream.turns.remove(key);
            if outcome.restart.is_some() {
                stream.forget(key);
            }
        }
        match outcome.restart.take() {
            Some(events) => self.begin_anew(key, events, unit),
            None => self.take_in(key, &mut outcome, unit),
        }
        for (to, message) in outcome.messages {
            self.send(&to, message, unit);
        }
        self.line_up(key);
        if let Some(instance) = self.active.get(key).filter(|instance| instance.is_idle()) {
            let (incarnation, events) = (instance.incarnation, instance.history.len());
            unit.then(Effect::Idle(key.clone(), incarnation, events));
        }
        self.dispatch(&app);
        Ok(())
    }

    /// The turn becomes history.
    fn take_in(&mut self, key: &Key, outcome: &mut Outcome, unit: &mut Unit) {
        if instance::completion(outcome.history.iter()).is_some() {
            self.release(key, unit);
        }
        let Some(instance) = self.active.get_mut(key) else { return };
        let incarnation = instance.incarnation;
        for row in stored::rows(&outcome.history) {
            unit.put(stored::row_key('h', &key.app, incarnation, instance.next_row), row);
            instance.next_row += 1;
        }
        for event in std::mem::take(&mut outcome.history) {
            match &event.event_type {
                Some(EventType::TaskScheduled(_)) => {
                    unit.then(Effect::Task((key.clone(), incarnation, event.event_id)));
                }
                Some(EventType::TimerCreated(timer)) => {
                    let at = event::instant(&timer.fire_at.unwrap_or_default());
                    let alarm = Alarm::Timer(event.event_id);
                    self.due.insert((at, key.clone(), incarnation, alarm));
                    self.due_changed.notify_one();
                }
                _ => {}
            }
            instance.absorb(event);
        }
        if instance.completed.is_some() {
            for (row, _) in instance.inbox.drain(..) {
                unit.delete(stored::row_key('q', &key.app, incarnation, row));
            }
            unit.delete(stored::active_key(&key.app, incarnation));
            // Where it ended in its first turn, its name was not in the history before.
            if let Some(pool) = self.pools.get_mut(&key.app)
                && let Some((_, start)) = instance.start()
                && let Some(next) = pool.workflow_gate.leave(&start.name, key)
            {
                pool.turns.push_back(next);
                unit.then(Effect::Dispatch(Arc::clone(&key.app)));
            }
            if let Some(record) = stored::done_key_of(&instance.describe(), key) {
                unit.put(record, MarkV1 { version: 0, incarnation }.write());
            }
        }
        self.save(key, unit);
        if let Some(output) = outcome.end_children.take() {
            self.end_children(key, output.as_deref(), unit);
        }
    }

    fn begin_anew(&mut self, key: &Key, events: Vec<HistoryEvent>, unit: &mut Unit) {
        self.release(key, unit);
        let Some(old) = self.active.remove(key) else { return };
        let incarnation = self.next_incarnation(unit);
        let mut instance = Instance::new(key.clone(), incarnation);
        instance.custom_status.clone_from(&old.custom_status);
        instance.children.clone_from(&old.children);
        instance.unrecorded = old.unrecorded;
        if instance.children.len() > CHILDREN_KEPT {
            // One that begins anew for ever does not remember for ever.
            let open: Vec<_> = old.open_children.values().collect();
            instance.children.retain(|child, _| {
                open.contains(&child)
                    || self.active.get(child).is_some_and(|i| i.completed.is_none())
            });
        }
        unit.delete(stored::active_key(&key.app, old.incarnation));
        unit.put(stored::active_key(&key.app, incarnation), active(&instance));
        self.active.insert(key.clone(), instance);
        discard(&key.app, old.incarnation, unit);
        // Answers to what the old execution asked for are not for the new one.
        let later = old.inbox.into_iter().map(|(_, event)| event).filter(|event| {
            matches!(
                event.event_type,
                Some(
                    EventType::EventRaised(_)
                        | EventType::ExecutionTerminated(_)
                        | EventType::ExecutionSuspended(_)
                        | EventType::ExecutionResumed(_)
                )
            )
        });
        for event in events.into_iter().chain(later) {
            self.put(key, event, unit);
        }
        self.save(key, unit);
    }

    /// Writes and shows how an instance is now.
    fn save(&mut self, key: &Key, unit: &mut Unit) {
        let Some(instance) = self.active.get_mut(key) else { return };
        record(instance, unit);
        if instance.completed.is_some() {
            unit.then(Effect::Forget(key.clone(), instance.incarnation));
        }
    }

    /// Ends the children, and through those that have ended already, theirs.
    fn end_children(&mut self, key: &Key, output: Option<&str>, unit: &mut Unit) {
        let Some(instance) = self.active.get(key) else { return };
        let children: Vec<_> = instance.children.keys().cloned().collect();
        for child in &children {
            self.end(child, output.map(str::to_owned), Some(key), unit);
        }
    }

    /// Ends an instance and its children; with `of`, only if it is a child of that one: the name
    /// may have been another's when it was to be begun.
    pub(crate) fn end(
        &mut self,
        key: &Key,
        output: Option<String>,
        of: Option<&Key>,
        unit: &mut Unit,
    ) {
        if !self.mine(key) {
            return self.post_end(key, output, of, unit);
        }
        let active = self.active.get(key).filter(|instance| instance.completed.is_none());
        if let (Some(of), Some((_, start))) = (of, active.and_then(Instance::start))
            && turn::parent_of(start).is_none_or(|(parent, _)| parent != *of)
        {
            return;
        }
        if !self.deliver(key, event::terminated(output.clone(), true), unit) {
            let record = EndChildrenV1 { version: 0, output, of: of.map(Key::path) };
            unit.put(stored::end_children_key(key), record.write());
            unit.then(Effect::Chores);
        }
    }

    /// The instance whose activity a worker of `own.app` answers. It is another app's when that
    /// one sent the activity here; the token says which. Not every SDK sends one: then it is what
    /// a worker of `own.app` has in hand under that name.
    pub(crate) fn whose_task(&self, own: &Key, task_id: i32, token: &str) -> Key {
        let by_token = |key: &&Key| {
            let task = self.active.get(*key).and_then(|instance| instance.tasks.get(&task_id));
            let running = task.and_then(|task| task.running.as_ref());
            running.is_some_and(|running| match token {
                "" => running.app == own.app,
                token => running.token == token,
            })
        };
        if by_token(&own) {
            return own.clone();
        }
        let pool = self.pools.get(&own.app);
        let in_hand = pool.into_iter().flat_map(|pool| pool.streams.values());
        let mut same = in_hand
            .flat_map(|stream| &stream.tasks)
            .filter(|(key, _, id)| key.id == own.id && *id == task_id)
            .map(|(key, ..)| key);
        same.find(by_token).unwrap_or(own).clone()
    }

    /// # Errors
    /// When nobody has such an activity in hand.
    pub(crate) fn complete_task(
        &mut self,
        key: &Key,
        task_id: i32,
        token: &str,
        result: impl FnOnce(String) -> HistoryEvent,
        unit: &mut Unit,
    ) -> Result<(), WorkflowError> {
        let pending = || WorkflowError::NotPending { what: format!("{key}, activity {task_id}") };
        let instance = self.active.get_mut(key).ok_or_else(pending)?;
        let incarnation = instance.incarnation;
        let task = instance.tasks.get_mut(&task_id).ok_or_else(pending)?;
        let running = task.running.as_ref().ok_or_else(pending)?;
        if !token.is_empty() && token != running.token {
            return Ok(());
        }
        let (app, stream) = (Arc::clone(&running.app), running.stream);
        let execution = match &task.scheduled.event_type {
            Some(EventType::TaskScheduled(what)) => what.task_execution_id.clone(),
            _ => String::new(),
        };
        let name = match &task.scheduled.event_type {
            Some(EventType::TaskScheduled(what)) => what.name.clone(),
            _ => String::new(),
        };
        let id = (key.clone(), incarnation, task_id);
        free_task(&mut self.pools, &app, stream, &name, &id);
        self.deliver(key, result(execution), unit);
        self.dispatch(&app);
        Ok(())
    }

    /// Everything that is due.
    pub(crate) fn ring(&mut self, unit: &mut Unit) {
        let now = clock::wall();
        while let Some((at, ..)) = self.due.first()
            && *at <= now
            && let Some((_, key, incarnation, alarm)) = self.due.pop_first()
        {
            let Some(instance) = self.active.get_mut(&key).filter(|i| i.incarnation == incarnation)
            else {
                continue;
            };
            match alarm {
                Alarm::Start => {
                    instance.held = false;
                    self.line_up(&key);
                }
                Alarm::Timer(id) => {
                    if let Some(fire_at) = instance.timers.get(&id).copied() {
                        self.deliver(&key, event::timer_fired(id, fire_at), unit);
                    }
                }
            }
        }
    }

    /// Puts an activity in line for the workers of the app that it is for.
    pub(crate) fn offer(&mut self, id: TaskId) {
        let Some(instance) = self.active.get(&id.0).filter(|i| i.incarnation == id.1) else {
            return;
        };
        let Some(task) = instance.tasks.get(&id.2) else { return };
        let app: Arc<str> = target(&task.scheduled).unwrap_or(&id.0.app).into();
        let pool = self.pools.entry(Arc::clone(&app)).or_default();
        pool.tasks.push_back(id);
        if pool.streams.is_empty() {
            self.stir();
        }
        self.dispatch(&app);
    }

    /// Frees what an instance that has no more use for it holds: places in workers' hands, alarms.
    pub(crate) fn release(&mut self, key: &Key, unit: &mut Unit) {
        let Some(old) = self.active.get(key) else { return };
        if let Some(turn) = &old.turn
            && let Some(stream) = stream_of(&mut self.pools, &key.app, turn.stream)
        {
            stream.turns.remove(key);
        }
        for (id, task) in &old.tasks {
            let Some(EventType::TaskScheduled(what)) = &task.scheduled.event_type else { continue };
            let id = (key.clone(), old.incarnation, *id);
            match &task.running {
                Some(run) => free_task(&mut self.pools, &run.app, run.stream, &what.name, &id),
                // It may stand in line.
                None => {
                    let app = target(&task.scheduled).unwrap_or(&key.app);
                    if let Some(pool) = self.pools.get_mut(app) {
                        let next = pool.activity_gate.leave(&what.name, &id);
                        pool.tasks.extend(next);
                    }
                }
            }
            let app = target(&task.scheduled).unwrap_or(&key.app);
            unit.then(Effect::Dispatch(app.into()));
        }
        if let Some(pool) = self.pools.get_mut(&key.app)
            && let Some((_, start)) = old.start()
        {
            let next = pool.workflow_gate.leave(&start.name, key);
            if next.is_some() {
                pool.turns.extend(next);
                unit.then(Effect::Dispatch(Arc::clone(&key.app)));
            }
        }
        for (id, at) in &old.timers {
            let alarm = Alarm::Timer(*id);
            self.due.remove(&(event::instant(at), key.clone(), old.incarnation, alarm));
        }
    }
}

pub(crate) fn stream_of<'a>(
    pools: &'a mut HashMap<Arc<str>, Pool>,
    app: &Arc<str>,
    stream: u64,
) -> Option<&'a mut Stream> {
    pools.get_mut(app)?.streams.get_mut(&stream)
}

/// Of one delivery: never given twice, over restarts too.
fn token() -> String {
    format!("{:016x}{:016x}", archipel_rt::random::u64(), archipel_rt::random::u64())
}

/// The rows of an execution that nobody reads again are taken away when there is time.
pub(crate) fn discard(app: &str, incarnation: u64, unit: &mut Unit) {
    unit.put(stored::garbage_key(app, incarnation), MarkV1 { version: 0, incarnation }.write());
    unit.then(Effect::Chores);
}

/// The channel has room for all that a worker may have in hand, so a refusal means that it is
/// gone; taking its items back comes with the end of its stream.
pub(crate) fn send_item(stream: &Stream, item: WorkItem) {
    drop(stream.sender.try_send(item));
}
