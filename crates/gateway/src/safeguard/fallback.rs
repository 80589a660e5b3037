//! What a caller gets when there is no good answer, as the file declares it: the same every time,
//! the last good one, or nothing. So a service that is not needed for a page leaves a gap in it
//! and does not break it.
//!
//! Every such answer says so in `x-archipel-fallback: stale; timeout`: what it is, and why.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use archipel_model::{Fallback as Policy, FallbackOn, Spare};
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;

use crate::message::body::Body;
use crate::message::trace::REQUEST_ID;
use crate::record::flow::Flight;
use crate::refusal::{Problem, Refusal};
use crate::safeguard::State;
use crate::safeguard::stale::{self, Key, Stale};
use crate::upstream::instance::Answer;
use crate::way::Way;

const FALLBACK: HeaderName = HeaderName::from_static("x-archipel-fallback");

pub(crate) struct Fallback {
    policy: Policy,
    methods: Vec<Method>,
    stale: Option<Arc<Stale>>,
    used: AtomicU64,
}

impl Fallback {
    pub(crate) fn new(policy: Policy) -> Self {
        let stale = matches!(policy.with, Spare::Stale(_)).then(Arc::default);
        let methods = policy.methods.iter().filter_map(|method| method.parse().ok()).collect();
        Self { policy, methods, stale, used: AtomicU64::new(0) }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

/// One request that has something to fall back on.
pub(crate) struct Ready {
    state: Arc<State>,
    key: Option<Key>,
}

/// The answer to give, and why.
pub(crate) struct Instead {
    response: Response<Body>,
    kind: &'static str,
    problem: Option<Problem>,
}

/// Before the request is sent: what will be needed if it fails.
pub(crate) fn ready<B>(way: &Way, request: &Request<B>) -> Option<Ready> {
    let state = way.state.as_ref()?;
    let fallback = state.fallback.as_ref()?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let grpc = content_type.is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    if !fallback.methods.contains(request.method()) || grpc {
        return None;
    }
    let key = fallback.stale.is_some().then(|| stale::key_of(request));
    // Nothing can be kept for it, so nothing can be given.
    let key = if let Some(key) = key { Some(key?) } else { None };
    Some(Ready { state: Arc::clone(state), key })
}

impl Ready {
    /// What to answer in place of this outcome, if it is one to be replaced and there is something
    /// to replace it with.
    pub(crate) fn instead_of(
        &self,
        outcome: &Result<(Answer, Option<OnUpgrade>), Refusal>,
    ) -> Option<Instead> {
        let fallback = self.state.fallback.as_ref()?;
        let on = &fallback.policy.on;
        let (reason, problem): (Cow<'static, str>, _) = match outcome {
            Ok((answer, _)) => {
                let status = answer.response.status().as_u16();
                on.statuses.contains(&status).then(|| (status.to_string().into(), None))?
            }
            Err(refusal) => (reason_of(refusal.problem, on)?.into(), Some(refusal.problem)),
        };
        let (kind, mut response) = match &fallback.policy.with {
            Spare::Static { status, content_type, body } => {
                ("static", fixed(*status, content_type, body))
            }
            Spare::Stale(age_max) => {
                let found = fallback.stale.as_ref()?.find(self.key.as_ref()?, *age_max)?;
                ("stale", found.again())
            }
            Spare::Skip => ("skip", fixed(204, "", "")),
        };
        fallback.used.fetch_add(1, Relaxed);
        if let Ok(value) = HeaderValue::try_from(format!("{kind}; {reason}")) {
            response.headers_mut().insert(FALLBACK, value);
        }
        Some(Instead { response, kind, problem })
    }

    /// A good answer passes; perhaps it will be needed.
    pub(crate) fn remember(self, answer: Response<Body>) -> Response<Body> {
        let stale = self.state.fallback.as_ref().and_then(|fallback| fallback.stale.as_ref());
        match (stale, self.key) {
            (Some(stale), Some(key)) => stale.remember(key, answer),
            _ => answer,
        }
    }
}

impl Instead {
    pub(crate) fn answer(self, mut flight: Flight, request_id: HeaderValue) -> Response<Body> {
        let mut response = self.response;
        flight.fell_back(self.kind, self.problem, response.status().as_u16());
        response.headers_mut().insert(REQUEST_ID, request_id);
        let size = http_body::Body::size_hint(response.body()).exact();
        flight.add_bytes(size.unwrap_or_default());
        flight.end();
        response
    }
}

fn reason_of(problem: Problem, on: &FallbackOn) -> Option<&'static str> {
    let (asked, reason) = match problem {
        Problem::NoInstance | Problem::ConnectFailed => (on.connect, "connect"),
        Problem::UpstreamReset => (on.reset, "reset"),
        Problem::Timeout | Problem::Deadline => (on.timeout, "timeout"),
        Problem::CircuitOpen => (on.breaker, "breaker"),
        Problem::TooManyInflight | Problem::Overloaded => (on.overload, "overload"),
        _ => return None,
    };
    asked.then_some(reason)
}

fn fixed(status: u16, content_type: &str, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(value) = HeaderValue::from_str(content_type).ok().filter(|v| !v.is_empty()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    response
}
