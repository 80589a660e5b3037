//! What a caller's side of an edge, or a route, does beyond limits and retries: all of it only
//! where the file asks for it.

use std::time::Duration;

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Safeguards {
    pub breaker: Option<Breaker>,
    pub bulkhead: Option<Bulkhead>,
    pub hedge: Option<Hedge>,
    pub priority: Option<Priority>,
    pub fallback: Option<Box<Fallback>>,
}

/// Stops calling a service that fails, and asks again after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Breaker {
    /// Of the requests in `window`, in percent.
    pub errors: u8,
    pub window: Duration,
    pub min_requests: u32,
    pub open_for: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            errors: 50,
            window: Duration::from_secs(10),
            min_requests: 20,
            open_for: Duration::from_secs(5),
        }
    }
}

/// How many requests may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Bulkhead {
    pub max: u32,
    /// How many more may wait for a place.
    pub queue: u32,
    /// And how long.
    pub wait: Duration,
}

impl Bulkhead {
    pub const WAIT_DEFAULT: Duration = Duration::from_millis(200);

    /// Nobody waits.
    pub fn new(max: u32) -> Self {
        Self { max, queue: 0, wait: Self::WAIT_DEFAULT }
    }
}

/// When a second instance is asked for the same: only what changes nothing, and has no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hedge {
    After(Duration),
    /// After what this share of the answers of late took at most, in percent.
    Percentile(u8),
}

/// Who is refused first when a service gets more than it can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    Critical,
}

/// What the caller gets when there is no good answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fallback {
    pub with: Spare,
    pub on: FallbackOn,
    /// Upper case.
    pub methods: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spare {
    /// Always the same.
    Static { status: u16, content_type: String, body: String },
    /// The last good one to the same request, if it is not older than this.
    Stale(Duration),
    /// Nothing, and that is fine: 204.
    Skip,
}

impl Spare {
    pub const STALE_DEFAULT: Duration = Duration::from_secs(600);
}

/// What counts as no good answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FallbackOn {
    /// No instance is ready, or none accepts a connection.
    pub connect: bool,
    /// The connection broke before there was an answer.
    pub reset: bool,
    pub timeout: bool,
    pub breaker: bool,
    /// The bulkhead is full, or the service has too much to do.
    pub overload: bool,
    pub statuses: Vec<u16>,
}

impl Default for FallbackOn {
    /// Whatever says that the service cannot, but not what says that the request is wrong.
    fn default() -> Self {
        Self {
            connect: true,
            reset: true,
            timeout: true,
            breaker: true,
            overload: true,
            statuses: vec![500, 502, 503, 504],
        }
    }
}
