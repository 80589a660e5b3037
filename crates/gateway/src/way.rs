//! Where a request may go once it is known who sent it: one per edge and one per route, made
//! when the table is applied, so that a request finds all that concerns it in one place.

use std::sync::Arc;

use archipel_model::{Condition, EdgePolicy, Template};
use http::{HeaderName, HeaderValue};

use crate::Caller;
use crate::cache::Caching;
use crate::guard::ward::Ward;
use crate::record::counters::Series;
use crate::route::steer::Steering;
use crate::safeguard::State;
use crate::safeguard::limiter::Limiter;
use crate::upstream::service::Service;

pub(crate) struct Way {
    /// `None` for requests that found no route: they are counted too.
    pub(crate) service: Option<Arc<Service>>,
    pub(crate) policy: EdgePolicy,
    pub(crate) body_max: Option<u64>,
    /// Segments of the path that are not passed on.
    pub(crate) strip: usize,
    pub(crate) rewrite: Option<Template>,
    /// What must hold besides host, path and method.
    pub(crate) when: Vec<Condition>,
    /// What it does beyond leading to one service.
    pub(crate) steering: Option<Box<Steering>>,
    /// Who sends it may be repeated, whatever the method.
    pub(crate) idempotency: Option<HeaderName>,
    /// What the callee is told about who calls.
    pub(crate) caller_header: Option<HeaderValue>,
    pub(crate) series: Arc<Series>,
    /// Of what its policy asks for beyond limits and retries.
    pub(crate) state: Option<Arc<State>>,
    /// Of its service, where it has one.
    pub(crate) limiter: Option<Arc<Limiter>>,
    /// What the cache has to do with its requests.
    pub(crate) cache: Option<Caching>,
    /// Answers are encoded for callers who like that.
    pub(crate) compress: bool,
    /// As a refusal names it: `edge cart->catalog`.
    pub(crate) rule: String,
    /// On the public entrance only.
    pub(crate) ward: Option<Box<Ward>>,
}

impl Way {
    /// Whether each of its requests leaves a line in the access log.
    pub(crate) fn is_logged(&self) -> bool {
        self.ward.as_ref().is_some_and(|ward| ward.gate.log.is_some())
    }

    /// Of what we fetch ourselves.
    pub(crate) fn inside(service: Arc<Service>, policy: EdgePolicy, series: Arc<Series>) -> Self {
        let rule = format!("edge archipel->{}", service.name);
        Self {
            service: Some(service),
            policy,
            body_max: None,
            strip: 0,
            rewrite: None,
            when: Vec::new(),
            steering: None,
            idempotency: None,
            caller_header: None,
            series,
            state: None,
            limiter: None,
            cache: None,
            compress: false,
            rule,
            ward: None,
        }
    }

    /// Whether calls under this policy may share it with those it was made for.
    pub(crate) fn is_for(&self, policy: &EdgePolicy) -> bool {
        let caller = &self.series.key().caller;
        let limiter = self.service.as_ref().and_then(|service| service.limiter_for(caller));
        self.policy.safeguards == policy.safeguards && self.limiter.is_some() == limiter.is_some()
    }

    /// Whether a request must ask before it sets out.
    pub(crate) fn has_safeguards(&self) -> bool {
        self.state.is_some() || self.limiter.is_some()
    }
}

pub(crate) fn caller_header(caller: &Caller) -> Option<HeaderValue> {
    match caller {
        Caller::Service(name) => HeaderValue::from_str(name.as_str()).ok(),
        Caller::Outside | Caller::Archipel => None,
    }
}
