//! Activities that workers of another process do: where nobody here does them, and where an
//! instance has moved on while a worker had its activity.
//!
//! A row says which member has it. It is taken away together with the answer's letter; when that
//! member dies or loses its workers, the holder of the instance takes it back and offers it anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock;
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::{
    ActivityRequest, HistoryEvent, WorkItem, WorkflowInstance, work_item,
};
use uuid::Uuid;

use super::stored::{self, Answer, TaskV1};
use crate::instance::{Instance, Running};
use crate::key::Key;
use crate::noted::park;
use crate::places::free_task;
use crate::pool::TaskId;
use crate::state::{State, Unit, send_item, stream_of};
use crate::stored::Record as _;

/// Of no worker here.
const NO_STREAM: u64 = u64::MAX;
/// A worker that connects again soon is the same to us.
pub(super) const ABSENCE: Duration = Duration::from_secs(3);

/// An activity of an instance that another process holds.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub row: String,
    /// Whose workers do it.
    target: Arc<str>,
    request: ActivityRequest,
    /// Of the worker that has it; empty while it is in line.
    token: String,
    stream: u64,
    lost: u32,
}

impl Foreign {
    pub(super) fn in_hand(&self) -> bool {
        !self.token.is_empty()
    }
}

/// An activity of an instance here that another member has.
#[derive(Debug, Clone)]
pub(crate) struct Lent {
    member: String,
    row: String,
    target: String,
    /// Since when that member has had no workers for it.
    alone: Option<clock::Instant>,
}

pub(super) fn lent_task(record: &str, task: &TaskV1) -> Option<Lent> {
    let member = stored::member_of_task(record)?.to_owned();
    Some(Lent { member, row: record.to_owned(), target: task.target.clone(), alone: None })
}

fn elsewhere(target: &str) -> Option<Running> {
    Some(Running { token: "elsewhere".to_owned(), app: target.into(), stream: NO_STREAM })
}

/// What a worker is sent for an activity of `instance`.
fn request_of(instance: &Instance, number: i32) -> Option<ActivityRequest> {
    let task = instance.tasks.get(&number)?;
    let Some(EventType::TaskScheduled(what)) = &task.scheduled.event_type else { return None };
    Some(ActivityRequest {
        name: what.name.clone(),
        version: what.version.clone(),
        input: what.input.clone(),
        workflow_instance: Some(WorkflowInstance {
            instance_id: instance.key.id.to_string(),
            execution_id: instance.execution_id().map(str::to_owned),
        }),
        task_id: number,
        parent_trace_context: what.parent_trace_context.clone(),
        task_execution_id: what.task_execution_id.clone(),
        propagated_history: None,
    })
}

/// Of the one who has an instance's activity.
impl State {
    /// Gives activities for which there is no worker here to members that have some.
    pub(crate) fn lend(&mut self, unit: &mut Unit) {
        let Some(role) = &self.role else { return };
        let mut places: Vec<(Arc<str>, Vec<String>)> = Vec::new();
        for (app, pool) in &self.pools {
            if !pool.streams.is_empty() || pool.tasks.is_empty() {
                continue;
            }
            let with = role.others.iter().filter(|(_, apps)| apps.contains(&**app));
            let members: Vec<_> = with.map(|(member, _)| member.clone()).collect();
            if !members.is_empty() {
                places.push((Arc::clone(app), members));
            }
        }
        for (app, members) in places {
            let tasks = self.pools.get_mut(&app).map(|pool| std::mem::take(&mut pool.tasks));
            let mut members = members.iter().cycle();
            for id in tasks.into_iter().flatten() {
                if let Some(member) = members.next()
                    && !self.lend_to(&id, &app, member, unit)
                    && self.is_foreign(&id)
                    && let Some(pool) = self.pools.get_mut(&app)
                {
                    // Lent to us: the one who has the instance takes it back.
                    pool.tasks.push_back(id);
                }
            }
        }
    }

    fn is_foreign(&self, id: &TaskId) -> bool {
        self.role.as_ref().is_some_and(|role| role.foreign.contains_key(id))
    }

    fn lend_to(&mut self, id: &TaskId, app: &str, member: &str, unit: &mut Unit) -> bool {
        let (key, incarnation, number) = id;
        let Some(instance) = self.active.get_mut(key).filter(|i| i.incarnation == *incarnation)
        else {
            return false;
        };
        if instance.parked.is_some() {
            return false;
        }
        let Some(request) = request_of(instance, *number) else { return false };
        let Some(task) = instance.tasks.get_mut(number).filter(|task| task.running.is_none())
        else {
            return false;
        };
        task.running = elsewhere(app);
        let row = stored::task_key(member, id);
        unit.put(row.clone(), record(id, app, request));
        unit.ring();
        let (member, target) = (member.to_owned(), app.to_owned());
        if let Some(role) = &mut self.role {
            role.lent.insert(id.clone(), Lent { member, row, target, alone: None });
        }
        true
    }

