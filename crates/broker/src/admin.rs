//! What people ask of topics, subscriptions and dead letters, and what they order.

use std::sync::Arc;

use archipel_model::{ServiceName, TopicName};
use archipel_rt::clock;
use archipel_storage::{KvError, ReadLimit, Seq, Tx};
use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::broker::{Broker, BrokerError, Inner, Running};
use crate::dead::{self, DeadError, DeadFilter, DeadId, DeadLetter, DeadState};
use crate::event::Envelope;
use crate::subscription::{Command, Handle};
use crate::topic::{Tail, Topic};
use crate::view::{EventView, OutboxView, ReplayFrom, SubscriberView, TopicView};

/// Of one answer to [`Broker::read`].
const READ_BYTES_MAX: u64 = 8 << 20;
const READ_MAX: usize = 10_000;

impl Broker {
    /// All topics with their subscribers, in name order.
    pub fn topics(&self) -> Vec<TopicView> {
        let running = self.inner.running.load();
        running.topics.values().map(|topic| self.topic_view(&running, topic)).collect()
    }

    fn topic_view(&self, running: &Running, topic: &Topic) -> TopicView {
        let bounds = topic.bounds();
        let spec = running.topology.topics.get(&topic.name);
        let handles = running.subscriptions.values().filter(|s| s.spec.topic == topic.name);
        TopicView {
            name: topic.name.clone(),
            publisher: spec.and_then(|spec| spec.publisher.clone()),
            first: bounds.first,
            next: bounds.next,
            count: bounds.len(),
            bytes: bounds.bytes,
            retain_ms: spec.map_or(0, |s| u64::try_from(s.retain.as_millis()).unwrap_or(u64::MAX)),
            subscribers: handles.map(|handle| self.subscriber_view(handle, bounds.next)).collect(),
        }
    }

    fn subscriber_view(&self, handle: &Handle, next: Seq) -> SubscriberView {
        let stats = *handle.stats.borrow();
        let dead = self.inner.dead.of(&handle.spec.service, &handle.spec.topic);
        let now = clock::wall_ms();
        SubscriberView {
            service: handle.spec.service.clone(),
            path: handle.spec.how.path.clone(),
            state: stats.state,
            cursor: Seq(stats.floor),
            lag: next.0.saturating_sub(stats.high) + stats.open as u64,
            oldest_unsettled_ms: stats.counts.oldest_ms.map(|at| now.saturating_sub(at)),
            in_flight: stats.counts.in_flight,
            waiting: stats.counts.waiting,
            parked_keys: stats.counts.parked_keys,
            dead: dead.count,
            dead_dropped: dead.dropped,
            delivered: stats.delivered,
            failed_attempts: stats.failed,
            expired: stats.expired,
            lost: stats.lost,
        }
    }

    /// The outboxes that are pulled, in name order.
    pub fn outboxes(&self) -> Vec<OutboxView> {
        let running = self.inner.running.load();
        let view = |(service, handle): (&ServiceName, &Arc<crate::outbox_loop::OutboxHandle>)| {
            let stats = handle.stats.borrow().clone();
            OutboxView {
                service: service.clone(),
                path: handle.spec.path.clone(),
                cursor: stats.cursor,
                pulled: stats.pulled,
                problem: stats.problem,
            }
        };
        running.outboxes.iter().map(view).collect()
    }

    /// Dead letters whose event never got into a topic.
    pub fn refused_events(&self) -> u64 {
        self.inner.dead.refused()
    }

    /// Events of a topic from one position on.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`]; otherwise the store failed.
    pub async fn read(
        &self,
        topic: &TopicName,
        from: Seq,
        max: usize,
    ) -> Result<Vec<EventView>, BrokerError> {
        let limit = ReadLimit { records: max.min(READ_MAX), bytes: READ_BYTES_MAX };
        let events = self.topic(topic)?.log.read(from, limit).await?;
        let events = events.into_iter().filter_map(|event| {
            // What is stored was JSON when it came in.
            let json: Box<RawValue> = serde_json::from_slice(&event.bytes).ok()?;
            Some(EventView { seq: event.seq, at_ms: event.at_ms, event: json })
        });
        Ok(events.collect())
    }

