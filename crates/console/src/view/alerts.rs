//! Alerts and checks as people see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `archipel alerts --json`, `GET /v1/alerts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    /// `archipel.alerts/1`
    pub schema: String,
    /// Firing first; those that are only pending last.
    pub alerts: Vec<Alert>,
    /// How many fire that nobody silenced and nothing explains.
    pub firing: u64,
    pub rules: Vec<AlertRule>,
    pub slos: Vec<Slo>,
    pub channels: Vec<AlertChannel>,
    pub silences: Vec<Silence>,
    /// Beginnings and ends, newest first.
    pub history: Vec<AlertEvent>,
    /// Messages that were sent or given up, and those that wait; newest first.
    pub deliveries: Vec<Delivery>,
    /// Until when nothing new fires, because of a start or a change.
    pub quiet_until_ms: Option<u64>,
    /// Why the state of alerts cannot be saved.
    pub problem: Option<String>,
}

impl Alerts {
    pub const SCHEMA: &str = "archipel.alerts/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub rule: String,
    pub labels: BTreeMap<String, String>,
    /// `page` or `ticket`.
    pub severity: String,
    /// `firing` or `pending`.
    pub state: String,
    pub since_ms: u64,
    pub value: f64,
    pub summary: String,
    pub description: Option<String>,
    /// The page of the console that shows the cause.
    pub link: String,
    /// Channels that were told.
    pub told: Vec<String>,
    /// The silence that covers it.
    pub silence: Option<String>,
    /// What explains it: then nobody is told.
    pub explained: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    pub name: String,
    pub when: String,
    pub severity: String,
    pub description: Option<String>,
    /// It ships with Archipel.
    pub shipped: bool,
    /// `None`: every channel.
    pub notify: Option<Vec<String>>,
    pub firing: u64,
    /// Why it could not be read.
    pub problem: Option<String>,
    /// Instances beyond the most that are looked at.
    pub left_out: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    pub name: String,
    pub on: String,
    pub good: String,
    pub target: f64,
    pub window_ms: u64,
    pub requests: u64,
    pub bad: u64,
    /// Share of the budget; below zero when more was spent.
    pub budget_left: f64,
    /// Of each of the last 24 hours, as multiples of what the target allows.
    pub burn: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertChannel {
    pub name: String,
    /// `webhook`, `slack` or `mail`.
    pub kind: String,
    /// The least severe that is sent.
    pub least: String,
    /// Why nothing can be sent.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    pub rule: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub from_ms: u64,
    pub until_ms: u64,
    pub reason: String,
}

/// `POST /v1/alerts/silences`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceWanted {
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub for_ms: u64,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertEvent {
    pub at_ms: u64,
    pub rule: String,
    pub labels: BTreeMap<String, String>,
    /// `firing` or `resolved`.
    pub state: String,
    pub summary: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: String,
    pub at_ms: u64,
    pub channel: String,
    pub title: String,
    /// `waiting`, `sent` or `failed`.
    pub state: String,
    pub tries: u32,
    pub problem: Option<String>,
    /// When it is tried next.
    pub next_ms: Option<u64>,
}

/// `GET /v1/checks`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// `archipel.checks/1`
    pub schema: String,
    pub checks: Vec<Check>,
}

impl Checks {
    pub const SCHEMA: &str = "archipel.checks/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// What is asked, step by step.
    pub steps: Vec<String>,
    pub every_ms: u64,
    pub description: Option<String>,
    /// `ok`, `failing`, `unknown`.
    pub state: String,
    /// What failed last, if it fails.
    pub problem: Option<String>,
    pub certificate_ends_ms: Option<u64>,
    /// Oldest first.
    pub runs: Vec<CheckRun>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRun {
    pub at_ms: u64,
    pub ok: bool,
    pub took_ms: u64,
    pub problem: Option<String>,
}