    /// What has become of lent activities: takes back what nobody will do.
    pub(crate) fn recall(&mut self, unit: &mut Unit) {
        let Some(role) = &mut self.role else { return };
        let now = clock::now();
        let mut back = Vec::new();
        for (id, lent) in &mut role.lent {
            let open = self.active.get(&id.0).filter(|i| i.incarnation == id.1);
            let open = open.is_some_and(|instance| instance.tasks.contains_key(&id.2));
            let there = match role.others.get(&lent.member) {
                _ if lent.member == role.me => role.foreign.contains_key(id).then_some(true),
                Some(apps) => Some(apps.contains(&lent.target)),
                None => None,
            };
            let since = match there {
                Some(true) => None,
                _ => Some(*lent.alone.get_or_insert(now)),
            };
            lent.alone = since;
            let gone = there.is_none() || since.is_some_and(|since| now - since > ABSENCE);
            if !open || gone {
                back.push((id.clone(), open));
            }
        }
        for (id, open) in back {
            let lent = self.role.as_mut().and_then(|role| role.lent.remove(&id));
            if let Some(lent) = lent {
                unit.delete(lent.row);
            }
            if open && let Some(task) = self.task_mut(&id) {
                task.running = None;
                self.offer(id);
            }
        }
    }

    fn task_mut(&mut self, id: &TaskId) -> Option<&mut crate::instance::Task> {
        let instance = self.active.get_mut(&id.0).filter(|i| i.incarnation == id.1)?;
        instance.tasks.get_mut(&id.2)
    }

    /// An instance that is read again: others may have its activities, or have answered them in
    /// letters that are not yet taken in.
    pub(super) fn still_busy(
        &mut self,
        instance: &mut Instance,
        busy: &HashMap<TaskId, Option<Lent>>,
    ) {
        for (number, task) in &mut instance.tasks {
            let id = (instance.key.clone(), instance.incarnation, *number);
            let Some(lent) = busy.get(&id) else { continue };
            task.running = elsewhere(&instance.key.app);
            if let (Some(role), Some(lent)) = (&mut self.role, lent) {
                role.lent.insert(id, lent.clone());
            }
        }
    }

    /// Before an instance is given up: its activities that workers here have are lent to us.
    pub(super) fn lend_what_runs(&mut self, key: &Key, unit: &mut Unit) {
        let Some(instance) = self.active.get_mut(key) else { return };
        let incarnation = instance.incarnation;
        let numbers: Vec<_> = instance.tasks.keys().copied().collect();
        for number in numbers {
            let Some(request) = request_of(instance, number) else { continue };
            let Some(task) = instance.tasks.get(&number) else { continue };
            let Some(running) = &task.running else { continue };
            let id = (key.clone(), incarnation, number);
            let Some(role) = &mut self.role else { return };
            if running.stream == NO_STREAM {
                role.lent.remove(&id);
            } else {
                let row = stored::task_key(&role.me, &id);
                unit.put(row.clone(), record(&id, &running.app, request.clone()));
                role.seen.insert(row.clone());
                let (target, token) = (Arc::clone(&running.app), running.token.clone());
                let (stream, lost) = (running.stream, task.lost);
                role.foreign.insert(id, Foreign { row, target, request, token, stream, lost });
            }
            // So that giving up the instance does not free the place that the worker still has.
            instance.tasks.remove(&number);
        }
    }

    /// The answer to an activity, from wherever it was done.
    pub(super) fn take_answer(&mut self, key: &Key, answer: Answer, unit: &mut Unit) {
        let id = (key.clone(), answer.incarnation, answer.task);
        if let Some(role) = &mut self.role {
            role.lent.remove(&id);
        }
        let Some(task) = self.task_mut(&id) else { return };
        let running = task.running.take();
        let name = match &task.scheduled.event_type {
            Some(EventType::TaskScheduled(what)) => what.name.clone(),
            _ => String::new(),
        };
        if let Some(running) = running {
            // It was offered here too in the meantime.
            free_task(&mut self.pools, &running.app, running.stream, &name, &id);
            unit.then(crate::state::Effect::Dispatch(running.app));
        }
        match answer.event {
            Some(event) => drop(self.deliver(key, event, unit)),
            None => {
                if let Some(instance) = self.active.get_mut(key) {
                    let (times, number) = (answer.lost, answer.task);
                    let why = format!("{times} workers in a row were lost on activity {number}");
                    park(instance, why, unit);
                }
            }
        }
    }
}

