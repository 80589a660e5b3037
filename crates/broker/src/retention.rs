//! What may be removed from a topic: the pure part, and the loop that removes it.
//!
//! An event stays for the topic's `retain`, and longer while a subscriber has not settled it.
//! Only when the topic exceeds its budget of bytes does it lose events that somebody still
//! needs, and that is said aloud.

use std::sync::{Arc, Weak};

use archipel_rt::clock;
use archipel_storage::{Bounds, ReadLimit, Seq, StorageError};

use crate::broker::Inner;
use crate::topic::Topic;

/// Where a topic is to be cut, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub before: Seq,
    /// Events among them that some subscriber has not settled.
    pub unseen: u64,
}

/// `old`: the first event young enough to stay. `floor`: the first that a subscriber needs.
/// `fits`: the first from which on the rest is within the budget.
pub(crate) fn cut(bounds: Bounds, old: Seq, floor: Option<Seq>, fits: Seq) -> Option<Cut> {
    let by_age = floor.map_or(old, |floor| old.min(floor));
    let before = by_age.max(fits).min(bounds.next);
    let unseen = floor.map_or(0, |floor| before.0.saturating_sub(floor.0.max(bounds.first.0)));
    (before > bounds.first).then_some(Cut { before, unseen })
}

/// Runs until the broker is gone or stopping.
pub(crate) async fn run(broker: Weak<Inner>) {
    let needed = |b: Arc<Inner>| (b.stop_token(), b.config.retention_every, Arc::clone(&b.dead));
    let Some((stop, every, dead)) = broker.upgrade().map(needed) else { return };
    let mut due = clock::now() + every;
    loop {
        let clean = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = clock::sleep_until(due) => true,
            () = dead.grown.notified() => false,
        };
        let Some(broker) = broker.upgrade() else { return };
        if clean {
            broker.clean().await;
            due = clock::now() + every;
        }
        broker.limit_dead().await;
    }
}

impl Inner {
    /// Cuts every topic once.
    pub(crate) async fn clean(&self) {
        let running = self.running.load_full();
        for topic in running.topics.values() {
            if let Err(error) = self.clean_topic(topic).await {
                tracing::warn!(topic = %topic.name, %error, "old events could not be removed");
            }
        }
    }

    async fn clean_topic(&self, topic: &Topic) -> Result<(), StorageError> {
        let running = self.running.load_full();
        let Some(spec) = running.topology.topics.get(&topic.name) else { return Ok(()) };
        let bounds = topic.bounds();
        let retain_ms = u64::try_from(spec.retain.as_millis()).unwrap_or(u64::MAX);
        let old = topic.log.seek(clock::wall_ms().saturating_sub(retain_ms)).await?;
        let subscribers = running.subscriptions.values().filter(|s| s.spec.topic == topic.name);
        let floor = subscribers.map(|s| Seq(s.stats.borrow().stored_floor)).min();
        let fits = self.fits(topic, bounds).await?;
        let Some(cut) = cut(bounds, old, floor, fits) else { return Ok(()) };
        if cut.unseen > 0 {
            tracing::error!(
                topic = %topic.name, bytes = bounds.bytes, limit = self.config.topic_bytes_max,
                unseen = cut.unseen,
                "the topic is over its budget: events that a subscriber has not taken are removed"
            );
        }
        topic.log.truncate_before(cut.before).await
    }

    /// The first event from which on the topic is within its budget.
    async fn fits(&self, topic: &Topic, bounds: Bounds) -> Result<Seq, StorageError> {
        let mut over = bounds.bytes.saturating_sub(self.config.topic_bytes_max);
        let mut from = bounds.first;
        while over > 0 && from < bounds.next {
            let page = topic.log.read(from, ReadLimit { records: 1_000, bytes: 4 << 20 }).await?;
            let Some(last) = page.last() else { break };
            from = last.seq.next();
            for event in &page {
                over = over.saturating_sub(event.bytes.len() as u64);
                if over == 0 {
                    return Ok(event.seq.next());
                }
            }
        }
        Ok(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_subscriber_needs_stays_unless_the_budget_is_exceeded() {
        let bounds = Bounds { first: Seq(10), next: Seq(100), bytes: 0 };
        let check = |old, floor: Option<u64>, fits, expected: Option<(u64, u64)>| {
            let found = cut(bounds, Seq(old), floor.map(Seq), Seq(fits));
            assert_eq!(found.map(|c| (c.before.0, c.unseen)), expected, "{old} {floor:?} {fits}");
        };
        check(10, None, 10, None);
        check(40, None, 10, Some((40, 0)));
        check(40, Some(20), 10, Some((20, 0)));
        check(40, Some(10), 10, None);
        check(40, Some(60), 10, Some((40, 0)));
        check(40, Some(20), 30, Some((30, 10)));
        check(10, Some(100), 30, Some((30, 0)));
        check(100, Some(5), 100, Some((100, 90)));
    }
}
