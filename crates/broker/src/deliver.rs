//! The seam to the apps.

use std::time::Duration;

use archipel_model::{ServiceName, TopicName};
use async_trait::async_trait;
use bytes::Bytes;

/// One event on its way to one service; any of its instances may take it.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub service: ServiceName,
    /// Where the subscription wants it posted.
    pub path: String,
    pub topic: TopicName,
    /// 1 for the first.
    pub attempt: u32,
    /// The CloudEvent in JSON.
    pub event: Bytes,
    /// The event's own, to continue its trace.
    pub traceparent: Option<String>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Http {
        status: u16,
        /// As much of it as is worth reading; 64 KiB is plenty.
        body: Bytes,
        retry_after: Option<Duration>,
    },
    /// The service has no instance that is ready: nothing was sent.
    NoInstance,
    /// Sent, or tried, and no answer came.
    Failed { reason: String },
}

/// One question to a service's outbox.
#[derive(Debug, Clone)]
pub struct Pull {
    pub service: ServiceName,
    pub path: String,
    pub after: u64,
    pub limit: u32,
    /// How long the service may wait for the first row.
    pub wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    #[error("no instance is ready")]
    NoInstance,
    /// Asked again with a smaller limit.
    #[error("the answer is over {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{reason}")]
    Failed { reason: String },
}

/// How events reach apps and outboxes are read; `api` implements it over HTTP.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Sends the event once. Dropped before it returns, the app may or may not have it.
    async fn deliver(&self, delivery: Delivery) -> Answer;

    /// The body of a 200.
    async fn pull_outbox(&self, pull: Pull) -> Result<Bytes, PullError>;
}
