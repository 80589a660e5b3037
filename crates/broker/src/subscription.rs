//! The loop of one subscription: reads ahead a little, delivers, keeps the cursor safe.
//!
//! All decisions are the cursor's; this performs them. What has a bound here: the events read
//! ahead (by bytes), deliveries at once (by the subscription's concurrency), one read and one
//! write under way. Acknowledgements are stored together and a moment later: nobody waits for
//! them, and after a crash an event comes once more at worst.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use archipel_model::Subscription;
use archipel_rt::clock::{self, Instant};
use archipel_rt::{CancellationToken, Receiver, Sender, channel};
use archipel_storage::{Kv, KvError, ReadLimit, Seq, StorageError, Stored, Tx};
use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::backoff::Roll;
use crate::cursor::{Arrival, Counts, Cursor, Moment, Policy, Slot, Step};
use crate::dead::{self, DeadCounts, DeadId, DeadLetter, DeadState, Reason};
use crate::deliver::{Answer, Deliver, Delivery};
use crate::event::{Envelope, OrderKey};
use crate::stored::{SubscriptionV1, Tries};
use crate::topic::{STORAGE_PAUSE, Topic};
use crate::topology::SubscriptionSpec;
use crate::verdict::{Failure, Verdict, judge};
use crate::view::SubscriberState;

/// Events held ready to be sent. More are read again when their turn comes.
const HELD_BYTES_MAX: u64 = 1 << 20;
/// Between two writes of the cursor.
const FLUSH_PAUSE: Duration = Duration::from_millis(50);
/// Dead letters that wait to be written, before nothing more is sent.
const BURIALS_MAX: usize = 64;
/// Of dead letters in one write.
const BURIAL_BYTES_MAX: usize = 8 << 20;
const COMMANDS_MAX: usize = 64;

#[derive(Debug)]
pub(crate) enum Command {
    Reconfigure(Subscription),
    /// Deliver a dead letter again; its head says so already.
    Inject {
        dead: Box<DeadLetter>,
        event: Bytes,
    },
    /// Deliver everything from here on once more; answered when that is safe.
    Rewind {
        to: Seq,
        answer: oneshot::Sender<()>,
    },
    /// The service is there again.
    Hurry,
}

/// What all loops need.
pub(crate) struct Wiring {
    pub kv: Arc<dyn Kv>,
    pub deliver: Arc<dyn Deliver>,
    pub dead: Arc<DeadCounts>,
    pub delivery_timeout: Duration,
}

/// A moment's numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stats {
    pub state: SubscriberState,
    /// Settled and safe: retention may remove what is before.
    pub stored_floor: u64,
    pub floor: u64,
    pub high: u64,
    pub open: usize,
    pub counts: Counts,
    pub delivered: u64,
    pub failed: u64,
    pub lost: u64,
}

#[derive(Debug)]
pub(crate) struct Handle {
    pub spec: SubscriptionSpec,
    pub commands: Sender<Command>,
    pub stats: watch::Receiver<Stats>,
    pub stop: CancellationToken,
    /// Breaks off what is under way.
    pub cut: CancellationToken,
    pub ended: CancellationToken,
}

pub(crate) fn state_key(spec: &SubscriptionSpec) -> String {
    format!("sub/{}/{}", spec.service, spec.topic)
}

/// How one delivery ended.
struct Sent {
    slot: Slot,
    outcome: Outcome,
}

enum Outcome {
    Answered {
        answer: Answer,
        event: Bytes,
    },
    /// Retention has removed it.
    Gone,
    Unread(StorageError),
}

/// A change that has to wait until nothing is in flight.
enum Change {
    Rewind { to: Seq, answer: oneshot::Sender<()> },
    Reread,
}

struct Burial {
    slot: Slot,
    dead: DeadLetter,
    /// `None` for one that was buried before.
    event: Option<Bytes>,
}

/// What one write makes safe.
#[derive(Default)]
struct Flush {
    floor: u64,
    burials: Vec<Burial>,
    /// Replayed dead letters that were taken.
    taken: Vec<DeadLetter>,
    rewound: Option<oneshot::Sender<()>>,
}

