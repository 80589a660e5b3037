//! One request on a route that caches: what is stored that could answer it?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use archipel_rt::clock;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};

use crate::cache::Policy;
use crate::cache::collapse::{self, Leading, Outcome, Turn};
use crate::cache::control::Control;
use crate::cache::fetch::{self, Errand};
use crate::cache::key::{Key, Uri};
use crate::cache::respond::{self, Reader};
use crate::cache::rules::{self, Verdict};
use crate::cache::store::{Found, Store};
use crate::cache::stored::Stored;
use crate::compress::{self, Wish};
use crate::entry::entrance::refuse;
use crate::hop::outgoing::Origin;
use crate::message::body::Body;
use crate::message::trace::{REQUEST_ID, Trace};
use crate::record::flow::{Flight, Start};
use crate::refusal::{Form, Problem, Refusal};
use crate::shared::Shared;
use crate::way::Way;

/// A request's surroundings.
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) flight: Flight,
    pub(crate) request_id: HeaderValue,
    pub(crate) origin: Origin,
    pub(crate) form: Form,
}

/// What was found for a request.
struct Sight {
    stored: Option<Arc<Stored>>,
    /// As `Cache-Status` has it, when the request goes on to the service.
    why: &'static str,
    /// May be given out if the service fails.
    if_error: bool,
}

/// Answers a request from memory, or has it answered and keeps what it may.
pub(crate) async fn serve(
    policy: &Policy,
    visit: Visit,
    mut request: Request<Body>,
) -> Response<Body> {
    let control = asked(request.headers());
    let wish = simplify(policy, &mut request);
    let uri = Uri::of(&request);
    let personal = policy.parts.is_personal(request.headers());
    let request_id = visit.request_id.clone();
    let store = &policy.store;
    let reader = Reader {
        uri: &uri,
        method: request.method(),
        headers: request.headers(),
        coding: wish.and_then(|wish| wish.coding),
    };
    let mut until = None;
    let mut waited = false;
    let (sight, leading) = loop {
        let sight = match look(store, policy, &reader, &control, personal) {
            Look::Answer(stored, verdict) => {
                let tally = &policy.tally;
                let (told, counter) = match verdict {
                    _ if waited => ("fwd=uri-miss; collapsed", &tally.collapsed),
                    Verdict::Fresh => ("hit", &tally.hits),
                    _ => ("hit", &tally.stale),
                };
                count(counter);
                if verdict == Verdict::StaleMeanwhile {
                    refresh(policy, &visit, &request, &uri, &stored);
                }
                let response = respond::respond(store, &stored, &reader, told, visit.flight);
                return with_id(response.await, request_id);
            }
            Look::Ask(sight) => sight,
        };
        if control.only_if_cached {
            let detail =
                "the caller wants only what is stored, and nothing is that could answer it";
            let rule = visit.flight.way.rule.clone();
            let refusal = Refusal::new(Problem::NotCached, rule, detail);
            return refuse(&visit.shared, visit.flight, refusal, visit.form, visit.request_id);
        }
        if waited || !may_lead(&reader, &control, sight.stored.is_some()) {
            break (sight, None);
        }
        let lead = store.hash((&uri, &policy.route, personal));
        if store.passes(lead) {
            break (sight, None);
        }
        match store.leads.join(store, lead) {
            Turn::Leads(leading) => break (sight, Some(leading)),
            Turn::Goes => break (sight, None),
            Turn::Waits(outcome) => {
                let until = *until.get_or_insert_with(|| clock::now() + collapse::WAIT);
                match collapse::wait(outcome, until).await {
                    Outcome::Stored => waited = true,
                    Outcome::Gone if clock::now() < until => {}
                    _ => break (sight, None),
                }
            }
        }
    };
    count(&policy.tally.misses);
    let errand = Errand {
        policy,
        keep: *request.method() == Method::GET && !control.no_store,
        stored: sight.stored,
        if_error: sight.if_error,
        why: sight.why,
        leading,
        key: uri.to_key(),
        personal,
        wish,
        request,
    };
    fetch::fetch(visit, errand).await
}

enum Look {
    Answer(Arc<Stored>, Verdict),
    Ask(Sight),
}

fn look(
    store: &Store,
    policy: &Policy,
    reader: &Reader<'_>,
    control: &Control,
    personal: bool,
) -> Look {
    let ask = |stored, why, if_error| Look::Ask(Sight { stored, why, if_error });
    match store.find(reader.uri, &policy.route, reader.headers) {
        Found::Nothing => ask(None, "fwd=uri-miss", false),
        Found::Others => ask(None, "fwd=vary-miss", false),
        // Whether it is for everyone is the route's guess; here somebody may be recognised.
        Found::Stored(stored) if stored.term.by_default && personal => {
            ask(None, "fwd=bypass", false)
        }
        Found::Stored(stored) => match rules::verdict(&stored.term, stored.age(), control) {
            Verdict::Ask { if_error } => {
                let fresh = stored.age() < stored.term.fresh_for && !stored.term.ask_always;
                ask(Some(stored), if fresh { "fwd=request" } else { "fwd=stale" }, if_error)
            }
            verdict => Look::Answer(stored, verdict),
        },
    }
}

