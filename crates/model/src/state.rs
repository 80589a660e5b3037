//! The words for what an instance is doing: one list for CLI, API, dashboard and events.

use std::fmt;

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Waits for its turn: dependencies, or the limit on concurrent starts.
    Pending,
    Building,
    Migrating,
    /// Spawned; the startup probe has not passed yet.
    Starting,
    Ready,
    /// Runs, but the readiness probe fails: no new requests.
    Degraded,
    /// Runs, takes no new requests, finishes what it has.
    Draining,
    Stopping,
    /// Stopped on request.
    Stopped,
    /// Ended by itself with success, and its restart policy leaves it so.
    Completed,
    /// Ended badly; the next start is due after a pause.
    BackingOff,
    /// Will not be started again without a person: build failed, program missing, limit reached.
    Failed,
}

impl InstanceState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Building => "building",
            Self::Migrating => "migrating",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::BackingOff => "backing-off",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
