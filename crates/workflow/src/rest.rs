//! Instances that wait for long let go of their histories; the store has them.
//!
//! What an instance waits for is derived from its history and stays in memory, and so does the
//! event that it began with. The rest is read again when something happens to it. So memory is
//! bounded by what is at work and by how much is waited for, not by how long the histories are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use dapr_durabletask_proto::HistoryEvent;
use dapr_durabletask_proto::history_event::EventType;
use tokio::sync::Notify;

use crate::engine::Shared;
use crate::instance::Instance;
use crate::key::Key;
use crate::load;
use crate::state::State;

/// Turns whose instances may keep their histories although nothing happens to them.
const KEPT_MAX: usize = 16_384;
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Who may rest soon, and who is to be woken.
#[derive(Debug)]
pub(crate) struct Rests {
    after: Duration,
    /// Since when, and how long its history was then: it has had no turn as long as that is so.
    idle: VecDeque<(clock::Instant, Key, u64, usize)>,
    wanted: VecDeque<(Key, u64)>,
    pub changed: Arc<Notify>,
}

impl Rests {
    pub(crate) fn new(after: Duration) -> Self {
        let (idle, wanted) = (VecDeque::new(), VecDeque::new());
        Self { after, idle, wanted, changed: Arc::default() }
    }

    /// Everything up to there is durable.
    pub(crate) fn idle(&mut self, key: Key, incarnation: u64, events: usize) {
        self.idle.push_back((clock::now(), key, incarnation, events));
    }

    pub(crate) fn wake(&mut self, key: &Key, incarnation: u64) {
        self.wanted.push_back((key.clone(), incarnation));
        self.changed.notify_one();
    }
}

impl Instance {
    pub(crate) fn is_idle(&self) -> bool {
        let nothing_to_do = self.inbox.is_empty() && self.turn.is_none() && !self.queued;
        nothing_to_do && self.completed.is_none() && !self.history.is_empty()
    }

    /// Keeps what it began with, without the payload, and what is derived.
    pub(crate) fn rest(&mut self) {
        let is_start =
            |event: &HistoryEvent| matches!(event.event_type, Some(EventType::ExecutionStarted(_)));
        let Some(start) = self.history.iter().position(is_start) else { return };
        // Elsewhere: shrunk in place it would leave a hole in which the next history does not fit.
        let kept: Vec<_> = self.history.drain(..=start).collect();
        self.history = kept;
        if let Some(EventType::ExecutionStarted(start)) = &mut self.history[start].event_type {
            start.input = None;
        }
        self.resting = true;
        // A map or a line that was in use once keeps its room although nothing is in it.
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new();
        }
        if self.tasks.is_empty() {
            self.tasks = BTreeMap::new();
        }
        if self.timers.is_empty() {
            self.timers = BTreeMap::new();
        }
        if self.open_children.is_empty() {
            self.open_children = BTreeMap::new();
        }
    }
}

impl State {
    /// Sends to rest who has been idle for long, and the longest of too many.
    pub(crate) fn rest_idle(&mut self) {
        let now = clock::now();
        while let Some((since, ..)) = self.rests.idle.front()
            && (now >= *since + self.rests.after || self.rests.idle.len() > KEPT_MAX)
            && let Some((_, key, incarnation, events)) = self.rests.idle.pop_front()
        {
            if let Some(instance) = self.active.get_mut(&key)
                && instance.incarnation == incarnation
                && instance.history.len() == events
                && instance.is_idle()
            {
                instance.rest();
            }
        }
    }

    fn wake(&mut self, key: &Key, incarnation: u64, history: Vec<HistoryEvent>) {
        if let Some(instance) = self.active.get_mut(key)
            && instance.incarnation == incarnation
            && instance.resting
        {
            instance.history = history;
            (instance.resting, instance.queued) = (false, false);
            self.line_up(key);
        }
    }
}

/// Reads the histories of those that are to go on.
pub(crate) async fn run(shared: &Shared, stop: &CancellationToken) {
    let changed = Arc::clone(&shared.lock().rests.changed);
    loop {
        let next = shared.lock().rests.wanted.pop_front();
        let pause = match next {
            None => Duration::MAX,
            Some((key, incarnation)) => match load::history(&*shared.kv, &key, incarnation).await {
                Ok(history) => {
                    shared.lock().wake(&key, incarnation, history);
                    continue;
                }
                Err(error) => {
                    let error = archipel_rt::chain(&error);
                    tracing::warn!(instance = %key, error, "a history cannot be read");
                    shared.lock().rests.wake(&key, incarnation);
                    AFTER_ERROR
                }
            },
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = changed.notified(), if pause > AFTER_ERROR => {}
            () = clock::sleep(pause), if pause <= AFTER_ERROR => {}
        }
    }
}
