//! The JSON that people and scripts see. Shapes only grow: a member is added, never renamed or
//! removed, and each document names its shape and version in `schema`.

mod alerts;
mod cache;
mod faults;
mod look;
mod routes;
mod story;
mod traces;
mod workflows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use archipel_model::InstanceState;

pub use alerts::*;
pub use cache::{Purge, Purged};
pub use faults::{Fault, FaultInForce, Faults};
pub use look::*;
pub use routes::{
    RouteCompare, RouteCopies, RouteDifference, RouteExample, RouteFallback, RouteTarget,
    RouteTraffic, Routes,
};
pub use story::*;
pub use traces::{
    Span, Spans, Tallies, TallyRow, Timing, Trace, TraceBucket, TraceHistogram, TraceSummary,
    Traces,
};
pub use workflows::{
    OpenActivity, OpenChild, OpenTimer, Workflow, WorkflowEvent, WorkflowFailure, WorkflowHistory,
    WorkflowRef, WorkflowRefused, WorkflowWhole, Workflows, WorkflowsChanged,
};

/// `archipel ps --json`, `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `archipel.ps/1`
    pub schema: String,
    pub app: String,
    pub version: String,
    pub profile: Option<String>,
    pub manifest: String,
    pub pid: u32,
    pub started_at_ms: u64,
    /// Grows with every manifest applied.
    pub generation: u64,
    pub gateway: Option<GatewayStatus>,
    pub dashboard: Option<String>,
    /// Problems of Archipel itself, not of one service: a port that is taken, a full disk.
    pub problems: Vec<String>,
    pub services: Vec<Service>,
}

impl Status {
    pub const SCHEMA: &str = "archipel.ps/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    pub url: String,
    /// Why it does not listen.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    /// The worst of its instances, or what is done before they start.
    pub state: InstanceState,
    pub desired: u32,
    pub ready: u32,
    /// As the manifest wants it, in its latest version.
    pub settled: bool,
    /// It will not get well by waiting.
    pub needs_a_person: bool,
    /// One sentence: why it is not ready.
    pub reason: Option<String>,
    /// Its last output, when it is not well.
    pub last_lines: Vec<String>,
    pub build: Option<Build>,
    pub database: Option<String>,
    pub restarts: u32,
    pub memory_bytes: u64,
    pub memory_limit: Option<u64>,
    /// `v2`, `v1`, `poll` or `none`: who enforces the limit.
    pub memory_tier: String,
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// `waiting`, `building`, `built`, `cached` or `failed`.
    pub state: String,
    pub took_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: String,
    pub state: InstanceState,
    pub pid: Option<u32>,
    pub port: Option<u16>,
    pub started_at_ms: Option<u64>,
    pub ready_since_ms: Option<u64>,
    pub restarts: u32,
    /// When the next start is due.
    pub next_start_at_ms: Option<u64>,
    /// `exit 1`, `signal 9 (KILL)`, `memory limit 64M reached`.
    pub last_exit: Option<String>,
    pub last_probe: Option<String>,
    pub memory_bytes: u64,
    /// Found running at our own start and taken over.
    pub adopted: bool,
    /// Requests in flight through the data plane.
    pub inflight: u64,
}

/// `archipel describe SERVICE --json`, `GET /v1/services/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// `archipel.describe/1`
    pub schema: String,
    pub service: Service,
    pub path: String,
    pub build_command: Option<String>,
    pub run_command: String,
    pub urls: Vec<NamedUrl>,
    pub routes: Vec<String>,
    pub calls: Vec<String>,
    pub called_by: Vec<String>,
    pub publishes: Vec<String>,
    pub subscribes: Vec<String>,
    /// Whose events it takes, and who takes its events, by way of topics.
    pub database: Option<String>,
    pub env: Vec<EnvEntry>,
    pub health: Vec<String>,
    pub stop: String,
    pub restart: String,
    pub isolation: String,
}

impl Description {
    pub const SCHEMA: &str = "archipel.describe/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedUrl {
    pub name: String,
    pub url: String,
}

/// A variable of the environment; the value is masked where it is a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvEntry {
    pub name: String,
    pub value: String,
    pub masked: bool,
}

/// The whole environment of a service, with secrets: only over the control socket, which
/// only this user can open, for `archipel exec` and `archipel db shell`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// `archipel.env/1`
    pub schema: String,
    pub cwd: String,
    pub env: BTreeMap<String, String>,
}

impl Environment {
    pub const SCHEMA: &str = "archipel.env/1";
}