impl Flush {
    /// What does not fit in one transaction with the others.
    fn split_off_excess(&mut self) -> Vec<Burial> {
        let mut bytes = 0;
        let fits = self.burials.iter().take_while(|burial| {
            bytes += burial.dead.bytes;
            bytes <= BURIAL_BYTES_MAX
        });
        let fits = fits.count().max(1).min(self.burials.len());
        self.burials.split_off(fits)
    }
}

pub(crate) struct Loop {
    spec: SubscriptionSpec,
    topic: Arc<Topic>,
    wiring: Arc<Wiring>,
    cursor: Cursor,
    commands: Receiver<Command>,
    stats: watch::Sender<Stats>,
    stop: CancellationToken,
    cut: CancellationToken,
    ended: CancellationToken,

    held: HashMap<u64, Bytes>,
    held_bytes: u64,
    replaying: BTreeMap<u128, DeadLetter>,
    changes: Vec<Change>,

    deliveries: JoinSet<Sent>,
    slots: HashMap<tokio::task::Id, Slot>,
    reads: JoinSet<(u64, Result<Vec<Stored>, StorageError>)>,
    flushes: JoinSet<(Flush, Result<(), KvError>)>,
    /// What the next write will take along.
    next: Flush,
    dirty: bool,
    flush_at: Instant,
    /// After a failed read.
    read_at: Option<Instant>,
    storage_failed: bool,
    stopping: bool,

    stored_floor: u64,
    delivered: u64,
    failed: u64,
    lost: u64,
}

impl Loop {
    pub(crate) fn new(
        spec: SubscriptionSpec,
        topic: Arc<Topic>,
        wiring: Arc<Wiring>,
        state: SubscriptionV1,
        replaying: Vec<(DeadLetter, Bytes)>,
        stop: &CancellationToken,
        cut: &CancellationToken,
    ) -> (Self, Handle) {
        let (sender, commands) = channel("broker.subscription", COMMANDS_MAX);
        let cursor = Cursor::new(policy(&spec.how), state);
        let stored_floor = cursor.floor();
        let stats = Stats {
            state: SubscriberState::Idle,
            stored_floor,
            floor: stored_floor,
            high: cursor.high(),
            open: cursor.open(),
            counts: Counts::default(),
            delivered: 0,
            failed: 0,
            lost: 0,
        };
        let (stats, stats_receiver) = watch::channel(stats);
        let handle = Handle {
            spec: spec.clone(),
            commands: sender,
            stats: stats_receiver,
            stop: stop.child_token(),
            cut: cut.child_token(),
            ended: CancellationToken::new(),
        };
        let now = clock::now();
        let mut this = Self {
            spec,
            topic,
            wiring,
            cursor,
            commands,
            stats,
            stop: handle.stop.clone(),
            cut: handle.cut.clone(),
            ended: handle.ended.clone(),
            held: HashMap::new(),
            held_bytes: 0,
            replaying: BTreeMap::new(),
            changes: Vec::new(),
            deliveries: JoinSet::new(),
            slots: HashMap::new(),
            reads: JoinSet::new(),
            flushes: JoinSet::new(),
            next: Flush::default(),
            dirty: false,
            flush_at: now,
            read_at: None,
            storage_failed: false,
            stopping: false,
            stored_floor,
            delivered: 0,
            failed: 0,
            lost: 0,
        };
        for (dead, event) in replaying {
            this.inject(dead, &event);
        }
        (this, handle)
    }

