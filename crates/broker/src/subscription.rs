//! The loop of one subscription: reads ahead a little, delivers, keeps the cursor safe.
//!
//! All decisions are the cursor's; this performs them. What has a bound here: the events read
//! ahead (by bytes), deliveries at once (by the subscription's concurrency), one read and one
//! write under way. Acknowledgements are stored together and a moment later: nobody waits for
//! them, and after a crash an event comes once more at worst.

mod sending;
mod settling;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use archipel_model::Subscription;
use archipel_rt::clock::{self, Instant};
use archipel_rt::{CancellationToken, Receiver, Sender, channel};
use archipel_storage::{Kv, KvError, ReadLimit, Seq, StorageError, Stored};
use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use self::sending::Sent;
use self::settling::Flush;
use crate::cursor::{Arrival, Counts, Cursor, Policy, Slot};
use crate::dead::{DeadCounts, DeadLetter};
use crate::deliver::Deliver;
use crate::event::{Envelope, OrderKey};
use crate::stored::SubscriptionV1;
use crate::topic::{STORAGE_PAUSE, Topic};
use crate::topology::SubscriptionSpec;
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
    pub expired: u64,
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

/// A change that has to wait until nothing is in flight.
enum Change {
    Rewind { to: Seq, answer: oneshot::Sender<()> },
    Reread,
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
    expired: u64,
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
            expired: 0,
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
            expired: 0,
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
            expired: self.expired,
            lost: self.lost,
        });
    }
}

fn policy(how: &Subscription) -> Policy {
    Policy {
        concurrency: how.concurrency.max(1) as usize,
        backoff: how.backoff,
        attempts_max: how.attempts_max,
    }
}

fn key_of(event: &[u8], ordered_by: Option<&str>) -> Option<OrderKey> {
    Envelope::parse(event).ok()?.order_key(ordered_by?)
}