/// Whether others may wait for what this one brings.
fn may_lead(reader: &Reader<'_>, control: &Control, refreshes: bool) -> bool {
    let part = [header::RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    let own = !refreshes && part.iter().any(|name| reader.headers.contains_key(name));
    *reader.method == Method::GET && !own && !control.no_store && !control.no_cache
}

/// Asks for a newer answer without anybody waiting for it.
fn refresh(
    policy: &Policy,
    visit: &Visit,
    request: &Request<Body>,
    uri: &Uri<'_>,
    stored: &Arc<Stored>,
) {
    let store = &policy.store;
    let personal = policy.parts.is_personal(request.headers());
    let Ok(room) = Arc::clone(&store.background).try_acquire_owned() else { return };
    let lead = store.hash((uri, &policy.route, personal));
    let Turn::Leads(leading) = store.leads.join(store, lead) else { return };
    let mut copy = Request::new(Body::empty());
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    let work = Background {
        way: Arc::clone(&visit.flight.way),
        inside: Arc::clone(&policy.inside),
        shared: Arc::clone(&visit.shared),
        origin: visit.origin.clone(),
        request: copy,
        key: uri.to_key(),
        stored: Arc::clone(stored),
        personal,
        leading,
    };
    visit.shared.tasks.spawn_unnamed(async move {
        work.run().await;
        drop(room);
    });
}

struct Background {
    /// Holds the policy.
    way: Arc<Way>,
    inside: Arc<Way>,
    shared: Arc<Shared>,
    origin: Origin,
    request: Request<Body>,
    key: Key,
    stored: Arc<Stored>,
    personal: bool,
    leading: Leading,
}

impl Background {
    async fn run(self) {
        let Some(policy) = self.way.cache.as_ref().and_then(|caching| caching.policy.as_ref())
        else {
            return;
        };
        let trace = Trace::read(self.request.headers());
        let request_id = trace.request_id(self.request.headers());
        let start = Start {
            way: self.inside,
            trace,
            started: clock::now(),
            method: Method::GET,
            path: self.request.uri().path_and_query().cloned(),
            busy: None,
        };
        let visit = Visit {
            flight: Flight::new(Arc::clone(&self.shared), start),
            shared: Arc::clone(&self.shared),
            request_id,
            origin: self.origin,
            form: Form::Problem,
        };
        let errand = Errand {
            policy,
            keep: true,
            stored: Some(self.stored),
            if_error: false,
            why: "fwd=stale",
            leading: Some(self.leading),
            key: self.key,
            personal: self.personal,
            wish: None,
            request: self.request,
        };
        let work = Box::pin(fetch::fetch(visit, errand));
        tokio::select! {
            biased;
            () = self.shared.cut.cancelled() => {}
            // Nobody takes the body; what reads it to be stored goes on.
            _ = work => {}
        }
    }
}

/// What a request says about stored answers.
fn asked(headers: &HeaderMap) -> Control {
    let mut control = Control::of(headers);
    // How HTTP/1.0 says it.
    let pragma = || headers.get_all(header::PRAGMA).iter().any(|p| p.as_bytes() == b"no-cache");
    if !headers.contains_key(header::CACHE_CONTROL) && pragma() {
        control.no_cache = true;
    }
    control
}

/// Takes out of the request what would make answers differ for no reason. Returns how the caller
/// likes its answer encoded, where that is up to us.
fn simplify(policy: &Policy, request: &mut Request<Body>) -> Option<Wish> {
    let wish = Wish::of(request.method(), request.headers());
    let headers = request.headers_mut();
    policy.parts.drop_cookies(headers);
    let accepts = headers.remove(header::ACCEPT_ENCODING);
    if policy.compress {
        return Some(wish);
    }
    // The service encodes: then for each coding that anybody likes best there is one variant.
    if let (Some(coding), Some(_)) = (wish.coding, accepts) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    None
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub(crate) fn with_id(mut response: Response<Body>, id: HeaderValue) -> Response<Body> {
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// For an answer that is not stored, as for any other.
pub(crate) fn encoded(wish: Option<Wish>, response: Response<Body>) -> Response<Body> {
    match wish {
        Some(wish) => compress::answer(wish, response),
        None => response,
    }
}
