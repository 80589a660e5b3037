//! One topic: a log, and the way into it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use archipel_model::TopicName;
use archipel_storage::{Bounds, Log, ReadLimit, Record, Retry, Seq, StorageError, Stored};
use tokio::sync::watch;

use crate::contract::Contract;
use crate::event::{Envelope, EventError};

/// One read for a person or a program that follows a topic.
const TAIL_READ: ReadLimit = ReadLimit { records: 500, bytes: 4 << 20 };

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the application has no topic `{topic}`{}", .similar.as_ref().map(|s| format!("; did you mean `{s}`?")).unwrap_or_default())]
    UnknownTopic { topic: String, similar: Option<TopicName> },
    #[error("the event for `{topic}` was not taken")]
    Event {
        topic: TopicName,
        #[source]
        source: EventError,
    },
    #[error("the event for `{topic}` could not be stored")]
    Storage {
        topic: TopicName,
        #[source]
        source: StorageError,
    },
    #[error("the broker is stopping")]
    Closing,
}

impl PublishError {
    pub fn retry(&self) -> Retry {
        match self {
            Self::UnknownTopic { .. } | Self::Event { .. } => Retry::Never,
            Self::Storage { source, .. } => source.retry(),
            Self::Closing => Retry::Safe,
        }
    }
}

/// One event to publish. `topic` and `pubsubname` are set on it if they are not there.
#[derive(Debug)]
pub struct PublishRequest<'a> {
    pub topic: TopicName,
    pub event: Envelope<'a>,
    /// An event with the same source and id as one of the topic's last ones is the same event,
    /// and not stored again: for publishers that repeat what may have happened.
    pub once: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub seq: Seq,
    /// False when it was there already.
    pub fresh: bool,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub name: TopicName,
    pub log: Arc<dyn Log>,
    /// Changes with the manifest, while publishers hold the topic.
    pub contract: ArcSwapOption<Contract>,
}

impl Topic {
    /// Stores the events that can be taken, in their order and in one write, and says of each
    /// other one why not.
    pub(crate) async fn publish_all(
        &self,
        events: Vec<(Envelope<'_>, bool)>,
    ) -> Result<Vec<Result<(), EventError>>, PublishError> {
        let contract = self.contract.load_full();
        let (mut records, mut results) = (Vec::new(), Vec::new());
        for (event, once) in events {
            let record = record(&self.name, contract.as_deref(), event, once);
            results.push(record.map(|record| records.push(record)));
        }
        if !records.is_empty() {
            let appended = self.log.append(records).await;
            appended
                .map_err(|source| PublishError::Storage { topic: self.name.clone(), source })?;
        }
        Ok(results)
    }

    pub(crate) async fn publish(
        &self,
        event: Envelope<'_>,
        once: bool,
    ) -> Result<Published, PublishError> {
        let contract = self.contract.load_full();
        let record = record(&self.name, contract.as_deref(), event, once)
            .map_err(|source| PublishError::Event { topic: self.name.clone(), source })?;
        let appended = self.log.append(vec![record]).await;
        let appended = appended
            .map_err(|source| PublishError::Storage { topic: self.name.clone(), source })?;
        Ok(Published { seq: appended.seqs[0], fresh: appended.fresh > 0 })
    }

    pub(crate) fn bounds(&self) -> Bounds {
        *self.log.bounds().borrow()
    }
}

/// Checks an event and makes it what is stored.
pub(crate) fn record(
    topic: &TopicName,
    contract: Option<&Contract>,
    mut event: Envelope<'_>,
    once: bool,
) -> Result<Record, EventError> {
    event.check()?;
    if let Some(contract) = contract {
        contract.check(&event)?;
    }
    let key = once.then(|| event.identity());
    event.set_text("topic", topic.as_str());
    if !event.contains("pubsubname") {
        event.set_text("pubsubname", "pubsub");
    }
    Ok(Record { key, bytes: event.to_bytes()? })
}

/// Follows a topic from one position on.
#[derive(Debug)]
pub struct Tail {
    log: Arc<dyn Log>,
    bounds: watch::Receiver<Bounds>,
    next: Seq,
}

impl Tail {
    pub(crate) fn new(log: Arc<dyn Log>, from: Seq) -> Self {
        Self { bounds: log.bounds(), log, next: from }
    }

    /// The next events, at least one; waits for them. `None` when the store has closed. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// When reading fails; the next call tries again.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, StorageError> {
        loop {
            let events = self.log.read(self.next, TAIL_READ).await?;
            if let Some(last) = events.last() {
                self.next = last.seq.next();
                return Ok(Some(events));
            }
            let next = self.next;
            if self.bounds.wait_for(|bounds| bounds.next > next).await.is_err() {
                return Ok(None);
            }
        }
    }
}

/// How long storage gets to recover before it is asked again.
pub(crate) const STORAGE_PAUSE: Duration = Duration::from_millis(500);
