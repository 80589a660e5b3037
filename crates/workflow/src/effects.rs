//! What happens once a change is durable.

use std::sync::Arc;

use dapr_durabletask_proto::WorkflowState;

use crate::instance;
use crate::key::Key;
use crate::state::{Effect, State};
use crate::stored;

impl State {
    pub(crate) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Show(key, incarnation, state) => self.show(&key, incarnation, state),
                Effect::Forget(key, incarnation) => self.forget(&key, incarnation),
                Effect::Recorded(key) => self.is_recorded(&key),
                Effect::Task(id) => self.offer(id),
                Effect::Dispatch(app) => self.dispatch(&app),
                Effect::Idle(key, incarnation, events) => self.rests.idle(key, incarnation, events),
                Effect::Chores => self.chores.notify_one(),
            }
        }
        self.rest_idle();
    }

    /// Or gone; but its name may be another's by now, which has no record.
    fn is_recorded(&mut self, key: &Key) {
        if !self.active.get(key).is_some_and(|instance| instance.unrecorded) {
            self.unrecorded.remove(&stored::instance_key(key));
        }
    }

    /// Who waits for its end asks now, and finds it among the recent ones.
    fn forget(&mut self, key: &Key, incarnation: u64) {
        let shown = self.shown.remove(key);
        let Some(old) = self.active.get(key).filter(|old| old.incarnation == incarnation) else {
            return;
        };
        if self.watchers.contains_key(key)
            && let Some((_, shown)) = shown.filter(|(of, _)| *of == incarnation)
        {
            let mut state = WorkflowState::clone(&shown);
            instance::payloads(&mut state, old.history.iter());
            self.recent.put(key.clone(), state);
        }
        self.active.remove(key);
    }

    fn show(&mut self, key: &Key, incarnation: u64, state: Option<Box<WorkflowState>>) {
        self.recent.remove(key);
        // What was on its way when it was handed over is another's by now.
        match state.filter(|_| self.mine(key)) {
            Some(state) => drop(self.shown.insert(key.clone(), (incarnation, Arc::from(state)))),
            None => {
                self.shown.remove(key);
                self.is_recorded(key);
            }
        }
        if let Some(watcher) = self.watchers.get(key)
            && watcher.send(()).is_err()
        {
            self.watchers.remove(key);
        }
    }
}
