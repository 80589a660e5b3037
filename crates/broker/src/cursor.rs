//! Where one subscription is in its topic, and what to do next: the pure part.
//!
//! It holds an entry for every event that was read and is not settled. What is below `high`
//! (read) and has no entry is settled; so the stored form is `high` and the open ones, however
//! far out of order acknowledgements come.
//!
//! With an order key, the events that agree on it form a lane: only its first one is delivered,
//! the others are blocked until it is settled. An event without a key is in no lane.
//!
//! It does not await, read clocks or draw random numbers, and it never sees an event's body.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use archipel_model::Backoff;
use archipel_rt::clock::Instant;

use crate::backoff::{Roll, delay};
use crate::event::OrderKey;
use crate::stored::{OpenV1, SubscriptionV1, Tries};
use crate::verdict::{Failure, Verdict};

/// Entries held at most. Only blocked lanes and long pauses fill it; then reading stops, so one
/// stuck key costs some kilobytes and not the topic.
const ENTRIES_MAX: usize = 10_000;
/// Records in one read.
const READ_MAX: usize = 256;
/// How long an event may be put off with "not yet" or "busy" before it becomes a dead letter.
const DEFERRED_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// "Not yet" mostly means milliseconds, so the pause stays short enough for a person to watch.
const NOT_YET_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often a service without an instance is asked again.
const ABSENT: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(2) };

/// What is delivered: an event of the topic, or a dead letter once more. Dead letters come
/// first: a person has asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    Again(u128),
    Log(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub concurrency: usize,
    pub backoff: Backoff,
    pub attempts_max: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Another event of its key comes first.
    Blocked,
    Ready,
    InFlight,
    Waiting(Instant),
    /// Given up; its dead letter is being written.
    Burying,
}

#[derive(Debug)]
struct Entry {
    key: Option<OrderKey>,
    /// When it was published.
    at_ms: u64,
    state: State,
    tries: Tries,
}

/// An event that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub seq: u64,
    pub key: Option<OrderKey>,
    pub at_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Settled,
    /// The app did not want it.
    Dropped,
    Retry,
    /// Write the dead letter, then call [`Cursor::buried`].
    Bury {
        failure: Failure,
        tries: Tries,
    },
}

/// The moment and the luck that a decision needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub now: Instant,
    pub wall_ms: u64,
    pub roll: Roll,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub in_flight: usize,
    pub waiting: usize,
    /// Keys whose first event waits for another try.
    pub parked_keys: usize,
    /// Of the oldest event that is not settled.
    pub oldest_ms: Option<u64>,
}

/// The whole subscription pauses, because its service is away or asked for it.
#[derive(Debug, Default)]
struct Hold {
    until: Option<Instant>,
    /// In a row.
    absences: u32,
    /// After a pause one event goes first, to see how it is taken.
    probing: bool,
}

#[derive(Debug)]
pub(crate) struct Cursor {
    policy: Policy,
    /// The next event to read.
    high: u64,
    entries: BTreeMap<Slot, Entry>,
    /// Open since an earlier run and not read again yet; all are below `high`.
    restored: BTreeMap<u64, Tries>,
    lanes: HashMap<OrderKey, VecDeque<Slot>>,
    ready: BTreeSet<Slot>,
    waiting: BTreeSet<(Instant, Slot)>,
    in_flight: usize,
    hold: Hold,
}

