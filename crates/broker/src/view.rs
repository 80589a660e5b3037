//! What people see of topics and subscriptions.

use archipel_model::{ServiceName, TopicName};
use archipel_storage::Seq;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Debug, Clone, Serialize)]
pub struct TopicView {
    pub name: TopicName,
    pub publisher: Option<ServiceName>,
    /// The first event that is still there, and the one that comes next.
    pub first: Seq,
    pub next: Seq,
    pub count: u64,
    pub bytes: u64,
    pub retain_ms: u64,
    pub subscribers: Vec<SubscriberView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubscriberState {
    /// Takes events as they come.
    Flowing,
    /// Everything is delivered.
    Idle,
    /// Its service has no instance that is ready.
    Absent,
    /// The service asked for a pause, or all that is left waits for another try.
    Waiting,
    /// So much is unsettled that nothing more is read: look at the parked keys.
    Full,
    /// The store cannot be read or written; it goes on by itself.
    StorageFailed,
}

#[derive(Debug, Clone, Serialize)]
pub struct SubscriberView {
    pub service: ServiceName,
    pub path: String,
    pub state: SubscriberState,
    /// Everything before this is settled.
    pub cursor: Seq,
    /// Events that are not settled.
    pub lag: u64,
    /// Age of the oldest of them that was read.
    pub oldest_unsettled_ms: Option<u64>,
    pub in_flight: usize,
    /// Waiting for another try.
    pub waiting: usize,
    /// Keys that wait, and hold back later events of theirs.
    pub parked_keys: usize,
    pub dead: u64,
    /// Dead letters that were removed because there were too many, since Archipel started.
    pub dead_dropped: u64,
    /// Since Archipel started.
    pub delivered: u64,
    pub failed_attempts: u64,
    /// Not delivered because their time to live was over, since Archipel started.
    pub expired: u64,
    /// Events that retention removed before they were delivered, since Archipel started.
    pub lost: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct OutboxView {
    pub service: ServiceName,
    pub path: String,
    pub cursor: u64,
    pub pulled: u64,
    /// What went wrong the last time, if the last time did.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct EventView {
    pub seq: Seq,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub event: Box<RawValue>,
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayFrom {
    Seq(Seq),
    /// The first event published at this time or later.
    TimeMs(u64),
}
