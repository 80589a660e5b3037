//! What the supervisor tells: the state of each instance, why it ended, what it printed.

use std::fmt;
use std::time::Duration;

use archipel_model::{Bytes, InstanceId, InstanceState, show_duration};

/// One instance as it is now.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct InstanceStatus {
    pub id: InstanceId,
    pub state: InstanceState,
    pub pid: Option<i32>,
    pub port: Option<u16>,
    /// What runs now or ran last; differs from the desired one while it is being replaced.
    pub spec_hash: String,
    /// Counts the processes that were started for this instance by this supervisor; an adopted
    /// one keeps its number. Tells a new process from the old one under the same id.
    pub run: u64,
    pub started_at_ms: Option<u64>,
    pub ready_since_ms: Option<u64>,
    /// Processes that ended without being asked to.
    pub restarts: u32,
    /// Failures in a row; 0 once it has been ready for long enough.
    pub attempt: u32,
    pub next_start_at_ms: Option<u64>,
    pub last_exit: Option<ExitReport>,
    pub probe_last: Option<ProbeReport>,
    /// What the instance itself occupies (anonymous and kernel memory), without page cache.
    pub memory_bytes: Option<u64>,
    pub memory_limit: Option<u64>,
    pub memory_tier: MemoryTier,
    pub adopted: bool,
    /// One sentence for people: why it is not ready.
    pub reason: Option<String>,
    /// Its last lines, at most 30, while it is not ready.
    pub last_lines: Vec<String>,
}

/// How a memory limit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryTier {
    /// By the kernel, cgroup v2: the whole group ends together.
    V2,
    /// By the kernel, cgroup v1: it ends one process, we end the rest.
    V1,
    /// By us, looking twice a second: soft, a fast leak may overshoot.
    Poll,
    /// Not at all.
    None,
}

impl fmt::Display for MemoryTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
            Self::Poll => "poll",
            Self::None => "none",
        })
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// Ended for using more memory than its limit.
    OomKilled {
        limit: Bytes,
        peak: Bytes,
    },
    /// It ended while nobody who could have learned how was there.
    Unknown,
}

impl Exit {
    pub(crate) fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }

    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::OomKilled { limit, peak } => {
                write!(f, "killed: memory limit {limit} reached (peak {peak})")
            }
            Self::Unknown => f.write_str("ended unseen"),
        }
    }
}

pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

/// The end of one process.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExitReport {
    pub exit: Exit,
    pub at_ms: u64,
    #[serde(rename = "ran_ms", serialize_with = "as_millis")]
    pub ran: Duration,
    /// It had passed its startup probe before it ended.
    pub was_ready: bool,
    /// Why Archipel ended it; `None`: it ended by itself.
    pub ended_by: Option<String>,
}

fn as_millis<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {}", self.exit, show_duration(self.ran))?;
        match &self.ended_by {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

/// The latest answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProbeReport {
    /// `startup: GET /healthz`.
    pub what: String,
    pub ok: bool,
    /// The answer, or why there was none.
    pub detail: String,
    /// When the answer became this one; the same answer again does not move it.
    pub at_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
    /// A build's output.
    Build,
    /// Said by the supervisor about the instance.
    Event,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Build => "build",
            Self::Event => "event",
        }
    }
}

/// One line of output, without its line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at_ms: u64,
    pub instance: InstanceId,
    pub stream: Stream,
    /// UTF-8; what was not has become U+FFFD. Made of at most [`LINE_BYTES_MAX`] bytes.
    pub text: String,
    /// The line goes on in the next [`LogLine`] of this stream.
    pub split: bool,
}

/// A longer line arrives in pieces.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Lines shown with an instance that is not ready.
pub const LAST_LINES_MAX: usize = 30;