fn record((key, incarnation, _): &TaskId, target: &str, request: ActivityRequest) -> bytes::Bytes {
    let task = TaskV1 {
        version: 0,
        app: key.app.to_string(),
        id: key.id.to_string(),
        incarnation: *incarnation,
        target: target.to_owned(),
        request: Some(request),
    };
    task.write()
}

/// Of the one whose workers do it.
impl State {
    /// Puts another's activity in line.
    pub(super) fn borrow(&mut self, row: String, task: TaskV1) {
        let (Some(id), Some(request)) = (task.task_id(), task.request) else { return };
        let target: Arc<str> = task.target.into();
        let Some(role) = &mut self.role else { return };
        if role.foreign.contains_key(&id) {
            return;
        }
        let (token, stream, lost) = (String::new(), NO_STREAM, 0);
        let foreign = Foreign { row, target: Arc::clone(&target), request, token, stream, lost };
        role.foreign.insert(id.clone(), foreign);
        self.pools.entry(Arc::clone(&target)).or_default().tasks.push_back(id);
        self.dispatch(&target);
    }

    /// False: it is an activity of an instance here.
    pub(crate) fn hand_out_foreign(&mut self, app: &Arc<str>, stream_id: u64, id: &TaskId) -> bool {
        let Some(role) = &mut self.role else { return false };
        let Some(foreign) = role.foreign.get_mut(id) else { return false };
        if foreign.in_hand() {
            return true;
        }
        if let Some(pool) = self.pools.get_mut(app)
            && !pool.activity_gate.enter(&foreign.request.name, id)
        {
            return true;
        }
        let Some(stream) = stream_of(&mut self.pools, app, stream_id) else { return true };
        foreign.token = Uuid::new_v4().to_string();
        foreign.stream = stream_id;
        stream.tasks.insert(id.clone());
        let request = work_item::Request::ActivityRequest(foreign.request.clone());
        let completion_token = foreign.token.clone();
        send_item(stream, WorkItem { completion_token, request: Some(request) });
        true
    }

    /// Which of the others' activities a worker of `own.app` answers.
    pub(crate) fn foreign_task(&self, own: &Key, number: i32, token: &str) -> Option<TaskId> {
        let role = self.role.as_ref()?;
        let answered = role.foreign.iter().find(|(id, foreign)| match token {
            "" => {
                foreign.in_hand()
                    && foreign.target == own.app
                    && id.0.id == own.id
                    && id.2 == number
            }
            token => foreign.token == token,
        });
        answered.map(|(id, _)| id.clone())
    }

    /// A worker has done another's activity.
    pub(crate) fn answer_foreign(
        &mut self,
        id: &TaskId,
        result: impl FnOnce(String) -> HistoryEvent,
        unit: &mut Unit,
    ) {
        let Some(foreign) = self.role.as_mut().and_then(|role| role.foreign.remove(id)) else {
            return;
        };
        free_task(&mut self.pools, &foreign.target, foreign.stream, &foreign.request.name, id);
        unit.delete(foreign.row);
        let event = Some(result(foreign.request.task_execution_id));
        let answer = Answer { incarnation: id.1, task: id.2, event, lost: 0 };
        self.answered(id, answer, unit);
        self.dispatch(&foreign.target);
    }

    fn answered(&mut self, id: &TaskId, answer: Answer, unit: &mut Unit) {
        match self.mine(&id.0) {
            true => self.take_answer(&id.0, answer, unit),
            false => self.post_answer(&id.0, answer, unit),
        }
    }

    /// The worker that had it is gone. False: it was no other's.
    pub(crate) fn foreign_lost(&mut self, app: &Arc<str>, id: &TaskId, unit: &mut Unit) -> bool {
        let attempts_max = self.attempts_max;
        let Some(role) = &mut self.role else { return false };
        let Some(foreign) = role.foreign.get_mut(id) else { return false };
        (foreign.token, foreign.stream) = (String::new(), NO_STREAM);
        foreign.lost += 1;
        let lost = foreign.lost;
        let name = foreign.request.name.clone();
        let pool = self.pools.entry(Arc::clone(app)).or_default();
        let next = pool.activity_gate.leave(&name, id);
        pool.tasks.extend(next);
        if lost < attempts_max {
            pool.tasks.push_front(id.clone());
            return true;
        }
        let Some(foreign) = self.role.as_mut().and_then(|role| role.foreign.remove(id)) else {
            return true;
        };
        unit.delete(foreign.row);
        let answer = Answer { incarnation: id.1, task: id.2, event: None, lost };
        self.answered(id, answer, unit);
        true
    }
}
