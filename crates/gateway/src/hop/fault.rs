//! Faults on purpose: what networks and services do on a bad day, done to chosen edges.
//!
//! They strike between the caller's request and the hop, so that caller and callee see what they
//! would see of a real fault. Without faults a request pays one relaxed load.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_model::ServiceName;
use archipel_rt::clock::{self, Instant};
use archipel_rt::random;
use http::Request;

use crate::Caller;
use crate::hop::{self, Passage};
use crate::message::body::Body;
use crate::record::flow::{Flight, Start};
use crate::refusal::{Problem, Refusal};

/// Larger requests, and those that switch protocols, are not copied: they pass unharmed.
const COPY_BYTES_MAX: usize = 1 << 20;
/// Requests that are delivered behind their callers' backs, at once.
const DETACHED_MAX: usize = 1_024;

/// One fault of one or more edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// `None`: whoever calls.
    pub caller: Option<Caller>,
    /// `None`: whoever is called.
    pub callee: Option<ServiceName>,
    pub kind: FaultKind,
    /// Of the requests that match, how many it strikes.
    pub percent: u8,
    /// After this it strikes no more; `None`: until it is taken away.
    pub until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The request arrives later, and its caller waits for it.
    Delay { min: Duration, max: Duration },
    /// The caller sees the connection break; the request arrives later all the same.
    Late { min: Duration, max: Duration },
    /// Nothing arrives; the caller sees that nobody accepts connections.
    Cut,
    /// The request arrives and is carried out; the caller never hears of it.
    LoseAnswer,
    /// The request arrives twice.
    Twice,
    /// Nothing arrives; the caller gets a 503.
    Refuse,
}

/// A fault and how often it has struck.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultCount {
    pub fault: Fault,
    pub struck: u64,
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    list: Mutex<Vec<Arc<Active>>>,
    detached: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    struck: AtomicU64,
}

impl Faults {
    pub(crate) fn set(&self, faults: Vec<Fault>) {
        let active = |fault| Arc::new(Active { fault, struck: AtomicU64::new(0) });
        let mut list = self.lock();
        *list = faults.into_iter().map(active).collect();
        self.any.store(!list.is_empty(), Relaxed);
    }

    pub(crate) fn read(&self) -> Vec<FaultCount> {
        let count =
            |a: &Arc<Active>| FaultCount { fault: a.fault.clone(), struck: a.struck.load(Relaxed) };
        self.lock().iter().map(count).collect()
    }

