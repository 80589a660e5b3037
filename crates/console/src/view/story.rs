//! The JSON of what is told across signals: all of one key, and groups of errors.

use serde::{Deserialize, Serialize};

use super::{DeadLetter, Event, LogLine, TraceSummary, Workflow};

/// `archipel find KEY --json`, `GET /v1/find?key=&since_ms=&until_ms=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// `archipel.found/1`
    pub schema: String,
    pub key: String,
    /// With a span or a line that names the key.
    pub traces: Vec<TraceSummary>,
    /// Lines that name it, and what went wrong in these traces.
    pub logs: Vec<LogLine>,
    pub events: Vec<Event>,
    /// Which of these events could not be delivered.
    pub dead: Vec<DeadLetter>,
    /// Whose id holds the key.
    #[serde(default)]
    pub workflows: Vec<Workflow>,
    /// There is more than was looked at.
    pub cut: bool,
}

impl Found {
    pub const SCHEMA: &str = "archipel.found/1";
}

/// `archipel errors --json`, `GET /v1/errors?since_ms=&service=&limit=`; the last day unless told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// `archipel.errors/1`
    pub schema: String,
    pub total: u64,
    /// The latest first.
    pub errors: Vec<ErrorGroup>,
}

impl Errors {
    pub const SCHEMA: &str = "archipel.errors/1";
}

/// Errors that are the same; `GET /v1/errors/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorGroup {
    pub id: String,
    /// `span` or `log`.
    pub source: String,
    pub service: String,
    pub title: String,
    pub place: String,
    pub count: u64,
    pub first_ms: u64,
    pub last_ms: u64,
    pub instances: Vec<String>,
    pub releases: Vec<String>,
    /// The latest one.
    pub example: String,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    /// (start of a half hour, errors), without empty ones.
    pub steps: Vec<(u64, u64)>,
}

/// `GET /v1/metrics?metric=cpu&service=&since_ms=&until_ms=&points=`; the last hour unless told.
///
/// Of instances: `cpu` (cores), `memory` (bytes), `threads`, `files`, `restarts`. Of services:
/// `requests`, `failing` (a second), `p95` (milliseconds). Of the host: `host.cpu`, `host.cores`,
/// `host.memory`, `host.memory_total`, `host.load`. Of what services send: the names that
/// `GET /v1/metrics/received` lists; without a name only our own are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricLines {
    /// `archipel.metrics/1`
    pub schema: String,
    /// Of the first value.
    pub since_ms: u64,
    pub step_ms: u64,
    /// Of each metric the lines with the highest values first.
    pub lines: Vec<MetricLine>,
    /// There are more.
    pub left_out: u64,
}

impl MetricLines {
    pub const SCHEMA: &str = "archipel.metrics/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricLine {
    pub metric: String,
    /// Empty: of the host.
    pub service: String,
    /// Empty: of the service as a whole.
    pub instance: String,
    /// Of what a service sent: its attributes, as `key="value",…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// `None` where nothing is known.
    pub values: Vec<Option<f32>>,
}

/// `GET /v1/metrics/received`: what services send by OTLP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceivedMetrics {
    /// `archipel.received/1`
    pub schema: String,
    pub metrics: Vec<ReceivedMetric>,
}

impl ReceivedMetrics {
    pub const SCHEMA: &str = "archipel.received/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceivedMetric {
    pub metric: String,
    /// `gauge`, `counter`, `updowncounter`, `histogram` or `summary`.
    pub instrument: String,
    /// In the notation of UCUM.
    pub unit: String,
    pub description: String,
    /// Each with how many time series it has.
    pub services: std::collections::BTreeMap<String, u64>,
    /// What `GET /v1/metrics?metric=` takes: the name, with an ending for what was worked out.
    pub lines: Vec<String>,
}
