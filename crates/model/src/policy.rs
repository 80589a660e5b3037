//! How an instance is limited, restarted and stopped, and how an edge behaves when it fails.

use std::fmt;
use std::time::Duration;

use crate::{Bytes, Safeguards};

/// Limits that the kernel enforces where it can, with hints for runtimes that manage a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    pub limit: Bytes,
    /// Above this the kernel reclaims and throttles first (cgroup v2 only).
    pub high: Option<Bytes>,
    pub swap: Option<Bytes>,
    pub jvm: bool,
    pub go: bool,
    pub node: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Hup => "SIGHUP",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
        })
    }
}

/// drain (no new requests) → command or signal → grace → kill.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stop {
    pub signal: Signal,
    pub drain: Duration,
    pub grace: Duration,
    pub command: Option<crate::Command>,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: Signal::Term,
            drain: Duration::from_secs(2),
            grace: Duration::from_secs(10),
            command: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartOn {
    /// A non-zero exit or a signal; exit 0 means the service is done.
    Failure,
    Always,
    Never,
}

impl fmt::Display for RestartOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failure => "failure",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// Exponential between two bounds, with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Backoff {
    pub min: Duration,
    pub max: Duration,
}

impl Backoff {
    /// Before the `n`th further try: anything up to twice the last pause, so that those who failed
    /// together do not come back together. `draw` is uniform over all numbers.
    pub fn pause(&self, n: u32, draw: u64) -> Duration {
        let longest = self.min.saturating_mul(1 << n.min(16)).min(self.max);
        longest.mul_f64(draw as f64 / u64::MAX as f64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Restart {
    pub on: RestartOn,
    pub backoff: Backoff,
    /// The back-off starts anew after this long *ready*: alive is not enough, or a program that
    /// dies after fifteen seconds would loop at full speed for ever.
    pub reset_after: Duration,
    /// `None`: never gives up.
    pub max: Option<u32>,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            on: RestartOn::Always,
            backoff: Backoff { min: Duration::from_millis(500), max: Duration::from_secs(60) },
            reset_after: Duration::from_secs(60),
            max: None,
        }
    }
}

/// How much of a service's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct LogPolicy {
    pub keep: Duration,
    pub max: Bytes,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { keep: Duration::from_secs(7 * 86_400), max: Bytes(512 << 20) }
    }
}

/// How much of what the application tells is kept, logs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct TelemetryPolicy {
    pub traces: Duration,
    pub metrics: Duration,
    /// The most that any service's logs are kept.
    pub logs: Option<Duration>,
    /// Of traces and metrics together.
    pub max: Bytes,
    pub sample: Sampling,
}

/// Which traces stay when old ones are thinned to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sampling {
    pub keep_errors: bool,
    /// What is slower than this share of its kind stays; of a million.
    pub slow: u32,
    /// Share of all others, of a million.
    pub rest: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { keep_errors: true, slow: 990_000, rest: 100_000 }
    }
}

impl Default for TelemetryPolicy {
    fn default() -> Self {
        Self {
            traces: Duration::from_secs(7 * 86_400),
            metrics: Duration::from_secs(30 * 86_400),
            logs: None,
            max: Bytes(1 << 30),
            sample: Sampling::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Retry {
    /// Further tries after the first.
    pub attempts: u32,
    pub on: RetryOn,
    /// Retries may add at most this share of requests, in percent; `None`: they are not counted.
    pub budget: Option<u8>,
    /// Between two tries of what may have reached an app.
    pub backoff: Backoff,
}

/// After what a request is tried again. Only a failed connection is known not to have had an
/// effect; after the others, only requests that may be done twice are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct RetryOn {
    pub connect: bool,
    /// The connection broke before the head of the response.
    pub reset: bool,
    /// 502
    pub bad_gateway: bool,
    /// 503
    pub unavailable: bool,
    /// 504
    pub gateway_timeout: bool,
}

impl RetryOn {
    pub const ALL: Self = Self {
        connect: true,
        reset: true,
        bad_gateway: true,
        unavailable: true,
        gateway_timeout: true,
    };

    pub fn status(self, status: u16) -> bool {
        match status {
            502 => self.bad_gateway,
            503 => self.unavailable,
            504 => self.gateway_timeout,
            _ => false,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: RetryOn::ALL,
            budget: Some(20),
            backoff: Backoff { min: Duration::from_millis(25), max: Duration::from_millis(250) },
        }
    }
}

/// What the caller's side of one edge (or one route) does when things go wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EdgePolicy {
    /// Until the response head arrives; streaming bodies are not cut.
    pub timeout: Option<Duration>,
    /// Until an instance accepts a connection; `None`: as the data plane thinks fit.
    pub connect: Option<Duration>,
    /// A response of which nothing arrives for this long is cut.
    pub idle: Option<Duration>,
    pub retry: Retry,
    /// How long a request waits for a callee that (re)starts; `None`: it is refused at once.
    pub hold: Option<Duration>,
    /// A header (lower case) that makes whatever request has it safe to repeat.
    pub idempotency: Option<String>,
    pub safeguards: Safeguards,
}

impl EdgePolicy {
    /// Longer than most services need to restart, shorter than callers usually wait.
    pub const HOLD_DEFAULT: Duration = Duration::from_secs(5);
    /// Of a call over HTTP for which the manifest says nothing.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);
}

impl Default for EdgePolicy {
    fn default() -> Self {
        Self {
            timeout: None,
            connect: None,
            idle: None,
            retry: Retry::default(),
            hold: Some(Self::HOLD_DEFAULT),
            idempotency: None,
            safeguards: Safeguards::default(),
        }
    }
}