    pub(crate) fn is_any(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// The first fault that strikes this request, if one does.
    fn draw(&self, caller: &Caller, callee: Option<&ServiceName>) -> Option<FaultKind> {
        let now = clock::now();
        let active = self.lock().iter().find(|a| a.fault.strikes(caller, callee, now)).cloned()?;
        active.struck.fetch_add(1, Relaxed);
        Some(active.fault.kind)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Active>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    fn strikes(&self, caller: &Caller, callee: Option<&ServiceName>, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
            && self.caller.as_ref().is_none_or(|wanted| wanted == caller)
            && self.callee.as_ref().is_none_or(|wanted| Some(wanted) == callee)
            && random::below(100) < u64::from(self.percent)
    }
}

/// What is left of the hop for a request that was struck.
pub(crate) enum Struck<'a> {
    /// It goes on.
    Go(Passage<'a>),
    /// It goes on, and its answer does not come back.
    GoUnheard(Passage<'a>),
}

/// Lets faults happen to one request.
pub(crate) async fn strike<'a>(
    flight: &Flight,
    passage: Passage<'a>,
) -> Result<Struck<'a>, Refusal> {
    let key = flight.way.series.key();
    let Some(kind) = passage.shared.faults.draw(&key.caller, key.callee.as_ref()) else {
        return Ok(Struck::Go(passage));
    };
    let refuse = |problem, detail: &str| Refusal::new(problem, flight.way.rule.clone(), detail);
    match kind {
        FaultKind::Delay { min, max } => {
            clock::sleep(between(min, max)).await;
            Ok(Struck::Go(passage))
        }
        FaultKind::Cut => {
            Err(refuse(Problem::ConnectFailed, "`archipel chaos` has cut this connection"))
        }
        FaultKind::Refuse => {
            Err(refuse(Problem::Fault, "`archipel chaos` refuses this request in its stead"))
        }
        FaultKind::LoseAnswer => Ok(Struck::GoUnheard(passage)),
        FaultKind::Twice => match twin(passage).await? {
            (first, Some(second)) => {
                detach(flight, second, &first, Duration::ZERO);
                Ok(Struck::Go(first))
            }
            (first, None) => Ok(Struck::Go(first)),
        },
        FaultKind::Late { min, max } => match twin(passage).await? {
            (first, Some(second)) => {
                detach(flight, second, &first, between(min, max));
                let detail =
                    "`archipel chaos` broke the connection; the request is still on its way";
                Err(refuse(Problem::UpstreamReset, detail))
            }
            (first, None) => Ok(Struck::Go(first)),
        },
    }
}

/// Why the caller of a request whose answer is lost hears nothing.
pub(crate) fn unheard(rule: &str) -> Refusal {
    let detail = "`archipel chaos` broke the connection before the answer came back";
    Refusal::new(Problem::UpstreamReset, rule, detail)
}

/// The request and a copy of it, if it can be copied.
async fn twin(passage: Passage<'_>) -> Result<(Passage<'_>, Option<Request<Body>>), Refusal> {
    use http_body::Body as _;
    let request = &passage.request;
    let small = request.body().size_hint().upper();
    let small = small.is_some_and(|bytes| bytes <= COPY_BYTES_MAX as u64);
    if !small || request.headers().contains_key(http::header::UPGRADE) {
        return Ok((passage, None));
    }
    let (head, body) = passage.request.into_parts();
    let body = body.collect(COPY_BYTES_MAX).await.map_err(|error| {
        Refusal::new(Problem::CallerGone, "chaos", format!("the body broke off: {error}"))
    })?;
    let mut copy = Request::new(Body::full(body.clone()));
    copy.headers_mut().clone_from(&head.headers);
    *copy.method_mut() = head.method.clone();
    *copy.uri_mut() = head.uri.clone();
    *copy.version_mut() = head.version;
    let request = Request::from_parts(head, Body::full(body));
    Ok((Passage { request, ..passage }, Some(copy)))
}

/// Delivers a request for which nobody waits, like the one that it is a copy of.
fn detach(flight: &Flight, request: Request<Body>, like: &Passage<'_>, after: Duration) {
    let shared = flight.shared();
    let detached = Arc::clone(&shared.faults.detached);
    if detached.fetch_add(1, Relaxed) >= DETACHED_MAX {
        detached.fetch_sub(1, Relaxed);
        return;
    }
    let start = Start {
        way: Arc::clone(&flight.way),
        trace: flight.trace,
        started: clock::now(),
        method: request.method().clone(),
        path: request.uri().path_and_query().cloned(),
        busy: None,
    };
    let (policy, request_id) = (like.policy.clone(), like.request_id.clone());
    let origin = like.origin.clone();
    let task = Arc::clone(shared);
    shared.tasks.spawn("gateway.detached", async move {
        clock::sleep(after).await;
        let mut flight = Flight::new(Arc::clone(&task), start);
        let passage =
            Passage { shared: &task, policy: &policy, request, request_id: &request_id, origin };
        match hop::carry(&mut flight, passage).await {
            Ok((answer, _)) => {
                let answer = hop::answer(flight, answer, request_id, policy.idle);
                // Taken in, so that the instance can finish it.
                let _ = answer.into_body().collect(COPY_BYTES_MAX).await;
            }
            Err(refusal) => flight.refused(refusal.problem),
        }
        detached.fetch_sub(1, Relaxed);
    });
}

fn between(min: Duration, max: Duration) -> Duration {
    let span = u64::try_from(max.saturating_sub(min).as_micros()).unwrap_or(u64::MAX);
    min + Duration::from_micros(random::below(span.saturating_add(1)))
}
