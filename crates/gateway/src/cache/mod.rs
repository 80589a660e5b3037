//! Answers from memory, by the rules for shared caches (RFC 9111).
//!
//! Only for public routes that ask. The service says what may be stored and for how long; the
//! route's own time holds where it says nothing, and then only for requests that nobody can be
//! recognised by: with `Authorization`, or cookies that the route does not account for, such a
//! request goes to the service, and its answer to its sender alone.
//!
//! ```text
//! visit:   request → find → verdict ─ fresh ──────────────→ respond
//!                             │ else                          ↑
//!          collapse (one leads, the others wait and find) ────┤
//!                             │ leads                         │
//! fetch:   hop → storable? ─ tee ─→ caller                    │
//!                             └──→ store ─────────────────────┘
//! ```
//!
//! What is stored is the plain content; encodings of it are made once, on demand. A success of a
//! method with effects removes what is stored under its URI, also on a route that caches nothing.

mod collapse;
mod control;
mod feed;
mod fetch;
mod key;
mod ledger;
mod purge;
mod respond;
mod rules;
mod store;
mod stored;
mod visit;

use std::sync::Arc;

use archipel_model::RouteCache;
use http::header::{self, HeaderName};
use http::{Method, Request, Response, Uri as HttpUri};
use http_body::Body as _;

use crate::cache::key::{Key, Parts, Uri};
pub use crate::cache::purge::Purge;
use crate::cache::rules::Defaults;
pub use crate::cache::store::CacheCount;
pub(crate) use crate::cache::store::Store;
use crate::cache::store::Tally;
pub(crate) use crate::cache::visit::{Visit, serve};
use crate::message::body::Body;
use crate::way::Way;

/// What the cache has to do with the requests of one route.
pub(crate) struct Caching {
    store: Arc<Store>,
    /// `None`: nothing of this route is stored, but it may change what is.
    policy: Option<Policy>,
}

/// What one route says about it.
pub(crate) struct Policy {
    store: Arc<Store>,
    route: Arc<str>,
    parts: Parts,
    defaults: Defaults,
    object_max: usize,
    compress: bool,
    /// The same way for requests of our own, which count as ours.
    inside: Arc<Way>,
    tally: Arc<Tally>,
}

/// What a request means to the cache.
pub(crate) enum Concern<'a> {
    Nothing,
    /// It may be answered from memory, or its answer kept.
    Serve(&'a Policy),
    /// If it succeeds, what is stored here may no longer be true.
    Doubt(Doubt),
}

impl Caching {
    pub(crate) fn new(store: Arc<Store>, policy: Option<Policy>) -> Self {
        Self { store, policy }
    }

    pub(crate) fn concern(&self, request: &Request<Body>) -> Concern<'_> {
        let method = request.method();
        if rules::is_unsafe(method) {
            let key = Uri::of(request).to_key();
            return Concern::Doubt(Doubt { store: Arc::clone(&self.store), key });
        }
        let plain = matches!(*method, Method::GET | Method::HEAD)
            && request.body().is_end_stream()
            && !PECULIAR.iter().any(|name| request.headers().contains_key(name));
        match &self.policy {
            Some(policy) if plain => Concern::Serve(policy),
            _ => Concern::Nothing,
        }
    }
}

/// With these a GET is about something else than its URI says, or must reach the service: they
/// ask for another protocol, for a state of the resource that only the service knows, or (though
/// not part of HTTP) for another method or path.
const PECULIAR: [HeaderName; 9] = [
    header::UPGRADE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::EXPECT,
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// A request with effects, as far as stored answers are concerned (section 4.4).
pub(crate) struct Doubt {
    store: Arc<Store>,
    key: Key,
}

impl Doubt {
    /// The answer is here: if it says that something was done, what was stored is forgotten.
    pub(crate) fn settle<B>(&self, answer: &Response<B>) {
        if !answer.status().is_success() && !answer.status().is_redirection() {
            return;
        }
        self.store.doubt(&Uri { host: (&*self.key.host).into(), target: &self.key.target });
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let other = answer.headers().get(name).and_then(|value| value.to_str().ok());
            if let Some(target) = other.and_then(|other| self.same_origin(other)) {
                self.store.doubt(&Uri { host: (&*self.key.host).into(), target: &target });
            }
        }
    }

    /// Path and query of a reference, when it leads to this host.
    fn same_origin(&self, reference: &str) -> Option<String> {
        if reference.starts_with("//") {
            return None;
        }
        if reference.starts_with('/') {
            return Some(reference.split('#').next().unwrap_or_default().to_owned());
        }
        match reference.parse::<HttpUri>() {
            Ok(uri) if uri.scheme().is_some() => {
                let host = uri.authority()?.as_str();
                let here = host.eq_ignore_ascii_case(&self.key.host);
                let whole = uri.path_and_query().map_or("/", |whole| whole.as_str());
                here.then(|| whole.to_owned())
            }
            _ => {
                // Relative to the last `/` of the path.
                let path = self.key.target.split('?').next().unwrap_or_default();
                let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
                Some(format!("{folder}{reference}"))
            }
        }
    }
}

impl Policy {
    pub(crate) fn new(
        store: &Arc<Store>,
        route: &Arc<str>,
        cache: &RouteCache,
        compress: bool,
        inside: Arc<Way>,
    ) -> Self {
        let header = |name: &String| HeaderName::from_bytes(name.as_bytes()).ok();
        Self {
            store: Arc::clone(store),
            route: Arc::clone(route),
            parts: Parts {
                headers: cache.vary.iter().filter_map(header).collect(),
                cookies: cache.cookies.clone(),
            },
            defaults: Defaults {
                ttl: cache.ttl,
                while_revalidate: cache.stale_while_revalidate.unwrap_or_default(),
                if_error: cache.stale_if_error.unwrap_or_default(),
            },
            object_max: usize::try_from(cache.object_max().0).unwrap_or(usize::MAX),
            compress,
            inside,
            tally: store.tally(route),
        }
    }
}
