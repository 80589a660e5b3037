//! Whether a request may set out at all, and what is learnt from how it ended.
//!
//! In this order, the cheapest refusal first: the breaker of its edge, the load of its service,
//! a place in its edge's bulkhead.

use std::sync::{Arc, PoisonError};

use archipel_model::show_duration;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::record::flow::Flight;
use crate::refusal::{Problem, Refusal};
use crate::safeguard::State;
use crate::safeguard::breaker::{Outcome, Pass, Refused};
use crate::safeguard::limiter::Slot;
use crate::shared::Shared;
use crate::upstream::instance::Answer;
use crate::upstream::service::Service;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A request that was let go; dropped without having been told how it ended, it says nothing.
pub(crate) struct Admitted<'a> {
    pass: Option<Held<'a>>,
    slot: Option<Slot>,
    shared: &'a Shared,
}

/// A pass of the breaker, given back in any case.
struct Held<'a> {
    state: Arc<State>,
    pass: Pass,
    outcome: Outcome,
    shared: &'a Shared,
}

pub(crate) async fn admit<'a>(
    shared: &'a Shared,
    flight: &mut Flight,
    service: &Service,
) -> Result<Admitted<'a>, Refusal> {
    let way = Arc::clone(&flight.way);
    let pass = match &way.state {
        Some(state) => ask_breaker(state, shared).map_err(|refused| {
            let wait = std::time::Duration::from_millis(refused.wait_ms);
            let detail = format!(
                "`{}` failed too often of late on this edge; it is asked again in {}",
                service.name,
                show_duration(wait)
            );
            let mut refusal = Refusal::new(Problem::CircuitOpen, way.rule.clone(), detail);
            refusal.retry_after_s = u32::try_from(refused.wait_ms.div_ceil(1_000)).ok();
            refusal
        })?,
        None => None,
    };
    let priority = way.policy.safeguards.priority.or(flight.inherited).unwrap_or_default();
    let slot = match &way.limiter {
        Some(limiter) => Some(limiter.enter(priority).map_err(|full| {
            let detail = format!(
                "`{}` has {} requests under way, and room for {} of this priority",
                service.name, full.inflight, full.limit
            );
            busy(Problem::Overloaded, way.rule.clone(), detail)
        })?),
        None => None,
    };
    if let Some(bulkhead) = way.state.as_ref().and_then(|state| state.bulkhead.as_ref()) {
        let place = bulkhead.enter().await.map_err(|no_place| {
            let (max, name) = (bulkhead.max(), &service.name);
            let mut detail = format!("{max} requests to `{name}` are in flight already");
            if no_place.waiting > 0 {
                detail = format!("{detail}, and {} more wait", no_place.waiting);
            }
            busy(Problem::TooManyInflight, way.rule.clone(), detail)
        })?;
        flight.occupy(place);
    }
    Ok(Admitted { pass, slot, shared })
}

fn busy(problem: Problem, rule: String, detail: String) -> Refusal {
    let mut refusal = Refusal::new(problem, rule, detail);
    refusal.retry_after_s = Some(1);
    refusal
}

fn ask_breaker<'a>(state: &Arc<State>, shared: &'a Shared) -> Result<Option<Held<'a>>, Refused> {
    let Some(breaker) = &state.breaker else { return Ok(None) };
    let now = shared.millis();
    let pass = breaker.lock().unwrap_or_else(PoisonError::into_inner).ask(now)?;
    Ok(Some(Held { state: Arc::clone(state), pass, outcome: Outcome::Unknown, shared }))
}

impl Admitted<'_> {
    /// How it ended, as far as the head of an answer tells.
    pub(crate) fn ended(mut self, flight: &Flight, result: &Result<Answer, Refusal>) {
        let outcome = outcome(result);
        if let Some(held) = &mut self.pass {
            held.outcome = outcome;
        }
        // A connection that is refused at once says nothing about how long an answer takes.
        let waited = match result {
            Ok(_) => true,
            Err(refusal) => matches!(refusal.problem, Problem::Timeout | Problem::Deadline),
        };
        if let (Some(slot), Some((took, now)), true) = (&self.slot, flight.try_took(), waited) {
            slot.answered(took, self.shared.millis_at(now));
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let Some(breaker) = &self.state.breaker else { return };
        let now = self.shared.millis();
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.tell(&self.pass, self.outcome, now);
    }
}

fn outcome(result: &Result<Answer, Refusal>) -> Outcome {
    match result {
        Ok(answer) if is_failure(answer.response.status(), answer.response.headers()) => {
            Outcome::Bad
        }
        Ok(_) => Outcome::Good,
        Err(refusal) => match refusal.problem {
            Problem::NoInstance
            | Problem::ConnectFailed
            | Problem::UpstreamReset
            | Problem::Timeout => Outcome::Bad,
            // The caller's own, or its impatience.
            _ => Outcome::Unknown,
        },
    }
}

/// The service failed, and not the one who asked; for gRPC as far as the head tells.
pub(crate) fn is_failure(status: StatusCode, headers: &HeaderMap) -> bool {
    if status == StatusCode::OK {
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS
        return headers.get(GRPC_STATUS).is_some_and(|status| {
            matches!(status.as_bytes(), b"2" | b"4" | b"13" | b"14" | b"15")
        });
    }
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}
