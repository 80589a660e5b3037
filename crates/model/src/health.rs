//! When an instance counts as started, ready, alive.

use std::time::Duration;

use crate::Command;

/// How one question is put to an instance.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// `GET path` answers 2xx or 3xx.
    Http { path: String },
    /// The port accepts, on 127.0.0.1 or ::1.
    Tcp,
    /// The standard gRPC health service says SERVING.
    Grpc,
    /// Exits 0, run in the service's directory with its environment.
    Exec(Command),
    /// A line of output matches this regular expression (startup only).
    Log { pattern: String },
    /// `READY=1` on `NOTIFY_SOCKET` (startup only).
    Notify,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Probe {
    pub check: Check,
    /// Startup only: give up and restart after this long.
    pub within: Duration,
    pub every: Duration,
    pub timeout: Duration,
    pub fail_after: u32,
    pub pass_after: u32,
}

/// Startup gates readiness and liveness; readiness gates traffic; liveness, when declared,
/// restarts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    pub startup: Probe,
    pub ready: Probe,
    pub live: Option<Probe>,
}

impl Default for Health {
    fn default() -> Self {
        Self { startup: Probe::startup(Check::Tcp), ready: Probe::ready(Check::Tcp), live: None }
    }
}

impl Probe {
    pub fn startup(check: Check) -> Self {
        Self {
            check,
            within: Duration::from_secs(60),
            every: Duration::from_millis(100),
            timeout: Duration::from_secs(1),
            fail_after: 1,
            pass_after: 1,
        }
    }

    pub fn ready(check: Check) -> Self {
        Self { every: Duration::from_secs(2), fail_after: 3, ..Self::startup(check) }
    }

    pub fn live(check: Check) -> Self {
        Self {
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            fail_after: 6,
            ..Self::startup(check)
        }
    }
}
