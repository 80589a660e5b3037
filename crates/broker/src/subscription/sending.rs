//! Sending events and taking what became of them.

use std::sync::Arc;

use archipel_rt::clock;
use archipel_storage::{ReadLimit, Seq, StorageError};
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Loop, Wiring};
use crate::backoff::Roll;
use crate::cursor::{Moment, Slot};
use crate::dead::{self, DeadId};
use crate::deliver::{Answer, Delivery};
use crate::event::Envelope;
use crate::topic::Topic;
use crate::verdict::{Verdict, judge};

/// How one delivery ended.
pub(super) struct Sent {
    slot: Slot,
    outcome: Outcome,
}

pub(super) enum Outcome {
    Answered {
        answer: Answer,
        event: Bytes,
    },
    /// Retention has removed it.
    Gone,
    /// It came with a time to live, which is over.
    Expired,
    Unread(StorageError),
}

impl Loop {
    pub(super) fn send(&mut self) {
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
                    Ok(Some(event)) => deliver(&wiring, delivery, slot, event).await,
                    Ok(None) => Outcome::Gone,
                    Err(error) => Outcome::Unread(error),
                };
                Sent { slot, outcome }
            });
            self.slots.insert(task.id(), slot);
        }
    }

    pub(super) fn delivered(
        &mut self,
        end: Result<(tokio::task::Id, Sent), tokio::task::JoinError>,
    ) {
        let sent = match end {
            Ok((id, sent)) => {
                self.slots.remove(&id);
                sent
            }
            Err(error) => {
                // A bug of ours is no fault of the event: it is tried again and not counted.
                let Some(slot) = self.slots.remove(&error.id()) else { return };
                tracing::error!(
                    service = %self.spec.service, topic = %self.spec.topic, ?slot, %error,
                    "a delivery broke off inside Archipel"
                );
                self.cursor.answered(slot, Verdict::Unavailable, moment());
                return;
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
            Outcome::Expired => {
                self.cursor.gone(slot);
                self.expired += 1;
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
}

pub(super) fn moment() -> Moment {
    Moment { now: clock::now(), wall_ms: clock::wall_ms(), roll: Roll::draw() }
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

async fn deliver(wiring: &Wiring, delivery: Delivery, slot: Slot, event: Bytes) -> Outcome {
    let envelope = Envelope::parse(&event).unwrap_or_default();
    // A dead letter is delivered again because a person says so, however old it is.
    if matches!(slot, Slot::Log(_)) && has_expired(&envelope) {
        return Outcome::Expired;
    }
    let traceparent = envelope.text("traceparent").map(|text| text.into_owned());
    let delivery = Delivery { event: event.clone(), traceparent, ..delivery };
    let limit = wiring.delivery_timeout;
    let answer = clock::timeout(limit, wiring.deliver.deliver(delivery)).await;
    let late = || Answer::Failed { reason: format!("no answer within {} s", limit.as_secs()) };
    Outcome::Answered { answer: answer.unwrap_or_else(|_| late()), event }
}

/// By the attribute that a publisher's time to live becomes.
fn has_expired(envelope: &Envelope<'_>) -> bool {
    let Some(text) = envelope.text("expiration") else { return false };
    OffsetDateTime::parse(&text, &Rfc3339).is_ok_and(|at| at < OffsetDateTime::from(clock::wall()))
}
