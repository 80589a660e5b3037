//! Chooses the instance for one try, and remembers of the try what matters for the next choice.
//!
//! Where there is only one instance there is nothing to choose, and nothing is remembered.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use archipel_rt::clock::Instant;
use archipel_rt::random;
use http::header;

use crate::record::flow::Flight;
use crate::route::sticky;
use crate::safeguard::admission;
use crate::shared::Shared;
use crate::upstream::balancer;
use crate::upstream::instance::{Answer, Failure, Instance};
use crate::upstream::service::{Live, Service};

/// `now` is there when there is a choice.
pub(crate) fn pick(
    shared: &Shared,
    live: &Live,
    tried: &[Arc<Instance>],
    now: Option<Instant>,
    visitor: Option<u64>,
) -> Option<Arc<Instance>> {
    let instances = &live.instances;
    let now = match (instances.as_slice(), now) {
        ([only], _) => return Some(Arc::clone(only)),
        (_, Some(now)) => shared.millis_at(now),
        (_, None) => shared.millis(),
    };
    if let Some(visitor) = visitor {
        return sticky::choose(instances, tried, now, visitor);
    }
    let candidate = |i: usize| {
        let instance = &instances[i];
        let warmth = instance.warmth(now, live.slow_start);
        balancer::Candidate {
            inflight: instance.inflight.load(Relaxed),
            micros: instance.latency.now(now),
            tried: tried.iter().any(|t| Arc::ptr_eq(t, instance)),
            avoided: instance.is_avoided(now),
            ejected: instance.outlier.is_out(now),
            warming: warmth < 256 && random::u64() % 256 >= warmth,
        }
    };
    let draws = (random::u64(), random::u64());
    balancer::choose(instances.len(), candidate, draws).map(|i| Arc::clone(&instances[i]))
}

/// What a try says about its instance.
enum Verdict {
    Good,
    Bad,
    /// It is no fault of the instance, or none at all.
    Nothing,
}

/// Remembers how a try ended that came to the head of an answer, or failed.
pub(crate) fn learn(
    shared: &Shared,
    flight: &Flight,
    live: &Live,
    service: &Service,
    sent: &Result<Answer, Failure>,
) {
    let verdict = match sent {
        Ok(answer) => {
            let (status, headers) = (answer.response.status(), answer.response.headers());
            match admission::is_failure(status, headers) {
                // It knows what it does.
                true if headers.contains_key(header::RETRY_AFTER) => Verdict::Nothing,
                true => Verdict::Bad,
                false => Verdict::Good,
            }
        }
        Err(Failure::Connect { .. }) => Verdict::Bad,
        Err(Failure::Unsent { .. }) => Verdict::Nothing,
        Err(Failure::Broken { source }) => match super::exchange::body_fault(source) {
            Some(_) => Verdict::Nothing,
            None => Verdict::Bad,
        },
    };
    note(shared, flight, live, service, &verdict);
}

/// The instance did not answer within what the policy grants.
pub(crate) fn learn_timeout(shared: &Shared, flight: &Flight, service: &Service) {
    if flight.is_at_instance() {
        note(shared, flight, &service.live.load(), service, &Verdict::Bad);
    }
}

fn note(shared: &Shared, flight: &Flight, live: &Live, service: &Service, verdict: &Verdict) {
    if live.instances.len() < 2 {
        return;
    }
    let (Some(instance), Some((took, now))) = (flight.instance(), flight.try_took()) else {
        return;
    };
    let now = shared.millis_at(now);
    match verdict {
        Verdict::Good => {
            instance.latency.add(took, now);
            instance.outlier.good();
        }
        Verdict::Bad => {
            instance.latency.add_failure(took, now);
            if instance.outlier.bad() {
                live.eject(instance, &service.name, now);
            }
        }
        Verdict::Nothing => {}
    }
}
