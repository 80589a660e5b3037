//! Workers come and go.

use std::sync::Arc;

use dapr_durabletask_proto::history_event::EventType;

use crate::noted::park;
use crate::pool::{Pool, Stream};
use crate::state::{State, Unit};

impl State {
    /// Ends the streams of all workers, and of those that come later.
    pub(crate) fn close(&mut self, unit: &mut Unit) {
        self.closed = true;
        let streams = |(app, pool): (&Arc<str>, &Pool)| {
            pool.streams.keys().map(|id| (Arc::clone(app), *id)).collect::<Vec<_>>()
        };
        for (app, stream) in self.pools.iter().flat_map(streams).collect::<Vec<_>>() {
            self.disconnect(&app, stream, unit);
        }
    }

    pub(crate) fn connect(&mut self, app: &Arc<str>, stream: Stream) -> u64 {
        self.next_stream += 1;
        if self.closed {
            return self.next_stream;
        }
        let pool = self.pools.entry(Arc::clone(app)).or_default();
        pool.streams.insert(self.next_stream, stream);
        self.stir();
        self.dispatch(app);
        self.next_stream
    }

    /// Takes back what the worker had; it is next in line.
    pub(crate) fn disconnect(&mut self, app: &Arc<str>, stream: u64, unit: &mut Unit) {
        let pool = self.pools.get_mut(app);
        let Some(gone) = pool.and_then(|pool| pool.streams.remove(&stream)) else { return };
        for key in &gone.turns {
            let Some(instance) = self.active.get_mut(key) else { continue };
            if instance.turn.take_if(|turn| turn.stream == stream).is_none() {
                continue;
            }
            instance.lost_turns += 1;
            if instance.lost_turns >= self.attempts_max {
                let times = instance.lost_turns;
                park(
                    instance,
                    format!("{times} workers in a row were lost on its next turn"),
                    unit,
                );
            } else if instance.wants_turn() {
                instance.queued = true;
                self.pools.entry(Arc::clone(app)).or_default().turns.push_front(key.clone());
            }
        }
        self.stir();
        for id in gone.tasks {
            if self.foreign_lost(app, &id, unit) {
                continue;
            }
            let Some(instance) = self.active.get_mut(&id.0).filter(|i| i.incarnation == id.1)
            else {
                continue;
            };
            let Some(task) = instance.tasks.get_mut(&id.2) else { continue };
            if task.running.take_if(|r| r.stream == stream).is_none() {
                continue;
            }
            if let Some(EventType::TaskScheduled(what)) = &task.scheduled.event_type {
                let pool = self.pools.entry(Arc::clone(app)).or_default();
                let next = pool.activity_gate.leave(&what.name, &id);
                pool.tasks.extend(next);
            }
            task.lost += 1;
            let times = task.lost;
            if times.is_multiple_of(self.attempts_max) {
                let why = format!("{times} workers in a row were lost on activity {}", id.2);
                park(instance, why, unit);
                continue;
            }
            self.pools.entry(Arc::clone(app)).or_default().tasks.push_front(id);
        }
        self.dispatch(app);
    }
}
