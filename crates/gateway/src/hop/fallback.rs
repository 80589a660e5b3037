//! Asks somebody else when the first answer is "not mine", or there is none.
//!
//! Only where the first one cannot have done anything: what it answered, or kept silent on, may
//! be asked again if asking has no effect (GET, HEAD, OPTIONS); what never reached it may go
//! elsewhere whatever its method. A body is kept for that only up to a bound; requests with more
//! than that, or that switch protocols, take the first answer as it is.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use archipel_model::{Elsewhere, FallbackOn};
use http::{Method, Request, header};
use http_body::Body as _;

use crate::hop::{self, Forwarded, Passage};
use crate::message::body::{Body, BodyError};
use crate::record::flow::Flight;
use crate::refusal::{Problem, Refusal};
use crate::shadow::head_of;
use crate::shadow::report::{Skipped, Watch};
use crate::upstream::instance::Answer;
use crate::way::Way;

/// What is kept of a request's body in case that it has to be sent again.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(crate) struct Fallback {
    way: Arc<Way>,
    on: FallbackOn,
    methods: Vec<Method>,
    watch: Arc<Watch>,
}

impl Fallback {
    pub(crate) fn new(spec: &Elsewhere, way: Arc<Way>, watch: Arc<Watch>) -> Self {
        Self {
            way,
            on: spec.on.clone(),
            methods: spec.methods.iter().filter_map(|method| method.parse().ok()).collect(),
            watch,
        }
    }

    fn concerns(&self, request: &Request<Body>) -> bool {
        let small = request.body().size_hint().exact().is_some_and(|n| n <= BODY_BYTES_MAX as u64);
        small
            && self.methods.contains(request.method())
            && !request.headers().contains_key(header::UPGRADE)
    }

    fn takes_over(&self, first: &Result<Answer, Refusal>, safe: bool) -> bool {
        match first {
            Ok(answer) => safe && self.on.statuses.contains(&answer.response.status().as_u16()),
            Err(refusal) => match refusal.problem {
                Problem::ConnectFailed | Problem::NoInstance | Problem::UnknownService => {
                    self.on.connect
                }
                Problem::CircuitOpen => self.on.breaker,
                Problem::TooManyInflight | Problem::Overloaded => self.on.overload,
                Problem::UpstreamReset => safe && self.on.reset,
                Problem::Timeout => safe && self.on.timeout,
                _ => false,
            },
        }
    }
}

/// Sends the request to its way, and to the fallback's if that must be.
pub(crate) async fn forward(
    flight: &mut Flight,
    fallback: &Fallback,
    passage: Passage<'_>,
) -> Forwarded {
    if !fallback.concerns(&passage.request) {
        return hop::plain(flight, passage).await;
    }
    let way = Arc::clone(&flight.way);
    let Passage { shared, request, request_id, origin, .. } = passage;
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let head = head_of(&request);
    let (parts, body) = request.into_parts();
    let body = match body.is_end_stream() {
        true => None,
        false => Some(body.collect(BODY_BYTES_MAX).await.map_err(|error| unread(&error, &way))?),
    };
    let again = || body.clone().map_or_else(Body::empty, Body::full);
    let request = Request::from_parts(parts, again());
    let policy = &way.policy;
    let first = Passage { shared, policy, request, request_id, origin: origin.clone() };
    let first = hop::plain(flight, first).await;
    // It did not ask to switch protocols, so there is nothing beside the answer.
    let first = first.map(|(answer, _)| answer);
    if !fallback.takes_over(&first, safe) {
        return first.map(|answer| (answer, None));
    }
    fallback.watch.fell_back.fetch_add(1, Relaxed);
    if let Some(tell) = flight.watching.take() {
        let _ = tell.send(Err(Skipped::FellBack));
    }
    let mut passed = flight.pass_on(Arc::clone(&fallback.way));
    match first {
        Ok(answer) => {
            // What is little is read, so that the connection can be used again; nobody waits.
            let dropped = hop::answer(passed, answer, request_id.clone(), way.policy.idle);
            if !dropped.body().is_end_stream() {
                shared.upstream.spawn("gateway.not-mine", dropped.into_body().swallow());
            }
        }
        Err(refusal) => {
            passed.refused(refusal.problem);
            passed.end();
        }
    }
    let (request, policy) = (head.map(|()| again()), &fallback.way.policy);
    hop::plain(flight, Passage { shared, policy, request, request_id, origin }).await
}

fn unread(error: &BodyError, way: &Way) -> Refusal {
    match error {
        BodyError::TooLarge { limit } => {
            let detail = format!("the body is larger than the {limit} bytes allowed here");
            Refusal::new(Problem::BodyTooLarge, way.rule.clone(), detail)
        }
        _ => {
            let detail = "the body of the request broke off";
            Refusal::new(Problem::CallerGone, way.rule.clone(), detail)
        }
    }
}