/// One line of `archipel logs --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    pub at_ms: u64,
    pub service: String,
    pub instance: String,
    pub stream: String,
    pub level: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fields: Option<serde_json::Value>,
}

impl From<&archipel_telemetry::LogRecord> for LogLine {
    fn from(record: &archipel_telemetry::LogRecord) -> Self {
        let fields = &record.fields;
        Self {
            at_ms: record.at_ms,
            service: record.instance.service.to_string(),
            instance: record.instance.to_string(),
            stream: record.stream.to_string(),
            level: record.level.map(|level| level.as_str().to_owned()),
            message: record.message.clone(),
            trace_id: record.trace_id.clone(),
            span_id: record.span_id.clone(),
            fields: (!fields.is_empty()).then(|| serde_json::Value::Object(fields.clone())),
        }
    }
}

/// `archipel events list --json`, `GET /v1/events/topics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Topics {
    /// `archipel.topics/1`
    pub schema: String,
    pub topics: Vec<Topic>,
    #[serde(default)]
    pub outboxes: Vec<Outbox>,
}

impl Topics {
    pub const SCHEMA: &str = "archipel.topics/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    pub publisher: Option<String>,
    pub events: u64,
    pub bytes: u64,
    /// The number of the first event that is still there, and of the one that comes next.
    #[serde(default)]
    pub first: u64,
    #[serde(default)]
    pub next: u64,
    #[serde(default)]
    pub retain_ms: u64,
    pub subscribers: Vec<Subscriber>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscriber {
    pub service: String,
    /// Events not yet acknowledged.
    pub lag: u64,
    pub oldest_age_ms: Option<u64>,
    pub inflight: u64,
    /// Keys held back because their subscriber said «not yet».
    pub parked: u64,
    pub dead: u64,
    /// Removed because there were too many, since Archipel started.
    #[serde(default)]
    pub dead_dropped: u64,
    /// `flowing`, `idle`, `absent`, `waiting`, `full` or `storage-failed`.
    #[serde(default)]
    pub state: String,
    /// Where events are posted.
    #[serde(default)]
    pub path: String,
    /// Events that wait for another try.
    #[serde(default)]
    pub waiting: u64,
    /// Since Archipel started.
    #[serde(default)]
    pub delivered: u64,
    #[serde(default)]
    pub failed_attempts: u64,
    #[serde(default)]
    pub expired: u64,
    /// Removed by retention before they were delivered.
    #[serde(default)]
    pub lost: u64,
}

/// A service whose own table of events is pulled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outbox {
    pub service: String,
    pub path: String,
    /// Pulled as far as this `seq` of its table.
    pub cursor: u64,
    /// Events taken since Archipel started.
    pub pulled: u64,
    /// Why the last pull failed.
    pub problem: Option<String>,
}

/// One event of a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub topic: String,
    pub seq: u64,
    pub at_ms: u64,
    /// The CloudEvent as stored.
    pub event: serde_json::Value,
}

/// `archipel events dead --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// `archipel.dead/1`
    pub schema: String,
    pub dead: Vec<DeadLetter>,
}

impl DeadLetters {
    pub const SCHEMA: &str = "archipel.dead/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: String,
    pub topic: String,
    pub subscriber: String,
    pub reason: String,
    pub attempts: u32,
    pub first_at_ms: u64,
    pub last_at_ms: u64,
    /// `dead`, or `replaying` while another delivery is under way.
    pub state: String,
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    pub event_source: Option<String>,
}

/// `archipel job list --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Jobs {
    /// `archipel.jobs/1`
    pub schema: String,
    pub jobs: Vec<Job>,
}

impl Jobs {
    pub const SCHEMA: &str = "archipel.jobs/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub name: String,
    pub service: Option<String>,
    pub schedule: Option<String>,
    pub timezone: String,
    pub next_at_ms: Option<u64>,
    pub running: u32,
    pub last: Option<JobRun>,
    #[serde(default)]
    pub command: String,
    /// The last ones since Archipel started, the latest first.
    #[serde(default)]
    pub runs: Vec<JobRun>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRun {
    pub started_at_ms: u64,
    pub took_ms: u64,
    /// As a shell would report it.
    pub exit_code: i32,
    /// `exit 0`, `timed out after 30m`.
    pub outcome: String,
}

/// What the admin API says when it refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// The exit code a command line should end with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit: Option<u8>,
}

/// Answer to a change that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub accepted: bool,
    /// What was understood, for example the names of the instances.
    pub targets: Vec<String>,
    /// Of the manifest that was applied: [`Status::generation`] of this or more shows the result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<u64>,
}