    /// Where a topic's events of this time begin.
    ///
    /// # Errors
    /// As [`Broker::read`].
    pub async fn seek(&self, topic: &TopicName, from: ReplayFrom) -> Result<Seq, BrokerError> {
        match from {
            ReplayFrom::Seq(seq) => Ok(seq),
            ReplayFrom::TimeMs(at_ms) => Ok(self.topic(topic)?.log.seek(at_ms).await?),
        }
    }

    /// Follows a topic; `None` begins with the next event to come.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`].
    pub fn tail(&self, topic: &TopicName, from: Option<Seq>) -> Result<Tail, BrokerError> {
        let topic = self.topic(topic)?;
        let from = from.unwrap_or_else(|| topic.bounds().next);
        Ok(Tail::new(Arc::clone(&topic.log), from))
    }

    /// Delivers a topic's events to one subscriber once more, from a position or time on.
    /// Returns where it begins. What is in flight is waited for first.
    ///
    /// # Errors
    /// [`BrokerError::NotSubscribed`] when there is no such subscription.
    pub async fn replay(
        &self,
        topic: &TopicName,
        subscriber: &ServiceName,
        from: ReplayFrom,
    ) -> Result<Seq, BrokerError> {
        let bounds = self.topic(topic)?.bounds();
        let to = self.seek(topic, from).await?.clamp(bounds.first, bounds.next);
        let handle = self.subscription(subscriber, topic)?;
        let (answer, answered) = oneshot::channel();
        let sent = handle.commands.send(Command::Rewind { to, answer }).await;
        sent.map_err(|_| BrokerError::Closing)?;
        answered.await.map_err(|_| BrokerError::Closing)?;
        tracing::info!(%topic, %subscriber, from = to.0, "events are delivered again");
        Ok(to)
    }

    /// Tells the broker that a service has an instance that is ready, so that nothing waits for
    /// the next time it would have looked.
    pub fn service_ready(&self, service: &ServiceName) {
        let running = self.inner.running.load();
        for handle in running.subscriptions.values().filter(|s| s.spec.service == *service) {
            // A full queue is busy anyway, and looks again by itself.
            let _ = handle.commands.try_send(Command::Hurry);
        }
        if let Some(outbox) = running.outboxes.get(service) {
            outbox.hurry.notify_one();
        }
    }

