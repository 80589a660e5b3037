//! Durable workflows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `archipel workflow list --json`, `GET /v1/workflows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workflows {
    /// `archipel.workflows/1`
    pub schema: String,
    /// Newest first.
    pub instances: Vec<Workflow>,
    /// How many of each state the filter finds, whichever states it asks for.
    pub counts: BTreeMap<String, u64>,
    /// There are more than were asked for.
    pub more: bool,
    /// Workers connected, of each service that has any.
    pub workers: BTreeMap<String, usize>,
}

impl Workflows {
    pub const SCHEMA: &str = "archipel.workflows/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    pub service: String,
    pub id: String,
    pub name: String,
    pub version: Option<String>,
    /// `pending`, `running`, `suspended`, `stalled`, `completed`, `failed`, `terminated`,
    /// `canceled`.
    pub status: String,
    pub created_at_ms: Option<u64>,
    pub updated_at_ms: Option<u64>,
    pub ended_at_ms: Option<u64>,
    /// When it is to begin, if that was said.
    pub scheduled_at_ms: Option<u64>,
    pub parent: Option<WorkflowRef>,
    pub custom_status: Option<String>,
    /// Why it was given up until somebody resumes it.
    #[serde(default)]
    pub parked: Option<String>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    pub service: String,
    pub id: String,
}

/// `archipel workflow describe --json`, `GET /v1/workflows/{service}/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowWhole {
    /// `archipel.workflow/1`
    pub schema: String,
    #[serde(flatten)]
    pub workflow: Workflow,
    pub execution_id: Option<String>,
    /// Payloads as the service wrote them, JSON as a rule.
    pub input: Option<String>,
    pub output: Option<String>,
    pub failure: Option<WorkflowFailure>,
    /// What it waits for, in one sentence; none when it has ended.
    pub waits: Option<String>,
    /// `idle`, `waiting` (for a worker) or `running`.
    pub turn: String,
    pub activities: Vec<OpenActivity>,
    pub timers: Vec<OpenTimer>,
    pub children: Vec<OpenChild>,
    /// Workers of the service that are connected.
    pub workers: usize,
}

impl WorkflowWhole {
    pub const SCHEMA: &str = "archipel.workflow/1";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowFailure {
    pub kind: String,
    pub message: String,
    pub stack: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenActivity {
    pub event_id: i32,
    pub name: String,
    pub service: String,
    /// A worker has it.
    pub running: bool,
    /// How many workers were lost on it.
    pub lost: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTimer {
    pub event_id: i32,
    pub fires_at_ms: u64,
    /// The event that is waited for until then.
    pub event: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenChild {
    pub event_id: i32,
    pub service: String,
    pub id: String,
}

/// `archipel workflow history --json`, `GET /v1/workflows/{service}/{id}/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowHistory {
    /// `archipel.workflow-history/1`
    pub schema: String,
    pub service: String,
    pub id: String,
    /// Events before these, when fewer were asked for.
    #[serde(default)]
    pub left_out: u64,
    pub events: Vec<WorkflowEvent>,
}

impl WorkflowHistory {
    pub const SCHEMA: &str = "archipel.workflow-history/1";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowEvent {
    /// What `rerun --from` takes; -1 for what came from outside.
    pub event_id: i32,
    pub at_ms: u64,
    /// `started`, `activity scheduled`, `timer fired` and so on.
    pub kind: String,
    pub name: Option<String>,
    /// The event that this answers.
    pub of: Option<i32>,
    /// Another service that does it.
    pub service: Option<String>,
    /// Of a child: its id. Of a timer: its instant. Of the end: the state.
    pub about: Option<String>,
    pub payload: Option<String>,
    /// Of the whole payload, also when less of it was asked for.
    #[serde(default)]
    pub payload_bytes: Option<u64>,
    pub failure: Option<String>,
    /// In which it was asked for, where that was told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace_id: Option<String>,
}

/// What was begun or changed: `POST /v1/workflows…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowsChanged {
    /// `archipel.workflows-changed/1`
    pub schema: String,
    pub done: Vec<WorkflowRef>,
    pub failed: Vec<WorkflowRefused>,
    /// The filter finds more than were changed at once; ask again.
    pub more: bool,
}

impl WorkflowsChanged {
    pub const SCHEMA: &str = "archipel.workflows-changed/1";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRefused {
    pub service: String,
    pub id: String,
    pub reason: String,
}
