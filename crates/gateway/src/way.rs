//! Where a request may go once it is known who sent it: one per edge and one per route, made
//! when the table is applied, so that a request finds all that concerns it in one place.

use std::sync::Arc;

use archipel_model::EdgePolicy;
use http::HeaderValue;

use crate::Caller;
use crate::cache::Caching;
use crate::record::counters::Series;
use crate::upstream::service::Service;

pub(crate) struct Way {
    /// `None` for requests that found no route: they are counted too.
    pub(crate) service: Option<Arc<Service>>,
    pub(crate) policy: EdgePolicy,
    pub(crate) body_max: Option<u64>,
    /// Segments of the path that are not passed on.
    pub(crate) strip: usize,
    /// What the callee is told about who calls.
    pub(crate) caller_header: Option<HeaderValue>,
    pub(crate) series: Arc<Series>,
    /// What the cache has to do with its requests.
    pub(crate) cache: Option<Caching>,
    /// Answers are encoded for callers who like that.
    pub(crate) compress: bool,
    /// As a refusal names it: `edge cart->catalog`.
    pub(crate) rule: String,
}

pub(crate) fn caller_header(caller: &Caller) -> Option<HeaderValue> {
    match caller {
        Caller::Service(name) => HeaderValue::from_str(name.as_str()).ok(),
        Caller::Outside | Caller::Archipel => None,
    }
}
