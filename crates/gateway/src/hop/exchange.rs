//! Finds an instance that takes a request, within the policy's patience.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::EdgePolicy;
use archipel_rt::clock::{self, Instant};
use archipel_rt::{chain, random};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body::Body as _;

use crate::hop::hedge::{self, Race};
use crate::hop::hold::{Hold, Released};
use crate::hop::outgoing::swallow;
use crate::hop::retry::{Next, Reached, Tries};
use crate::hop::{choice, deadline};
use crate::message::body::{Body, BodyError};
use crate::record::flow::Flight;
use crate::refusal::{Problem, Refusal};
use crate::safeguard::admission;
use crate::safeguard::hedge::Hedge;
use crate::shared::Shared;
use crate::upstream::instance::{Answer, Failure, Instance, Speaks};
use crate::upstream::service::{Live, Service};
use crate::way::Way;

/// What a request may cost until it has an answer.
pub(crate) struct Terms<'a> {
    pub(crate) way: &'a Way,
    pub(crate) policy: &'a EdgePolicy,
    pub(crate) deadline: Option<Instant>,
    pub(crate) upgrade: bool,
    /// The whole body of a request that may be repeated although its method does not say so.
    pub(crate) repeat: Option<Bytes>,
}

/// Sends the request to an instance that takes it.
pub(crate) async fn exchange(
    shared: &Shared,
    flight: &mut Flight,
    service: &Service,
    terms: &Terms<'_>,
    outgoing: Request<Body>,
) -> Result<Answer, Refusal> {
    let admitted = match terms.way.has_safeguards() {
        false => None,
        // In a box, so that the requests that need no leave do not carry the room for it.
        true => match Box::pin(admission::admit(shared, flight, service)).await {
            Ok(admitted) => Some(admitted),
            Err(refusal) => {
                swallow(outgoing).await;
                return Err(refusal);
            }
        },
    };
    let result = persevere(shared, flight, service, terms, outgoing).await;
    if let Some(admitted) = admitted {
        admitted.ended(flight, &result);
    }
    result
}

/// Tries until there is an answer or the patience is over.
async fn persevere(
    shared: &Shared,
    flight: &mut Flight,
    service: &Service,
    terms: &Terms<'_>,
    outgoing: Request<Body>,
) -> Result<Answer, Refusal> {
    let policy = terms.policy;
    let mut hold = Hold::new(policy.hold);
    let mut request = outgoing;
    loop {
        // The timeout begins anew: it is about the service, not about the wait for one.
        let limit = Limit::of(policy.timeout, terms.deadline);
        if let Some(limit) = limit.as_ref().filter(|limit| limit.left.is_zero()) {
            return Err(limit.refusal(service, &flight.way.rule));
        }
        let until = limit.as_ref().map(|limit| limit.at);
        let tries = tries(shared, flight, service, terms, until, request);
        let lost = match limit {
            None => tries.await,
            Some(limit) => match clock::timeout_at(limit.at, tries).await {
                Ok(ended) => ended,
                Err(_) => {
                    if limit.problem == Problem::Timeout {
                        choice::learn_timeout(shared, flight, service);
                    }
                    Err(Lost::For(limit.refusal(service, &flight.way.rule)))
                }
            },
        };
        let nobody = match lost {
            Ok(answer) => return Ok(answer),
            Err(Lost::For(refusal)) => return Err(refusal),
            Err(Lost::Nobody(nobody)) => nobody,
        };
        let Nobody { request: same, seen, refusal } = *nobody;
        // In a box, so that the requests that never wait do not carry the room for it.
        match Box::pin(hold.wait(shared, service, &seen, terms.deadline)).await {
            Released::TryAgain => request = same,
            Released::Refuse(note) => {
                swallow(same).await;
                let live = service.live.load();
                let mut refusal = match &live.absent {
                    Some(_) => service.refuse_absent(&live, &flight.way.rule),
                    None => refusal,
                };
                refusal.detail.push_str(&note);
                return Err(refusal);
            }
        }
    }
}

/// When the head of the answer must be here.
struct Limit {
    at: Instant,
    /// From now.
    left: Duration,
    problem: Problem,
}

