//! Making safe what is settled: acknowledgements, dead letters, replays that succeeded.
//!
//! One write at a time, so that an older state never follows a newer one. What a write would
//! have made safe stays on the list until it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use archipel_rt::clock;
use archipel_storage::{KvError, Tx};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::sending::moment;
use super::{BURIAL_BYTES_MAX, FLUSH_PAUSE, Loop, state_key};
use crate::cursor::{Slot, Step};
use crate::dead::{self, DeadId, DeadLetter, DeadState, Reason};
use crate::event::Envelope;
use crate::stored::Tries;
use crate::topic::STORAGE_PAUSE;
use crate::verdict::{Failure, Verdict};

pub(super) struct Burial {
    slot: Slot,
    dead: DeadLetter,
    /// `None` for one that was buried before.
    event: Option<Bytes>,
}

/// What one write makes safe.
#[derive(Default)]
pub(super) struct Flush {
    floor: u64,
    pub(super) burials: Vec<Burial>,
    /// Replayed dead letters that were taken.
    taken: Vec<DeadLetter>,
    pub(super) rewound: Option<oneshot::Sender<()>>,
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

impl Loop {
    pub(super) fn answered(&mut self, slot: Slot, verdict: Verdict, event: Bytes) {
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

    pub(super) fn flush(&mut self) {
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

    pub(super) fn flushed(
        &mut self,
        end: Result<(Flush, Result<(), KvError>), tokio::task::JoinError>,
    ) {
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

    /// The end of patience: what is in flight will come again.
    pub(super) async fn finish_at_once(mut self) {
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