impl Cursor {
    pub(crate) fn new(policy: Policy, stored: SubscriptionV1) -> Self {
        let below = stored.open.into_iter().filter(|open| open.seq < stored.high);
        Self {
            policy,
            high: stored.high.max(1),
            entries: BTreeMap::new(),
            restored: below.map(|open| (open.seq, open.tries)).collect(),
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            in_flight: 0,
            hold: Hold::default(),
        }
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// What to read next: from where, and how many records at most. `None` while enough is at
    /// hand.
    pub(crate) fn wants(&self) -> Option<(u64, usize)> {
        let enough = (self.policy.concurrency * 2).max(16);
        if self.ready.len() >= enough || self.entries.len() >= ENTRIES_MAX {
            return None;
        }
        let max = READ_MAX.min(ENTRIES_MAX - self.entries.len());
        let Some((&first, _)) = self.restored.first_key_value() else {
            return Some((self.high, max));
        };
        // Only what is open is read again; what lies between was settled.
        let run = self.restored.keys().zip(first..).take_while(|(seq, expected)| *seq == expected);
        Some((first, run.take(max).count()))
    }

    /// Takes what a read from `from` gave, in order. Returns how many events were to be delivered
    /// and are not in the topic any more.
    pub(crate) fn arrived(&mut self, from: u64, arrivals: &[Arrival]) -> u64 {
        let mut lost = 0;
        for arrival in arrivals {
            if arrival.seq < self.high {
                // Open ones before it were truncated, or the read would have given them.
                lost += self.forget_restored(from..arrival.seq);
                if let Some(tries) = self.restored.remove(&arrival.seq) {
                    self.insert(Slot::Log(arrival.seq), arrival.key, arrival.at_ms, tries);
                }
            } else {
                lost += self.forget_restored(from..self.high);
                lost += arrival.seq - self.high;
                self.high = arrival.seq + 1;
                self.insert(Slot::Log(arrival.seq), arrival.key, arrival.at_ms, Tries::default());
            }
        }
        lost
    }

    /// Everything before `first` has been truncated. Returns how many events were lost by it.
    pub(crate) fn truncated(&mut self, first: u64) -> u64 {
        let lost = self.forget_restored(0..first) + first.saturating_sub(self.high);
        self.high = self.high.max(first);
        lost
    }

    fn forget_restored(&mut self, range: std::ops::Range<u64>) -> u64 {
        let gone: Vec<u64> = self.restored.range(range).map(|(seq, _)| *seq).collect();
        gone.iter().filter(|seq| self.restored.remove(seq).is_some()).count() as u64
    }

    /// A dead letter to deliver again. Its tries begin anew.
    pub(crate) fn inject(&mut self, id: u128, key: Option<OrderKey>, at_ms: u64) {
        if !self.entries.contains_key(&Slot::Again(id)) {
            self.insert(Slot::Again(id), key, at_ms, Tries::default());
        }
    }

    fn insert(&mut self, slot: Slot, key: Option<OrderKey>, at_ms: u64, tries: Tries) {
        let first = key.is_none_or(|key| {
            let lane = self.lanes.entry(key).or_default();
            lane.push_back(slot);
            lane.len() == 1
        });
        let state = if first { State::Ready } else { State::Blocked };
        if first {
            self.ready.insert(slot);
        }
        self.entries.insert(slot, Entry { key, at_ms, state, tries });
    }

    /// The next event to send, with the number of this attempt. Call until `None`.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(Slot, u32)> {
        if self.hold.until.is_some_and(|until| until > now) {
            return None;
        }
        let limit = if self.hold.probing { 1 } else { self.policy.concurrency.max(1) };
        if self.in_flight >= limit {
            return None;
        }
        let slot = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&slot)?;
        entry.state = State::InFlight;
        self.in_flight += 1;
        Some((slot, (entry.tries.attempts + entry.tries.deferred).saturating_add(1)))
    }

    /// Takes the verdict on an event that is in flight.
    pub(crate) fn answered(&mut self, slot: Slot, verdict: Verdict, moment: Moment) -> Step {
        self.in_flight -= 1;
        let policy = self.policy;
        let entry = self.entries.get_mut(&slot).expect("what is in flight has an entry");
        if verdict == Verdict::Unavailable {
            entry.state = State::Ready;
            self.ready.insert(slot);
            // Only the first of those in flight together makes the pause longer.
            if self.hold.until.is_none_or(|until| until <= moment.now) {
                self.hold.absences = self.hold.absences.saturating_add(1);
                self.hold.probing = true;
                let pause = delay(ABSENT, self.hold.absences, moment.roll).max(ABSENT.min / 2);
                self.hold.until = Some(moment.now + pause);
            }
            return Step::Retry;
        }
        self.hold.absences = 0;
        self.hold.probing = false;
        if entry.tries.first_ms == 0 {
            entry.tries.first_ms = moment.wall_ms;
        }
        let age = Duration::from_millis(moment.wall_ms.saturating_sub(entry.tries.first_ms));
        let (failure, pause) = match verdict {
            Verdict::Done => {
                self.settle(slot);
                return Step::Settled;
            }
            Verdict::Drop => {
                self.settle(slot);
                return Step::Dropped;
            }
            Verdict::Unavailable => unreachable!("handled above"),
            Verdict::Poison(failure) => {
                entry.tries.attempts += 1;
                (failure, None)
            }
            Verdict::Retry(failure) => {
                entry.tries.attempts += 1;
                let again = entry.tries.attempts < policy.attempts_max.max(1);
                let pause = delay(policy.backoff, entry.tries.attempts, moment.roll);
                (failure, again.then_some(pause))
            }
            Verdict::NotYet(failure) => {
                entry.tries.deferred += 1;
                let max = policy.backoff.max.min(NOT_YET_PAUSE_MAX);
                let backoff = Backoff { max, ..policy.backoff };
                let pause = delay(backoff, entry.tries.deferred, moment.roll);
                (failure, (age < DEFERRED_MAX).then_some(pause))
            }
            Verdict::Busy(failure, pause) => {
                entry.tries.deferred += 1;
                self.hold.probing = true;
                let until = moment.now + pause;
                self.hold.until = Some(self.hold.until.map_or(until, |old| old.max(until)));
                (failure, (age < DEFERRED_MAX).then_some(pause))
            }
        };
        match pause {
            Some(pause) => {
                let until = moment.now + pause;
                entry.state = State::Waiting(until);
                self.waiting.insert((until, slot));
                Step::Retry
            }
            None => {
                entry.state = State::Burying;
                Step::Bury { failure, tries: entry.tries }
            }
        }
    }

    /// The event is not in the topic any more, or can never be sent: it is settled unsent.
    pub(crate) fn gone(&mut self, slot: Slot) {
        self.in_flight -= 1;
        self.settle(slot);
    }

    /// The dead letter is safe.
    pub(crate) fn buried(&mut self, slot: Slot) {
        self.settle(slot);
    }

    fn settle(&mut self, slot: Slot) {
        let Some(entry) = self.entries.remove(&slot) else { return };
        let Some(key) = entry.key else { return };
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        debug_assert_eq!(lane.front(), Some(&slot), "only the first of a lane is delivered");
        lane.pop_front();
        match lane.front() {
            None => drop(self.lanes.remove(&key)),
            Some(next) => {
                self.ready.insert(*next);
                if let Some(entry) = self.entries.get_mut(next) {
                    entry.state = State::Ready;
                }
            }
        }
    }

    /// When something will have to be done that no answer and no new event brings about.
    pub(crate) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let held = self.hold.until.filter(|_| !self.ready.is_empty());
        waiting.into_iter().chain(held).min()
    }

    /// Makes ready what has waited long enough.
    pub(crate) fn wake(&mut self, now: Instant) {
        if self.hold.until.is_some_and(|until| until <= now) {
            self.hold.until = None;
        }
        while let Some(&(at, slot)) = self.waiting.first()
            && at <= now
        {
            self.waiting.pop_first();
            if let Some(entry) = self.entries.get_mut(&slot) {
                entry.state = State::Ready;
                self.ready.insert(slot);
            }
        }
    }

    /// Ends the pause: the service is there again.
    pub(crate) fn hurry(&mut self) {
        self.hold.until = None;
    }

    /// Nothing is in flight or on its way to the dead letters.
    pub(crate) fn is_still(&self) -> bool {
        self.in_flight == 0 && !self.entries.values().any(|entry| entry.state == State::Burying)
    }

    /// Delivers everything from `to` on once more. Only when still.
    pub(crate) fn rewind(&mut self, to: u64) {
        let mut state = self.snapshot(&BTreeSet::new());
        state.open.retain(|open| open.seq < to);
        state.high = to;
        self.restart(state);
    }

    /// Reads everything open again, as after a restart; dead letters have to be injected anew.
    /// Only when still.
    pub(crate) fn reread(&mut self) {
        self.restart(self.snapshot(&BTreeSet::new()));
    }

    fn restart(&mut self, state: SubscriptionV1) {
        let kept = std::mem::take(&mut self.entries);
        *self = Self::new(self.policy, state);
        for (slot, entry) in kept {
            if let Slot::Again(_) = slot {
                self.insert(slot, entry.key, entry.at_ms, entry.tries);
            }
        }
    }

    /// What to store, as if `settled` were settled already.
    pub(crate) fn snapshot(&self, settled: &BTreeSet<Slot>) -> SubscriptionV1 {
        let restored = self.restored.iter().map(|(&seq, &tries)| OpenV1 { seq, tries });
        let entries = self.entries.iter().filter(|(slot, _)| !settled.contains(slot));
        let held = entries.filter_map(|(slot, entry)| match *slot {
            Slot::Log(seq) => Some(OpenV1 { seq, tries: entry.tries }),
            Slot::Again(_) => None,
        });
        let mut open: Vec<_> = restored.chain(held).collect();
        open.sort_unstable_by_key(|open| open.seq);
        SubscriptionV1 { high: self.high, open }
    }

    /// Everything before this is settled.
    pub(crate) fn floor(&self) -> u64 {
        let held = self.entries.range(Slot::Log(0)..).next().map(|(slot, _)| match slot {
            Slot::Log(seq) => *seq,
            Slot::Again(_) => u64::MAX,
        });
        let restored = self.restored.keys().next().copied();
        held.into_iter().chain(restored).min().unwrap_or(self.high).min(self.high)
    }

    pub(crate) fn high(&self) -> u64 {
        self.high
    }

    /// Read and not settled.
    pub(crate) fn open(&self) -> usize {
        self.entries.len() + self.restored.len()
    }

    pub(crate) fn absences(&self) -> u32 {
        self.hold.absences
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES_MAX
    }

    pub(crate) fn counts(&self) -> Counts {
        let keyed = |(_, slot): &&(Instant, Slot)| {
            self.entries.get(slot).is_some_and(|entry| entry.key.is_some())
        };
        Counts {
            in_flight: self.in_flight,
            waiting: self.waiting.len(),
            parked_keys: self.waiting.iter().filter(keyed).count(),
            oldest_ms: self.entries.range(Slot::Log(0)..).next().map(|(_, entry)| entry.at_ms),
        }
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