/// `GET /v1/events/dead/{id}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterWhole {
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The CloudEvent, or the text that was none.
    pub event: serde_json::Value,
}

/// What is declared: `GET /v1/graph`. Changes only with [`Status::generation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// `archipel.graph/1`
    pub schema: String,
    pub generation: u64,
    pub listen: Option<String>,
    /// Empty: every host.
    pub hosts: Vec<String>,
    pub routes: Vec<Route>,
    pub services: Vec<GraphService>,
    pub externals: Vec<GraphExternal>,
    pub topics: Vec<GraphTopic>,
}

impl Graph {
    pub const SCHEMA: &str = "archipel.graph/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphService {
    pub name: String,
    pub protocol: String,
    /// Services and externals.
    pub calls: Vec<String>,
    pub database: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphExternal {
    pub name: String,
    pub url: String,
    pub owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphTopic {
    pub name: String,
    pub publisher: Option<String>,
    pub subscribers: Vec<String>,
    pub description: Option<String>,
}

/// A public route, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// As its numbers name it.
    pub label: String,
    pub host: Option<String>,
    pub method: Option<String>,
    pub path: String,
    /// In a few words.
    pub to: String,
    /// The services and externals among that.
    pub targets: Vec<String>,
    pub strip: Option<String>,
    pub timeout_ms: Option<u64>,
    pub body_bytes_max: Option<u64>,
}

/// What passes through the data plane: `GET /v1/traffic`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// `archipel.traffic/1`
    pub schema: String,
    pub at_ms: u64,
    /// Between two points of a history.
    pub step_ms: u64,
    /// Open connections of clients.
    pub connections: u64,
    pub series: Vec<TrafficSeries>,
}

impl Traffic {
    pub const SCHEMA: &str = "archipel.traffic/1";
}

/// One edge, or one public route. Counters only grow; rates are of the last ten seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrafficSeries {
    /// `outside`, `service`, or `archipel` itself: deliveries and outbox pulls.
    pub kind: String,
    pub caller: Option<String>,
    /// `None`: no route was found.
    pub callee: Option<String>,
    pub route: Option<String>,
    pub requests: u64,
    /// Answers by the first digit of their status; the first entry got none.
    pub by_class: [u64; 6],
    /// Answers that the data plane made itself.
    pub refused: u64,
    pub retries: u64,
    pub broken: u64,
    pub bytes: u64,
    pub inflight: u64,
    /// The caller does not ask just now, or was not to ask within the last ten seconds: too many
    /// of its requests had failed.
    #[serde(default)]
    pub breaker_open: bool,
    /// Answers that stood in for others since Archipel started.
    #[serde(default)]
    pub fallbacks: u64,
    /// Requests a second.
    pub rate: f64,
    /// Failed ones of these: 5xx, and answers that broke off.
    pub failing: f64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// The newest of the history.
    pub point: TrafficPoint,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub history: Vec<TrafficPoint>,
}

/// Requests, failed ones, and the 95th percentile in microseconds, within one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficPoint(pub u64, pub u64, pub u64);

/// `GET /v1/databases`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Databases {
    /// `archipel.databases/1`
    pub schema: String,
    pub databases: Vec<Database>,
}

impl Databases {
    pub const SCHEMA: &str = "archipel.databases/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Database {
    pub service: String,
    pub engine: String,
    pub name: String,
    pub file: Option<String>,
    /// On disk, where that is known.
    pub bytes: Option<u64>,
    pub migrate: Option<String>,
}

/// `GET /v1/logs/summary`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogSummary {
    /// `archipel.log-summary/1`
    pub schema: String,
    pub from_ms: u64,
    pub bucket_ms: u64,
    pub total: u64,
    /// There are more lines than were counted; the newest were.
    pub truncated: bool,
    pub buckets: Vec<LogBucket>,
    pub services: BTreeMap<String, u64>,
    #[serde(default)]
    pub instances: BTreeMap<String, u64>,
    /// By level; `none` for lines without one.
    pub levels: BTreeMap<String, u64>,
}

impl LogSummary {
    pub const SCHEMA: &str = "archipel.log-summary/1";
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogBucket {
    pub error: u64,
    pub warn: u64,
    pub other: u64,
}

/// What changed of a [`Status`] since the last one: `event: patch` of `GET /v1/live`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusPatch {
    pub generation: u64,
    pub gateway: Option<GatewayStatus>,
    pub problems: Vec<String>,
    pub services: Vec<Service>,
}
