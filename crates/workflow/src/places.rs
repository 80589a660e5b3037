//! Places behind the gates: who has one, who gives one back.

use std::collections::HashMap;
use std::sync::Arc;

use dapr_durabletask_proto::HistoryEvent;
use dapr_durabletask_proto::history_event::EventType;

use crate::engine::Limits;
use crate::instance::Instance;
use crate::pool::{Pool, TaskId};
use crate::state::State;

impl State {
    /// From now on so many of each name at once.
    pub(crate) fn limit(&mut self, app: &Arc<str>, limits: &Limits) {
        let pool = self.pools.entry(Arc::clone(app)).or_default();
        let (turns, tasks) = pool.limit(limits);
        pool.turns.extend(turns);
        pool.tasks.extend(tasks);
        for instance in self.active.values().filter(|instance| instance.completed.is_none()) {
            at_work(pool, app, instance);
        }
        self.dispatch(app);
    }
}

/// Tells the gates of an app what is at work already.
fn at_work(pool: &mut Pool, app: &Arc<str>, instance: &Instance) {
    if instance.key.app == *app
        && !instance.history.is_empty()
        && let Some((_, start)) = instance.start()
    {
        pool.workflow_gate.admit(&start.name, &instance.key);
    }
    for (id, task) in &instance.tasks {
        if let Some(EventType::TaskScheduled(what)) = &task.scheduled.event_type
            && task.running.as_ref().is_some_and(|running| running.app == *app)
        {
            let id = (instance.key.clone(), instance.incarnation, *id);
            pool.activity_gate.admit(&what.name, &id);
        }
    }
}

/// Whether an instance may have a turn: one that has begun may go on, and one that is to end need
/// not begin.
pub(crate) fn may_begin(pool: &mut Pool, instance: &Instance) -> bool {
    let Some((_, start)) = instance.start() else { return true };
    let ends = |(_, event): &(u32, HistoryEvent)| {
        matches!(event.event_type, Some(EventType::ExecutionTerminated(_)))
    };
    if !instance.history.is_empty() || instance.inbox.iter().any(ends) {
        pool.workflow_gate.admit(&start.name, &instance.key);
        return true;
    }
    pool.workflow_gate.enter(&start.name, &instance.key)
}

/// A worker no longer has an activity.
pub(crate) fn free_task(
    pools: &mut HashMap<Arc<str>, Pool>,
    app: &Arc<str>,
    stream: u64,
    name: &str,
    id: &TaskId,
) {
    let Some(pool) = pools.get_mut(app) else { return };
    if let Some(stream) = pool.streams.get_mut(&stream) {
        stream.tasks.remove(id);
    }
    let next = pool.activity_gate.leave(name, id);
    pool.tasks.extend(next);
}