impl Limit {
    fn of(timeout: Option<Duration>, deadline: Option<Instant>) -> Option<Self> {
        if timeout.is_none() && deadline.is_none() {
            return None;
        }
        let now = clock::now();
        let timeout = timeout.map(|left| Self { at: now + left, left, problem: Problem::Timeout });
        let deadline = deadline.map(|at| {
            let left = at.saturating_duration_since(now);
            Self { at, left, problem: Problem::Deadline }
        });
        timeout.into_iter().chain(deadline).min_by_key(|limit| limit.at)
    }

    fn refusal(&self, service: &Service, rule: &str) -> Refusal {
        let (name, left) = (&service.name, archipel_model::show_duration(self.left));
        let detail = match self.problem {
            Problem::Deadline => {
                format!("`{name}` did not begin to answer in the {left} that its caller had left")
            }
            _ => format!("`{name}` did not begin to answer within {left}"),
        };
        Refusal::new(self.problem, rule, detail)
    }
}

/// A request that got no answer.
enum Lost {
    For(Refusal),
    /// There was nobody to send it to, so it can be sent when there is somebody.
    Nobody(Box<Nobody>),
}

struct Nobody {
    request: Request<Body>,
    seen: Arc<Live>,
    refusal: Refusal,
}

async fn tries(
    shared: &Shared,
    flight: &mut Flight,
    service: &Service,
    terms: &Terms<'_>,
    until: Option<Instant>,
    mut request: Request<Body>,
) -> Result<Answer, Lost> {
    let Terms { way, policy, upgrade, ref repeat, .. } = *terms;
    let connect = policy.connect.unwrap_or(shared.limits.connect);
    let harmless = is_idempotent(request.method()) && request.body().is_end_stream();
    let repeatable = (harmless || repeat.is_some()) && !upgrade;
    let mut live = service.live.load_full();
    let mut left = Tries::new(repeatable, &policy.retry, live.instances.len());
    let mut tried: Vec<Arc<Instance>> = Vec::new();
    let mut again: Option<Arc<Instance>> = None;
    loop {
        let fresh = again.is_some();
        let timed = live.instances.len() > 1 || way.has_safeguards();
        let now = timed.then(clock::now);
        let chosen = || choice::pick(shared, &live, &tried, now, flight.visitor);
        let mut instance = match again.take().or_else(chosen) {
            Some(instance) => instance,
            None => {
                let refusal = service.refuse_absent(&live, &flight.way.rule);
                return Err(Lost::Nobody(Box::new(Nobody { request, seen: live, refusal })));
            }
        };
        if let Some(until) = until {
            let left = until.saturating_duration_since(clock::now());
            deadline::put(request.headers_mut(), left, instance.speaks == Speaks::Http2);
        }
        flight.enter(&instance, now);
        let hedge = way.state.as_ref().and_then(|state| state.hedge.as_ref());
        let hedge = hedge.filter(|_| repeatable && !fresh && hedge::is_read(request.method()));
        let after = hedge.and_then(Hedge::after).filter(|_| live.instances.len() > 1);
        let copy = (left.wants_copy() || after.is_some()).then(|| copy_of(&request));
        let body = || repeat.clone().map_or_else(Body::empty, Body::full);
        let copied = |copy: Request<()>| copy.map(|()| body());
        let sent = match (upgrade, hedge, after, &copy) {
            (true, ..) => instance.send_upgrade(request, connect).await,
            (false, Some(hedge), Some(after), Some(copy)) => {
                let (live, first, tried) = (&live, &instance, &tried);
                let race = Race { shared, live, hedge, first, tried, after, connect, until };
                // In a box, so that other requests do not carry the room for it.
                let (sent, winner) = Box::pin(race.run(request, || copied(copy_of(copy)))).await;
                if let Some((other, asked)) = winner {
                    flight.enter(&other, Some(asked));
                    instance = other;
                }
                sent
            }
            _ => instance.send(request, fresh, !repeatable, connect).await,
        };
        if let Some(hedge) = hedge.filter(|_| sent.is_ok())
            && let Some((took, _)) = flight.try_took()
        {
            hedge.answered(took);
        }
        if live.instances.len() > 1 {
            choice::learn(shared, flight, &live, service, &sent);
        }
        let sent = match sent {
            Ok(answer) if !is_worth_another(&answer, policy) => return Ok(answer),
            sent => sent,
        };
        let budget = || policy.retry.budget.is_none_or(|percent| way.series.may_retry(percent));
        let (next, same) = match sent {
            Ok(answer) => match (left.after(Reached::Answered, budget), copy) {
                (Next::Later, Some(same)) => (Next::Later, copied(same)),
                _ => return Ok(answer),
            },
            Err(failure) => {
                flight.leave();
                let (reached, returned, refusal) = assess(failure, &instance, service, flight);
                match (
                    left.after(reached, budget),
                    returned.map(|request| *request).or(copy.map(copied)),
                ) {
                    (Next::GiveUp, Some(request)) if reached == Reached::Nowhere => {
                        return Err(Lost::Nobody(Box::new(Nobody {
                            request,
                            seen: live,
                            refusal,
                        })));
                    }
                    (Next::GiveUp, unsent) => {
                        if let Some(unsent) = unsent {
                            swallow(unsent).await;
                        }
                        return Err(Lost::For(refusal));
                    }
                    (_, None) => return Err(Lost::For(refusal)),
                    (next, Some(same)) => (next, same),
                }
            }
        };
        flight.leave();
        request = same;
        if next == Next::Fresh {
            again = Some(instance);
            continue;
        }
        if next == Next::Later {
            let pause = policy.retry.backoff.pause(flight.retries, random::u64());
            // In a box, so that the requests that go well do not carry the room for it.
            Box::pin(clock::sleep(pause)).await;
        }
        flight.retries += 1;
        tried.push(instance);
        // Meanwhile others may have become ready, or left.
        live = service.live.load_full();
    }
}

