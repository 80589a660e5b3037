//! One record per request, for whoever wants to turn them into spans and logs.

use std::sync::Arc;
use std::time::Duration;

use archipel_model::{InstanceId, ServiceName, SpanId, TraceId};
use bytes::Bytes;
use http::Method;

use crate::record::counters::SeriesKey;
use crate::refusal::Problem;

/// Who sent a request, as we know it and not as the request says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// Through the public entrance.
    Outside,
    Service(ServiceName),
    /// Ourselves: event delivery, the outbox pull, probes.
    Archipel,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outside => f.pad("outside"),
            Self::Service(name) => name.fmt(f),
            Self::Archipel => f.pad("archipel"),
        }
    }
}

/// One request, when its last byte has passed or it has failed.
#[derive(Debug, Clone)]
pub struct Access {
    /// The start, on the wall clock, in nanoseconds since 1970.
    pub at_ns: u64,
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<SpanId>,
    /// Who called whom, by which route: what all requests of one way have in common.
    pub of: Arc<SeriesKey>,
    /// The one that answered, or was tried last.
    pub instance: Option<InstanceId>,
    pub method: Method,
    /// Without the query, which may hold what no log should; and cut when it is very long.
    pub path: Bytes,
    /// 499: the caller went away before there was an answer.
    pub status: u16,
    /// Until the end of the body.
    pub duration: Duration,
    /// Until the head of the answer.
    pub head: Duration,
    pub bytes: u64,
    pub retries: u32,
    pub refusal: Option<Problem>,
    /// What was answered in place of a failure: `static`, `stale`, `skip`.
    pub fallback: Option<&'static str>,
    /// Who refused it: `limit login`, `route /api/**`.
    pub rule: Option<Box<str>>,
    /// The answer broke off in the middle.
    pub broken: bool,
}

/// What nobody reads further.
pub(crate) const PATH_BYTES_MAX: usize = 2048;
