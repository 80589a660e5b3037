//! The workers of one app: what waits for them, what each has, who gets the next item.
//!
//! A turn goes to the worker that had the instance's last one, if it has room: it keeps the
//! history (`StatefulHistory`) and is sent only what is new. Otherwise the one with the fewest
//! items in hand. There is no lease on an item: a stream that breaks gives back what it had.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use archipel_rt as rt;
use dapr_durabletask_proto::WorkItem;

use crate::engine::Limits;
use crate::gate::Gate;
use crate::key::Key;

/// What one worker may have in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub turns: usize,
    pub tasks: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { turns: 256, tasks: 1_024 }
    }
}

/// Instances of which one worker is taken to remember the history.
const WARM_MAX: usize = 4_096;

/// An activity: of which instance, in which incarnation, with which id.
pub(crate) type TaskId = (Key, u64, i32);

#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub streams: BTreeMap<u64, Stream>,
    pub turns: VecDeque<Key>,
    pub tasks: VecDeque<TaskId>,
    /// Workflows that have begun and not ended.
    pub workflow_gate: Gate<Key>,
    /// Activities that a worker has.
    pub activity_gate: Gate<TaskId>,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub sender: rt::Sender<WorkItem>,
    pub capable: bool,
    room: Room,
    pub turns: HashSet<Key>,
    pub tasks: HashSet<TaskId>,
    /// How many events of which incarnation the worker has seen.
    warm: HashMap<Key, (u64, usize)>,
}

impl Stream {
    pub(crate) fn new(sender: rt::Sender<WorkItem>, capable: bool, room: Room) -> Self {
        let (turns, tasks) = (HashSet::new(), HashSet::new());
        Self { sender, capable, room, turns, tasks, warm: HashMap::new() }
    }

    /// How many of `len` events this worker has, now that it is sent the others.
    pub(crate) fn warm(&mut self, key: &Key, incarnation: u64, len: usize) -> usize {
        if !self.capable {
            return 0;
        }
        let known = self.warm.get(key).filter(|(of, known)| *of == incarnation && *known <= len);
        let known = known.map_or(0, |(_, known)| *known);
        if self.warm.len() >= WARM_MAX && !self.warm.contains_key(key) {
            // Forgetting costs one full history each, and the map stays bounded.
            self.warm.clear();
        }
        self.warm.insert(key.clone(), (incarnation, len));
        known
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.warm.remove(key);
    }
}

impl Pool {
    /// Those who are to ask again.
    pub(crate) fn limit(&mut self, limits: &Limits) -> (Vec<Key>, Vec<TaskId>) {
        let turns = self.workflow_gate.limit(limits.workflows.clone());
        (turns, self.activity_gate.limit(limits.activities.clone()))
    }

    pub(crate) fn limits(&self) -> Limits {
        let (workflows, activities) = (self.workflow_gate.limits(), self.activity_gate.limits());
        Limits { workflows: workflows.clone(), activities: activities.clone() }
    }

    pub(crate) fn stream_for_turn(&self, key: &Key) -> Option<u64> {
        let free = self.streams.iter().filter(|(_, stream)| stream.turns.len() < stream.room.turns);
        let order = |stream: &Stream| (!stream.warm.contains_key(key), stream.turns.len());
        free.min_by_key(|(_, stream)| order(stream)).map(|(id, _)| *id)
    }

    pub(crate) fn stream_for_task(&self) -> Option<u64> {
        let free = self.streams.iter().filter(|(_, stream)| stream.tasks.len() < stream.room.tasks);
        free.min_by_key(|(_, stream)| stream.tasks.len()).map(|(id, _)| *id)
    }
}