/// The app says that it cannot now, and does not say when it could: then the caller would be told
/// too early, and its turn is its own to decide.
fn is_worth_another(answer: &Answer, policy: &EdgePolicy) -> bool {
    policy.retry.on.status(answer.response.status().as_u16())
        && !answer.response.headers().contains_key(header::RETRY_AFTER)
}

/// How far it came, the request if it came back, and what to say if this was the last try.
fn assess(
    failure: Failure,
    instance: &Instance,
    service: &Service,
    flight: &Flight,
) -> (Reached, Option<Box<Request<Body>>>, Refusal) {
    let who = match &instance.id {
        Some(id) => format!("instance `{id}`"),
        None => format!("`{}`", service.name),
    };
    let rule = flight.way.rule.clone();
    match failure {
        Failure::Connect { request, source } => {
            let detail = format!("{who} does not accept connections: {source}");
            let mut refusal = Refusal::new(Problem::ConnectFailed, rule, detail);
            refusal.retry_after_s = Some(1);
            (Reached::Nowhere, Some(request), refusal)
        }
        Failure::Unsent { request, source } => {
            let detail = format!("{who} closes its connections at once: {}", chain(&source));
            (Reached::Unsent, Some(request), Refusal::new(Problem::ConnectFailed, rule, detail))
        }
        Failure::Broken { source } => match body_fault(&source) {
            Some(fault) => (Reached::Maybe, None, refuse_body(fault, &rule)),
            None => {
                let detail = format!("{who} broke off before it had answered: {}", chain(&source));
                (Reached::Maybe, None, Refusal::new(Problem::UpstreamReset, rule, detail))
            }
        },
    }
}

/// What its sender is told of a body that could not be read.
pub(crate) fn refuse_body(fault: &BodyError, rule: &str) -> Refusal {
    match fault {
        BodyError::TooLarge { limit } => {
            let detail = format!("the body is larger than the {limit} bytes allowed here");
            Refusal::new(Problem::BodyTooLarge, rule, detail)
        }
        BodyError::Slow => {
            Refusal::new(Problem::BodyTooSlow, rule, "the client sends the body too slowly")
        }
        _ => Refusal::new(Problem::CallerGone, rule, "the body of the request broke off"),
    }
}

/// The fault of the request's own body, if that is why the exchange failed.
pub(crate) fn body_fault(error: &hyper::Error) -> Option<&BodyError> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<BodyError>() {
            return Some(fault);
        }
        source = error.source();
    }
    None
}

/// RFC 9110, section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Of a request without a body.
fn copy_of<B>(request: &Request<B>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
