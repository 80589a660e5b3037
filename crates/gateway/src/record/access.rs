//! One record per request, for whoever wants to turn them into spans and logs.
//!
//! Without a subscriber nothing is built. A slow subscriber loses records, which are counted; it
//! never slows a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use archipel_model::{InstanceId, ServiceName, SpanId, TraceId};
use archipel_rt::{Receiver, Sender, channel};
use http::Method;

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
    pub caller: Caller,
    pub callee: Option<ServiceName>,
    /// The one that answered, or was tried last.
    pub instance: Option<InstanceId>,
    /// The public route, as it stands in the file.
    pub route: Option<Arc<str>>,
    pub method: Method,
    /// Without the query, which may hold what no log should.
    pub path: String,
    /// 499: the caller went away before there was an answer.
    pub status: u16,
    /// Until the end of the body.
    pub duration: Duration,
    /// Until the head of the answer.
    pub head: Duration,
    pub bytes: u64,
    pub retries: u32,
    pub refusal: Option<Problem>,
    /// Who refused it: `limit login`, `route /api/**`.
    pub rule: Option<Box<str>>,
    /// The answer broke off in the middle.
    pub broken: bool,
}

/// Where access records go, if anywhere.
#[derive(Default)]
pub(crate) struct Tap {
    to: ArcSwapOption<Sender<Access>>,
    dropped: AtomicU64,
}

impl Tap {
    pub(crate) fn subscribe(&self, capacity: usize) -> Receiver<Access> {
        let (sender, receiver) = channel("gateway.access", capacity);
        self.to.store(Some(Arc::new(sender)));
        receiver
    }

    /// Whether it is worth remembering what a record will need.
    pub(crate) fn is_open(&self) -> bool {
        self.to.load().is_some()
    }

    pub(crate) fn send(&self, access: impl FnOnce() -> Access) {
        let to = self.to.load();
        let Some(sender) = to.as_ref() else { return };
        if sender.is_closed() {
            self.to.store(None);
        } else if sender.try_send(access()).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
