//! The JSON of traces. Times are microseconds since 1970, which numbers of JavaScript hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::LogLine;

/// `archipel traces --json`, `GET /v1/traces?query=&since_ms=&until_ms=&limit=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traces {
    /// `archipel.traces/1`
    pub schema: String,
    /// Newest first.
    pub traces: Vec<TraceSummary>,
    /// Time ran out: what is older than this was not looked at.
    pub cut_at_ms: Option<u64>,
}

impl Traces {
    pub const SCHEMA: &str = "archipel.traces/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceSummary {
    pub trace_id: String,
    /// Of the span without a parent, or the earliest.
    pub service: String,
    pub name: String,
    /// Of the request that began it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    pub start_us: u64,
    pub duration_us: u64,
    pub spans: u32,
    pub errors: u32,
    /// Spans by service.
    pub services: BTreeMap<String, u32>,
}

/// `archipel trace ID --json`, `GET /v1/traces/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// `archipel.trace/1`
    pub schema: String,
    pub trace_id: String,
    /// By their start; at most 20,000.
    pub spans: Vec<Span>,
    /// What services said within it.
    pub logs: Vec<LogLine>,
}

impl Trace {
    pub const SCHEMA: &str = "archipel.trace/1";
}

/// `GET /v1/spans?query=&since_ms=&until_ms=&limit=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spans {
    /// `archipel.spans/1`
    pub schema: String,
    pub spans: Vec<Span>,
    pub cut_at_ms: Option<u64>,
}

impl Spans {
    pub const SCHEMA: &str = "archipel.spans/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    pub parent_id: Option<String>,
    /// Of a hop of the data plane: the service it leads to.
    pub service: String,
    pub instance: Option<String>,
    pub name: String,
    /// `internal`, `server`, `client`, `producer` or `consumer`.
    pub kind: String,
    /// `unset`, `ok` or `error`.
    pub status: String,
    pub start_us: u64,
    pub duration_us: f64,
    pub attributes: Map<String, Value>,
    /// What the sender says of itself.
    pub resource: Map<String, Value>,
    /// `name`, `at_us`, `attributes`.
    pub events: Vec<Value>,
    /// `trace_id`, `span_id`, `attributes`.
    pub links: Vec<Value>,
}

/// How many, how many failed, how long they took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    pub count: u64,
    pub errors: u64,
    pub p50_us: u64,
    pub p95_us: u64,
    pub p99_us: u64,
}

/// `GET /v1/traces/histogram?query=&since_ms=&until_ms=&step_ms=`; the last hour in sixty steps
/// unless told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceHistogram {
    /// `archipel.trace-histogram/1`
    pub schema: String,
    pub since_ms: u64,
    pub until_ms: u64,
    pub step_ms: u64,
    /// Without empty ones.
    pub buckets: Vec<TraceBucket>,
    pub cut_at_ms: Option<u64>,
}

impl TraceHistogram {
    pub const SCHEMA: &str = "archipel.trace-histogram/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceBucket {
    pub at_ms: u64,
    #[serde(flatten)]
    pub timing: Timing,
    /// For a heat map: (duration up to so many microseconds, spans).
    pub classes: Vec<(u64, u64)>,
}

/// `GET /v1/traces/by?by=service&by=route&query=…`, and `GET /v1/edges?since_ms=` with the keys
/// `caller` and `service`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tallies {
    /// `archipel.tallies/1`
    pub schema: String,
    pub keys: Vec<String>,
    /// Most first.
    pub rows: Vec<TallyRow>,
    pub cut_at_ms: Option<u64>,
}

impl Tallies {
    pub const SCHEMA: &str = "archipel.tallies/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TallyRow {
    /// One for each key; nothing where a span has no such value.
    pub values: Vec<String>,
    #[serde(flatten)]
    pub timing: Timing,
}