    /// Dead letters in the order they died, without their events.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, DeadError> {
        dead::list(&*self.inner.kv, filter).await
    }

    /// One dead letter with its event.
    ///
    /// # Errors
    /// [`DeadError::Unknown`].
    pub async fn dead_letter(&self, id: DeadId) -> Result<(DeadLetter, Bytes), DeadError> {
        let head = dead::head(&*self.inner.kv, id).await?.ok_or(DeadError::Unknown { id })?;
        let body = dead::body(&*self.inner.kv, id).await?.ok_or(DeadError::Unknown { id })?;
        Ok((head, body))
    }

    /// Delivers dead letters again, each to the subscriber it died for; one that never got into
    /// its topic is published to it. The result of each stands at its place.
    pub async fn replay_dead(&self, ids: &[DeadId]) -> Vec<(DeadId, Result<(), DeadError>)> {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            results.push((*id, self.replay_one(*id).await));
        }
        results
    }

    async fn replay_one(&self, id: DeadId) -> Result<(), DeadError> {
        let kept = self.inner.letters.lock().await;
        let (mut head, event) = self.dead_letter(id).await?;
        if head.state == DeadState::Replaying {
            return Err(DeadError::Replaying { id });
        }
        let no_taker = |reason: String| DeadError::NoTaker { id, reason };
        let topic = TopicName::new(&head.topic).map_err(|e| no_taker(e.to_string()))?;
        let Some(subscriber) = head.subscriber.clone() else {
            return self.publish_refused(&topic, &head, &event).await;
        };
        let handle = self.subscription(&subscriber, &topic).map_err(|e| no_taker(e.to_string()))?;
        head.state = DeadState::Replaying;
        self.commit(dead::put_head(Tx::new(), &head)).await?;
        // The loop may be busy for long, and the letter is marked.
        drop(kept);
        let command = Command::Inject { dead: Box::new(head), event };
        // If the loop has ended, the next one finds the letter marked, and delivers it.
        handle.commands.send(command).await.map_err(|_| DeadError::Closing)
    }

    /// What an outbox sent for a topic that was not declared then.
    async fn publish_refused(
        &self,
        topic: &TopicName,
        head: &DeadLetter,
        event: &Bytes,
    ) -> Result<(), DeadError> {
        let id = head.id;
        let no_taker = |reason: String| DeadError::NoTaker { id, reason };
        let running = self.inner.running.load_full();
        let declared = head.publisher.as_ref().is_some_and(|publisher| {
            running.topology.outboxes.get(publisher).is_some_and(|o| o.publishes.contains(topic))
        });
        let found = running.topics.get(topic).filter(|_| declared);
        let found = found.ok_or_else(|| {
            no_taker(format!("its service still does not declare that it publishes `{topic}`"))
        })?;
        let envelope = Envelope::parse(event).map_err(|e| no_taker(e.to_string()))?;
        found.publish(envelope, true).await.map_err(|e| {
            let cause = std::error::Error::source(&e).map(|c| format!(": {c}"));
            no_taker(format!("{e}{}", cause.unwrap_or_default()))
        })?;
        self.commit(dead::delete(Tx::new(), id)).await?;
        self.inner.dead.remove(head);
        Ok(())
    }

    /// Removes dead letters for good. The result of each stands at its place.
    pub async fn discard_dead(&self, ids: &[DeadId]) -> Vec<(DeadId, Result<(), DeadError>)> {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            results.push((*id, self.discard_one(*id).await));
        }
        results
    }

    async fn discard_one(&self, id: DeadId) -> Result<(), DeadError> {
        let _kept = self.inner.letters.lock().await;
        let head = dead::head(&*self.inner.kv, id).await?.ok_or(DeadError::Unknown { id })?;
        let topic = TopicName::new(&head.topic).ok();
        let taker = head.subscriber.as_ref().zip(topic.as_ref());
        // One that nobody replays, because its subscription has gone, can be discarded.
        let alive = taker.is_some_and(|(service, topic)| self.subscription(service, topic).is_ok());
        if head.state == DeadState::Replaying && alive {
            return Err(DeadError::Replaying { id });
        }
        self.commit(dead::delete(Tx::new(), id)).await?;
        self.inner.dead.remove(&head);
        Ok(())
    }

    async fn commit(&self, tx: Tx) -> Result<(), DeadError> {
        self.inner.commit_dead(tx).await
    }

    fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, BrokerError> {
        let running = self.inner.running.load();
        running.topics.get(name).cloned().ok_or_else(|| BrokerError::UnknownTopic(name.clone()))
    }

    fn subscription(
        &self,
        service: &ServiceName,
        topic: &TopicName,
    ) -> Result<Arc<Handle>, BrokerError> {
        let running = self.inner.running.load();
        let found = running.subscriptions.get(&(service.clone(), topic.clone())).cloned();
        found.ok_or_else(|| BrokerError::NotSubscribed {
            service: service.clone(),
            topic: topic.clone(),
        })
    }
}

impl Inner {
    pub(crate) async fn commit_dead(&self, tx: Tx) -> Result<(), DeadError> {
        match self.kv.commit(tx).await {
            Ok(_) => Ok(()),
            Err(KvError::Storage(error)) => Err(error.into()),
            Err(KvError::Conflict { .. }) => unreachable!("nothing was expected"),
        }
    }
}
