//! One order under way, without a world: what is asked of others, what is to be recorded, when
//! to look again.
//!
//! The machine decides what becomes of an order by one input; this keeps what lies between two
//! inputs: the request that is under way (at most one), what is not recorded yet, facts that
//! came too early. It is the state of the workflow `order`, and does the same whenever it is
//! told the same at the same moments: that is what a replay does.
//!
//! *Written ahead*: a request carries what has to be recorded before it is made. So the row is
//! never behind what the order has asked for, and a step costs one activity, not two.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use store_kit::Timestamp;

use crate::machine::{
    Action, Answer, Circumstances, Effect, Input, Policy, Saga, Status, Step, Verdict, step,
};

/// What is heard too early waits; more of it than there are kinds of facts is not kept.
const EARLY_MAX: usize = 16;
/// After a recording that failed.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// One transition, as it is recorded: in the row, in the log and in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub version: u32,
    pub from: Status,
    pub to: Status,
    pub why: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

/// What an activity is given: what to record first, and what to ask then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Grows with every change that can be seen from outside. A record of an older one, or of
    /// the same one again, changes nothing.
    pub revision: u32,
    pub saga: Saga,
    pub entries: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// Something that is heard, numbered by who passes it on. An order hears its numbers in order;
/// what it has heard already it does not hear again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    pub seq: i64,
    pub input: Input,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conductor {
    order: String,
    /// Of the moment in which the order was taken: the code of a workflow may not change its
    /// mind when it is replayed.
    policy: Policy,
    saga: Saga,
    revision: u32,
    /// Up to here the row is certain to be.
    recorded: u32,
    entries: Vec<Entry>,
    early: Vec<Input>,
    heard: i64,
    /// By the clock of the workflow, which is not the one of who started it.
    begun: bool,
    asked: Option<Asked>,
    recording: Option<Recorded>,
    record_not_before: Option<Timestamp>,
}

/// A request that is under way, and what is recorded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    action: Action,
    carries: Recorded,
}

/// How far the row is once something was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Recorded {
    revision: u32,
    version: u32,
}

impl Conductor {
    /// Takes up an order where its row stands.
    pub fn new(order: String, saga: Saga, revision: u32, policy: Policy) -> Self {
        Self {
            order,
            policy,
            saga,
            revision,
            recorded: revision,
            entries: Vec::new(),
            early: Vec::new(),
            heard: 0,
            begun: false,
            asked: None,
            recording: None,
            record_not_before: None,
        }
    }

    pub fn saga(&self) -> &Saga {
        &self.saga
    }

    /// Nothing is under way: what others were asked would not come back to a successor.
    pub fn is_idle(&self) -> bool {
        self.asked.is_none() && self.recording.is_none()
    }

    pub fn is_done(&self) -> bool {
        self.saga.status.is_final() && self.recorded == self.revision && self.is_idle()
    }

    /// What to do now: at most one request and one recording, each to be answered.
    pub fn next(&mut self, now: Timestamp) -> Vec<Work> {
        if !self.begun {
            self.begun = true;
            self.saga.take_up(now, &self.policy);
        }
        let mut work = Vec::new();
        while self.asked.is_none() && self.saga.next_run_at.is_some_and(|due| due <= now) {
            let before = self.saga.clone();
            let step = self.meet(&Input::Due, now);
            if let Some(action) = step.call {
                self.asked = Some(Asked { action, carries: self.carries() });
                work.push(self.work(Some(action)));
            } else if self.saga == before {
                break;
            }
        }
        let carried = self.asked.map_or(0, |asked| asked.carries.revision).max(self.recorded);
        let may = self.record_not_before.is_none_or(|at| at <= now);
        if self.recording.is_none() && self.revision > carried && may {
            (self.recording, self.record_not_before) = (Some(self.carries()), None);
            work.push(self.work(None));
        }
        work
    }

    /// When to call [`Self::next`] although nothing happened.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let due = self.saga.next_run_at.filter(|_| self.asked.is_none());
        due.into_iter().chain(self.record_not_before).min()
    }

    /// The request came to an end. `None`: nobody knows how; not even whether it was recorded.
    pub fn answered(&mut self, answer: Option<Answer>, now: Timestamp) {
        let Some(asked) = self.asked.take() else { return };
        if answer.is_some() {
            self.is_recorded(asked.carries);
        }
        // What we hear of a step that the order has left is of yesterday: whatever it was, the
        // step it is in now finds out.
        if asked.carries.version == self.saga.version {
            let answer = answer.unwrap_or(Answer::Silent(None));
            self.meet(&Input::Reply(asked.action, answer), now);
            self.hear_early(now);
        }
    }

    pub fn recording_ended(&mut self, good: bool, now: Timestamp) {
        let Some(carried) = self.recording.take() else { return };
        if good {
            self.is_recorded(carried);
        } else {
            self.record_not_before = Some(now + RECORD_AGAIN);
        }
    }

    pub fn hear(&mut self, signal: &Signal, now: Timestamp) {
        if signal.seq <= self.heard {
            return;
        }
        self.heard = signal.seq;
        self.take(signal.input.clone(), now);
        self.hear_early(now);
    }

    fn take(&mut self, input: Input, now: Timestamp) {
        let step = self.meet(&input, now);
        if matches!(step.verdict, Verdict::NotYet(_)) && self.early.len() < EARLY_MAX {
            self.early.push(input);
        }
    }

    /// Each transition may be what an early fact waited for.
    fn hear_early(&mut self, now: Timestamp) {
        loop {
            let (version, early) = (self.saga.version, std::mem::take(&mut self.early));
            early.into_iter().for_each(|input| self.take(input, now));
            if self.saga.version == version {
                return;
            }
        }
    }

    fn meet(&mut self, input: &Input, now: Timestamp) -> Step {
        let random = spread(&self.order, self.saga.version, self.saga.attempt);
        let before = seen(&self.saga);
        let made = step(&self.saga, input, Circumstances { now, random, policy: &self.policy });
        if seen(&made.saga) != before {
            self.revision += 1;
        }
        let first = self.saga.version + 1;
        let entries = (first..).zip(&made.moves).map(|(version, made)| Entry {
            version,
            from: made.from,
            to: made.to,
            why: made.why.clone(),
            effects: Vec::new(),
        });
        self.entries.extend(entries);
        // The machine tells the world of transitions only.
        if let Some(last) = self.entries.last_mut().filter(|_| !made.moves.is_empty()) {
            last.effects.extend(&made.effects);
        }
        self.saga = made.saga.clone();
        made
    }

    fn work(&self, action: Option<Action>) -> Work {
        let (saga, entries) = (self.saga.clone(), self.entries.clone());
        Work { revision: self.revision, saga, entries, action }
    }

    fn carries(&self) -> Recorded {
        Recorded { revision: self.revision, version: self.saga.version }
    }

    fn is_recorded(&mut self, so_far: Recorded) {
        self.recorded = self.recorded.max(so_far.revision);
        self.entries.retain(|entry| entry.version > so_far.version);
    }
}

/// What can be seen of a saga from outside; the rest is between the order and itself.
fn seen(saga: &Saga) -> Saga {
    Saga {
        next_run_at: None,
        deadline: None,
        attempt: 0,
        generation: 0,
        looking: false,
        hold_extended: false,
        ..saga.clone()
    }
}

/// In 0..1, from what a replay knows too.
fn spread(order: &str, version: u32, attempt: u32) -> f64 {
    let seed = order.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut x = seed ^ (u64::from(version) << 32 | u64::from(attempt));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
