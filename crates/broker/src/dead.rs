//! Dead letters: events that could not be delivered, with the reason, until a person decides.
//!
//! Head and body are stored apart, so that listing ten thousand does not read their events.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use archipel_model::{ServiceName, TopicName};
use archipel_storage::{Kv, StorageError, Tx};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::stored::{StoredError, read, write};

const HEADS: &str = "dead/head/";
const BODIES: &str = "dead/body/";

/// Of one dead letter; sorts by the time it died.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadId(Uuid);

impl DeadId {
    pub(crate) fn new() -> Self {
        Self(Uuid::now_v7())
    }

    pub(crate) fn number(self) -> u128 {
        self.0.as_u128()
    }

    pub(crate) fn from_number(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    fn head(self) -> String {
        format!("{HEADS}{}", self.0.simple())
    }

    fn body(self) -> String {
        format!("{BODIES}{}", self.0.simple())
    }
}

impl fmt::Display for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("dl_{}", self.0.simple()))
    }
}

impl fmt::Debug for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for DeadId {
    type Err = DeadError;

    fn from_str(text: &str) -> Result<Self, DeadError> {
        let id = text.strip_prefix("dl_").and_then(|hex| Uuid::try_parse(hex).ok());
        id.map(Self).ok_or_else(|| DeadError::NotAnId { text: text.to_owned() })
    }
}

impl Serialize for DeadId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeadId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why an event died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// The app said that it will never take it.
    Poison { status: Option<u16>, detail: String },
    /// Tried as often as the subscription allows.
    Attempts { status: Option<u16>, detail: String },
    /// Put off for a whole day.
    PutOff { status: Option<u16>, detail: String },
    /// From an outbox, for a topic that the service does not declare.
    UndeclaredTopic,
    /// From an outbox, and not what the topic's schema asks for.
    Schema { schema: String, detail: String },
    /// From an outbox, and not an event.
    Invalid { detail: String },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, status, detail) = match self {
            Self::Poison { status, detail } => ("refused for good", status, detail),
            Self::Attempts { status, detail } => ("every attempt failed", status, detail),
            Self::PutOff { status, detail } => ("put off for a day", status, detail),
            Self::UndeclaredTopic => return f.write_str("undeclared topic"),
            Self::Schema { schema, detail } => {
                return write!(f, "does not match the schema `{schema}`: {detail}");
            }
            Self::Invalid { detail } => return write!(f, "not an event: {detail}"),
        };
        f.write_str(what)?;
        if let Some(status) = status {
            write!(f, ", last with {status}")?;
        }
        match detail.as_str() {
            "" => Ok(()),
            detail => write!(f, ": {detail}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadState {
    Dead,
    /// A person asked for another delivery, which is under way.
    Replaying,
}

/// One dead letter without its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: DeadId,
    pub state: DeadState,
    /// As it was given; from an outbox it need not be the name of a topic.
    pub topic: String,
    /// Where it is in the topic, as long as the topic keeps it.
    pub seq: Option<u64>,
    /// `None`: it never got into a topic.
    pub subscriber: Option<ServiceName>,
    /// From whose outbox it came, when it never got into a topic.
    pub publisher: Option<ServiceName>,
    pub reason: Reason,
    pub attempts: u32,
    /// Milliseconds since 1970.
    pub first_ms: u64,
    pub last_ms: u64,
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    pub event_source: Option<String>,
    pub bytes: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Head {
    #[serde(rename = "1")]
    V1(DeadLetter),
}

/// Which dead letters are meant; an empty filter means all.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    pub topic: Option<String>,
    pub subscriber: Option<ServiceName>,
    pub after: Option<DeadId>,
    /// 0: a thousand.
    pub max: usize,
}

impl DeadFilter {
    fn matches(&self, dead: &DeadLetter) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == dead.topic)
            && self.subscriber.as_ref().is_none_or(|s| dead.subscriber.as_ref() == Some(s))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    #[error("`{text}` is not the id of a dead letter; they look like `dl_0197…`")]
    NotAnId { text: String },
    #[error("there is no dead letter `{id}`; `archipel events dead` lists them")]
    Unknown { id: DeadId },
    #[error("the dead letter `{id}` is being delivered again; wait for the result")]
    Replaying { id: DeadId },
    #[error("nobody can take the dead letter `{id}` now: {reason}")]
    NoTaker { id: DeadId, reason: String },
    #[error("the dead letters could not be read or changed")]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error("the broker is stopping")]
    Closing,
}