    pub(crate) async fn run(mut self) {
        let _ended = self.ended.clone().drop_guard();
        let mut bounds = self.topic.log.bounds();
        loop {
            self.act();
            if self.stopping && self.deliveries.is_empty() && self.flushes.is_empty() && !self.dirty
            {
                return;
            }
            let due = self.due();
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return self.finish_at_once().await,
                () = self.stop.cancelled(), if !self.stopping => self.stopping = true,
                Some(end) = self.deliveries.join_next_with_id() => self.delivered(end),
                Some(end) = self.flushes.join_next() => self.flushed(end),
                Some(end) = self.reads.join_next() => self.arrived(end),
                () = clock::sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {
                    let now = clock::now();
                    self.cursor.wake(now);
                    self.read_at = self.read_at.filter(|at| *at > now);
                }
                command = self.commands.recv(), if !self.stopping => match command {
                    Some(command) => self.command(command),
                    None => self.stopping = true,
                },
                changed = bounds.changed(), if self.is_hungry() => {
                    // The store has closed: what is left here is to end.
                    self.stopping |= changed.is_err();
                }
            }
        }
    }

    /// Everything that can be done now.
    fn act(&mut self) {
        if !self.changes.is_empty() && self.cursor.is_still() && self.reads.is_empty() {
            self.change();
        }
        if !self.stopping && self.changes.is_empty() {
            if self.next.burials.len() < BURIALS_MAX {
                self.send();
            }
            self.read();
        }
        self.flush();
        self.show();
    }

    fn due(&self) -> Option<Instant> {
        let wake = self.cursor.due().filter(|_| !self.stopping && self.changes.is_empty());
        let flush = (self.dirty && self.flushes.is_empty()).then_some(self.flush_at);
        wake.into_iter().chain(flush).chain(self.read_at).min()
    }

    /// More events would be read if there were any.
    fn is_hungry(&self) -> bool {
        !self.stopping && self.reads.is_empty() && self.cursor.wants().is_some()
    }

    fn send(&mut self) {
        while let Some((slot, attempt)) = self.cursor.next(clock::now()) {
            let held = match slot {
                Slot::Log(seq) => self.held.remove(&seq),
                Slot::Again(_) => None,
            };
            if let Some(held) = &held {
                self.held_bytes -= held.len() as u64;
            }
            let delivery = Delivery {
                service: self.spec.service.clone(),
                path: self.spec.how.path.clone(),
                topic: self.spec.topic.clone(),
                attempt,
                event: Bytes::new(),
                traceparent: None,
            };
            let (wiring, topic) = (Arc::clone(&self.wiring), Arc::clone(&self.topic));
            let task = self.deliveries.spawn(async move {
                let event = match held {
                    Some(event) => Ok(Some(event)),
                    None => fetch(&wiring, &topic, slot).await,
                };
                let outcome = match event {
                    Ok(Some(event)) => deliver(&wiring, delivery, event).await,
                    Ok(None) => Outcome::Gone,
                    Err(error) => Outcome::Unread(error),
                };
                Sent { slot, outcome }
            });
            self.slots.insert(task.id(), slot);
        }
    }

    fn delivered(&mut self, end: Result<(tokio::task::Id, Sent), tokio::task::JoinError>) {
        let sent = match end {
            Ok((id, sent)) => {
                self.slots.remove(&id);
                sent
            }
            Err(error) => {
                let Some(slot) = self.slots.remove(&error.id()) else { return };
                let reason = "the delivery broke off inside Archipel".to_owned();
                let answer = Answer::Failed { reason };
                Sent { slot, outcome: Outcome::Answered { answer, event: Bytes::new() } }
            }
        };
        let slot = sent.slot;
        self.dirty = true;
        match sent.outcome {
            Outcome::Answered { answer, event } => self.answered(slot, judge(answer), event),
            Outcome::Gone => {
                self.cursor.gone(slot);
                if let Slot::Again(id) = slot {
                    self.replaying.remove(&id);
                } else {
                    self.lost(1);
                }
            }
            Outcome::Unread(error) => {
                tracing::warn!(
                    service = %self.spec.service, topic = %self.spec.topic, %error,
                    "an event could not be read for delivery; it is tried again"
                );
                self.cursor.answered(slot, Verdict::Unavailable, moment());
            }
        }
    }

    fn answered(&mut self, slot: Slot, verdict: Verdict, event: Bytes) {
        let reason: fn(Failure) -> Reason = match &verdict {
            Verdict::Poison(_) => |f| Reason::Poison { status: f.status, detail: f.detail },
            Verdict::Retry(_) => |f| Reason::Attempts { status: f.status, detail: f.detail },
            _ => |f| Reason::PutOff { status: f.status, detail: f.detail },
        };
        if !matches!(verdict, Verdict::Done | Verdict::Drop | Verdict::Unavailable) {
            self.failed += 1;
            tracing::debug!(
                service = %self.spec.service, topic = %self.spec.topic, ?slot, ?verdict,
                "a delivery failed"
            );
        }
        match self.cursor.answered(slot, verdict, moment()) {
            Step::Retry => {}
            Step::Settled | Step::Dropped => {
                self.delivered += 1;
                if let Slot::Again(id) = slot
                    && let Some(dead) = self.replaying.remove(&id)
                {
                    self.next.taken.push(dead);
                }
            }
            Step::Bury { failure, tries } => {
                let burial = self.burial(slot, reason(failure), tries, event);
                tracing::warn!(
                    service = %self.spec.service, topic = %self.spec.topic,
                    dead = %burial.dead.id, event = burial.dead.event_id,
                    reason = %burial.dead.reason,
                    "an event goes to the dead letters"
                );
                self.next.burials.push(burial);
            }
        }
    }

    fn burial(&mut self, slot: Slot, reason: Reason, tries: Tries, event: Bytes) -> Burial {
        let last_ms = clock::wall_ms();
        let (attempts, state) = (tries.attempts + tries.deferred, DeadState::Dead);
        let (seq, again) = match slot {
            Slot::Log(seq) => (Some(seq), None),
            Slot::Again(id) => (None, self.replaying.remove(&id)),
        };
        if let Some(again) = again {
            let attempts = again.attempts.saturating_add(attempts);
            let dead = DeadLetter { state, reason, attempts, last_ms, ..again };
            return Burial { slot, dead, event: None };
        }
        let envelope = Envelope::parse(&event).unwrap_or_default();
        let text = |name| envelope.text(name).map(|text| text.into_owned());
        let dead = DeadLetter {
            id: DeadId::new(),
            state,
            topic: self.spec.topic.to_string(),
            seq,
            subscriber: Some(self.spec.service.clone()),
            publisher: None,
            reason,
            attempts,
            first_ms: tries.first_ms,
            last_ms,
            event_id: text("id"),
            event_type: text("type"),
            event_source: text("source"),
            bytes: event.len(),
        };
        Burial { slot, dead, event: Some(event) }
    }

    fn read(&mut self) {
        if !self.reads.is_empty() || self.read_at.is_some() {
            return;
        }
        let Some((from, records)) = self.cursor.wants() else { return };
        let bounds = self.topic.bounds();
        if from < bounds.first.0 {
            let lost = self.cursor.truncated(bounds.first.0);
            self.lost(lost);
            self.dirty = true;
            return self.read();
        }
        if from >= bounds.next.0 {
            return;
        }
        let log = Arc::clone(&self.topic.log);
        let limit = ReadLimit { records, bytes: HELD_BYTES_MAX };
        self.reads.spawn(async move { (from, log.read(Seq(from), limit).await) });
    }

    fn arrived(
        &mut self,
        end: Result<(u64, Result<Vec<Stored>, StorageError>), tokio::task::JoinError>,
    ) {
        let (from, events) = match end {
            Ok((from, Ok(events))) => (from, events),
            Ok((_, Err(error))) => return self.read_failed(&error),
            Err(error) => return self.read_failed(&error),
        };
        self.storage_failed = false;
        let ordered_by = self.spec.how.ordered_by.as_deref();
        let arrivals: Vec<Arrival> = events
            .iter()
            .map(|event| Arrival {
                seq: event.seq.0,
                key: key_of(&event.bytes, ordered_by),
                at_ms: event.at_ms,
            })
            .collect();
        let lost = self.cursor.arrived(from, &arrivals);
        self.lost(lost);
        for event in events {
            let bytes = event.bytes.len() as u64;
            if self.held_bytes + bytes <= HELD_BYTES_MAX {
                self.held_bytes += bytes;
                self.held.insert(event.seq.0, event.bytes);
            }
        }
    }

    fn read_failed(&mut self, error: &dyn std::error::Error) {
        self.read_at = Some(clock::now() + STORAGE_PAUSE);
        self.storage_trouble("read", error);
    }

    fn lost(&mut self, count: u64) {
        if count > 0 {
            self.lost += count;
            tracing::error!(
                service = %self.spec.service, topic = %self.spec.topic, count,
                "events were removed by retention before this subscriber had them"
            );
        }
    }

    fn storage_trouble(&mut self, what: &'static str, error: &dyn std::error::Error) {
        if !self.storage_failed {
            let cause = error.source().map(ToString::to_string);
            tracing::error!(
                service = %self.spec.service, topic = %self.spec.topic, what, %error, cause,
                "the event store failed; tried again until it works"
            );
        }
        self.storage_failed = true;
    }

    fn flush(&mut self) {
        let urgent = !self.next.burials.is_empty()
            || !self.next.taken.is_empty()
            || self.next.rewound.is_some()
            || self.stopping;
        let now = clock::now();
        let wait = self.flush_at > now && (!urgent || self.storage_failed);
        if !self.dirty || wait || !self.flushes.is_empty() {
            return;
        }
        self.dirty = false;
        self.flush_at = now + FLUSH_PAUSE;
        let mut flush = std::mem::take(&mut self.next);
        self.next.burials = flush.split_off_excess();
        self.dirty |= !self.next.burials.is_empty();
        let tx = self.transaction(&mut flush);
        let kv = Arc::clone(&self.wiring.kv);
        self.flushes.spawn(async move {
            let done = kv.commit(tx).await.map(drop);
            (flush, done)
        });
    }

    fn transaction(&self, flush: &mut Flush) -> Tx {
        let settled: BTreeSet<Slot> = flush.burials.iter().map(|burial| burial.slot).collect();
        let snapshot = self.cursor.snapshot(&settled);
        flush.floor = snapshot.open.first().map_or(snapshot.high, |open| open.seq);
        let mut tx = Tx::new().put(state_key(&self.spec), snapshot.write());
        for burial in &flush.burials {
            tx = match &burial.event {
                Some(event) => dead::put(tx, &burial.dead, event.clone()),
                None => dead::put_head(tx, &burial.dead),
            };
        }
        flush.taken.iter().fold(tx, |tx, taken| dead::delete(tx, taken.id))
    }

    fn flushed(&mut self, end: Result<(Flush, Result<(), KvError>), tokio::task::JoinError>) {
        match end {
            Ok((flush, Ok(()))) => {
                self.storage_failed = false;
                self.stored_floor = flush.floor;
                for burial in flush.burials {
                    self.cursor.buried(burial.slot);
                    if burial.event.is_some() {
                        self.wiring.dead.add(&burial.dead);
                    }
                    self.dirty = true;
                }
                flush.taken.iter().for_each(|taken| self.wiring.dead.remove(taken));
                if let Some(answer) = flush.rewound {
                    // Whoever asked may have gone.
                    let _ = answer.send(());
                }
            }
            Ok((flush, Err(error))) => {
                // What was to be safe is still to be made safe, in its order.
                let newer = std::mem::replace(&mut self.next, flush);
                self.next.burials.extend(newer.burials);
                self.next.taken.extend(newer.taken);
                self.next.rewound = newer.rewound.or(self.next.rewound.take());
                self.dirty = true;
                self.flush_at = clock::now() + STORAGE_PAUSE;
                self.storage_trouble("written", &error);
                // While stopping there is no time to wait for the disk.
                self.dirty &= !self.stopping;
            }
            Err(error) => self.storage_trouble("written", &error),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Reconfigure(how) => {
                let rekeyed = self.spec.how.ordered_by != how.ordered_by;
                self.spec.how = how;
                self.cursor.set_policy(policy(&self.spec.how));
                if rekeyed {
                    self.changes.push(Change::Reread);
                }
            }
            Command::Inject { dead, event } => self.inject(*dead, &event),
            Command::Rewind { to, answer } => self.changes.push(Change::Rewind { to, answer }),
            Command::Hurry => self.cursor.hurry(),
        }
    }

    fn inject(&mut self, dead: DeadLetter, event: &Bytes) {
        let key = key_of(event, self.spec.how.ordered_by.as_deref());
        self.cursor.inject(dead.id.number(), key, dead.first_ms);
        self.replaying.insert(dead.id.number(), dead);
    }

    fn change(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Rewind { to, answer } => {
                    self.cursor.rewind(to.0);
                    self.next.rewound = Some(answer);
                }
                Change::Reread => self.cursor.reread(),
            }
        }
        self.held.clear();
        self.held_bytes = 0;
        self.dirty = true;
    }

    fn show(&self) {
        let counts = self.cursor.counts();
        let (high, open) = (self.cursor.high(), self.cursor.open());
        let state = if self.storage_failed {
            SubscriberState::StorageFailed
        } else if self.cursor.absences() > 0 {
            SubscriberState::Absent
        } else if self.cursor.is_full() {
            SubscriberState::Full
        } else if open == 0 && high >= self.topic.bounds().next.0 {
            SubscriberState::Idle
        } else if counts.in_flight == 0 && counts.waiting > 0 {
            SubscriberState::Waiting
        } else {
            SubscriberState::Flowing
        };
        self.stats.send_replace(Stats {
            state,
            stored_floor: self.stored_floor,
            floor: self.cursor.floor(),
            high,
            open,
            counts,
            delivered: self.delivered,
            failed: self.failed,
            lost: self.lost,
        });
    }

    /// The end of patience: what is in flight will come again.
    async fn finish_at_once(mut self) {
        self.deliveries.shutdown().await;
        while let Some(end) = self.flushes.join_next().await {
            self.flushed(end);
        }
        while self.dirty || !self.next.burials.is_empty() || !self.next.taken.is_empty() {
            let mut flush = std::mem::take(&mut self.next);
            self.next.burials = flush.split_off_excess();
            self.dirty = false;
            let tx = self.transaction(&mut flush);
            flush.burials.iter().for_each(|burial| self.cursor.buried(burial.slot));
            if let Err(error) = self.wiring.kv.commit(tx).await {
                tracing::warn!(
                    service = %self.spec.service, topic = %self.spec.topic, %error,
                    "the last acknowledgements could not be stored; these events come again"
                );
                return;
            }
        }
    }
}