/// Letters that have one limit: of a subscription, or (`None`) all that never got into a topic.
pub(crate) type Group = Option<(ServiceName, String)>;

pub(crate) fn group(dead: &DeadLetter) -> Group {
    dead.subscriber.clone().map(|service| (service, dead.topic.clone()))
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub count: u64,
    pub bytes: u64,
    /// Removed because there were too many, since Archipel started.
    pub dropped: u64,
}

/// How many there are per group, kept so that nobody has to count.
#[derive(Debug, Default)]
pub(crate) struct DeadCounts {
    groups: Mutex<BTreeMap<Group, Held>>,
    /// There may be too many.
    pub grown: Notify,
}

impl DeadCounts {
    pub(crate) fn add(&self, dead: &DeadLetter) {
        self.change(group(dead), |held| {
            held.count += 1;
            held.bytes += dead.bytes as u64;
        });
        self.grown.notify_one();
    }

    pub(crate) fn remove(&self, dead: &DeadLetter) {
        self.change(group(dead), |held| {
            held.count = held.count.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(dead.bytes as u64);
        });
    }

    /// True the first time.
    pub(crate) fn dropped(&self, group: &Group, count: u64) -> bool {
        let before = self.held(group).dropped;
        self.change(group.clone(), |held| held.dropped += count);
        before == 0 && count > 0
    }

    pub(crate) fn of(&self, subscriber: &ServiceName, topic: &TopicName) -> Held {
        self.held(&Some((subscriber.clone(), topic.to_string())))
    }

    /// Of events that never got into a topic.
    pub(crate) fn refused(&self) -> u64 {
        self.held(&None).count
    }

    pub(crate) fn groups(&self) -> Vec<(Group, Held)> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.iter().map(|(group, held)| (group.clone(), *held)).collect()
    }

    fn held(&self, group: &Group) -> Held {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get(group).copied().unwrap_or_default()
    }

    fn change(&self, group: Group, change: impl FnOnce(&mut Held)) {
        change(
            self.groups.lock().unwrap_or_else(PoisonError::into_inner).entry(group).or_default(),
        );
    }
}

pub(crate) fn put(tx: Tx, dead: &DeadLetter, event: Bytes) -> Tx {
    put_head(tx, dead).put(dead.id.body(), event)
}

pub(crate) fn put_head(tx: Tx, dead: &DeadLetter) -> Tx {
    tx.put(dead.id.head(), write(&Head::V1(dead.clone())))
}

pub(crate) fn delete(tx: Tx, id: DeadId) -> Tx {
    tx.delete(id.head()).delete(id.body())
}

pub(crate) async fn head(kv: &dyn Kv, id: DeadId) -> Result<Option<DeadLetter>, DeadError> {
    match kv.get(&id.head()).await? {
        None => Ok(None),
        Some(entry) => {
            let Head::V1(dead) = read(&id.head(), &entry.value)?;
            Ok(Some(dead))
        }
    }
}

pub(crate) async fn body(kv: &dyn Kv, id: DeadId) -> Result<Option<Bytes>, StorageError> {
    Ok(kv.get(&id.body()).await?.map(|entry| entry.value))
}

/// In the order they died.
pub(crate) async fn list(kv: &dyn Kv, filter: &DeadFilter) -> Result<Vec<DeadLetter>, DeadError> {
    let max = if filter.max == 0 { 1_000 } else { filter.max };
    let mut after = filter.after.map(DeadId::head);
    let mut found = Vec::new();
    loop {
        let page = kv.list(HEADS, after.as_deref(), 1_000).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        for (key, entry) in &page {
            let Head::V1(dead) = read(key, &entry.value)?;
            if filter.matches(&dead) {
                found.push(dead);
            }
            if found.len() == max {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_version_are_read() {
        let Head::V1(dead) = read("k", include_bytes!("../test-data/dead-v1.json")).expect("reads");
        assert_eq!(dead.subscriber.as_ref().map(ServiceName::as_str), Some("cart"));
        assert_eq!(dead.reason.to_string(), "every attempt failed, last with 500: boom");
        let Head::V1(again) = read("k", &write(&Head::V1(dead.clone()))).expect("reads");
        assert_eq!(again, dead);
    }

    #[test]
    fn an_id_reads_back() {
        let id = DeadId::new();
        assert_eq!(id.to_string().parse::<DeadId>().expect("an id"), id);
        assert_eq!(DeadId::from_number(id.number()), id);
        for bad in ["", "dl_", "0197", "dl_xyz"] {
            assert!(bad.parse::<DeadId>().is_err(), "{bad}");
        }
    }
}