fn policy(how: &Subscription) -> Policy {
    Policy {
        concurrency: how.concurrency.max(1) as usize,
        backoff: how.backoff,
        attempts_max: how.attempts_max,
    }
}

fn moment() -> Moment {
    Moment { now: clock::now(), wall_ms: clock::wall_ms(), roll: Roll::draw() }
}

fn key_of(event: &[u8], ordered_by: Option<&str>) -> Option<OrderKey> {
    Envelope::parse(event).ok()?.order_key(ordered_by?)
}

async fn fetch(wiring: &Wiring, topic: &Topic, slot: Slot) -> Result<Option<Bytes>, StorageError> {
    match slot {
        Slot::Again(id) => dead::body(&*wiring.kv, DeadId::from_number(id)).await,
        Slot::Log(seq) => {
            let one = ReadLimit { records: 1, bytes: 1 };
            let found = topic.log.read(Seq(seq), one).await?.into_iter().next();
            Ok(found.filter(|event| event.seq == Seq(seq)).map(|event| event.bytes))
        }
    }
}

async fn deliver(wiring: &Wiring, delivery: Delivery, event: Bytes) -> Outcome {
    let traceparent = Envelope::parse(&event)
        .ok()
        .and_then(|envelope| envelope.text("traceparent").map(|text| text.into_owned()));
    let delivery = Delivery { event: event.clone(), traceparent, ..delivery };
    let limit = wiring.delivery_timeout;
    let answer = clock::timeout(limit, wiring.deliver.deliver(delivery)).await;
    let late = || Answer::Failed { reason: format!("no answer within {} s", limit.as_secs()) };
    Outcome::Answered { answer: answer.unwrap_or_else(|_| late()), event }
}
