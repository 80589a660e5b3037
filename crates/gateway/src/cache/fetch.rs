//! One request that goes on to the service, and what is kept of the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use archipel_rt::clock::{self, Instant};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;

use crate::cache::Policy;
use crate::cache::collapse::{Leading, Outcome};
use crate::cache::feed;
use crate::cache::key::{Key, Uri, Variant};
use crate::cache::respond::{self, Reader};
use crate::cache::rules::{self, Asked, Term};
use crate::cache::stored::{self, CACHE_STATUS, Payload, Stored};
use crate::cache::visit::{Visit, encoded, with_id};
use crate::compress::{self, Wish};
use crate::entry::entrance::refuse;
use crate::hop::{self, Passage};
use crate::message::body::Body;
use crate::message::headers::{self, Kinds};
use crate::record::flow;
use crate::upstream::instance::Answer;

/// A request to the service and what it is for.
pub(crate) struct Errand<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) request: Request<Body>,
    pub(crate) key: Key,
    /// The answer may be stored, as far as the request is concerned.
    pub(crate) keep: bool,
    /// What is to be replaced, or found to be still good.
    pub(crate) stored: Option<Arc<Stored>>,
    /// That may be given out if the service fails.
    pub(crate) if_error: bool,
    /// For `Cache-Status`.
    pub(crate) why: &'static str,
    /// Others wait for it.
    pub(crate) leading: Option<Leading>,
    pub(crate) personal: bool,
    pub(crate) wish: Option<Wish>,
}

/// What an errand leaves for the time after it.
struct Rest<'a> {
    policy: &'a Policy,
    request: Request<()>,
    key: Key,
    wish: Option<Wish>,
    asked: Asked,
    sent: Instant,
}

pub(crate) async fn fetch(mut visit: Visit, errand: Errand<'_>) -> Response<Body> {
    let Errand { policy, request, key, keep, stored, if_error, why, leading, personal, wish } =
        errand;
    let mut rest = Rest {
        policy,
        request: head_of(&request),
        key,
        wish,
        asked: Asked {
            unstorable: !keep,
            authorized: request.headers().contains_key(header::AUTHORIZATION),
            cookies: personal,
        },
        sent: clock::now(),
    };
    let mut request = request;
    if let Some(stored) = &stored {
        ask_whether_changed(request.headers_mut(), stored);
    }
    rest.sent = clock::now();
    let (way, shared) = (Arc::clone(&visit.flight.way), Arc::clone(&visit.shared));
    let (id, origin) = (visit.request_id.clone(), visit.origin.clone());
    let passage =
        Passage { shared: &shared, policy: &way.policy, request, request_id: &id, origin };
    let answer = match hop::forward(&mut visit.flight, passage).await {
        Ok((answer, _)) => answer,
        Err(refusal) => {
            tell(leading, Outcome::Through);
            return match stored.filter(|_| if_error) {
                Some(stored) => rest.stale(&stored, visit).await,
                None => refuse(&visit.shared, visit.flight, refusal, visit.form, visit.request_id),
            };
        }
    };
    match (answer.response.status(), stored) {
        (StatusCode::NOT_MODIFIED, Some(stored)) => {
            rest.still_good(answer, &stored, visit, leading).await
        }
        (status, Some(stored)) if if_error && is_failure(status) => {
            // Its body and connection are dropped with it.
            drop(answer);
            tell(leading, Outcome::Through);
            rest.stale(&stored, visit).await
        }
        (_, stored) => rest.newer(answer, stored.is_some(), why, visit, leading),
    }
}

impl Rest<'_> {
    /// An answer of its own: to be kept, or to be passed on like any other.
    fn newer(
        self,
        answer: Answer,
        replaces: bool,
        why: &'static str,
        mut visit: Visit,
        leading: Option<Leading>,
    ) -> Response<Body> {
        let policy = self.policy;
        let head = answer.response.headers();
        let status = answer.response.status();
        let term = self.term(status, head).filter(|_| {
            let length = answer.response.body().size_hint().exact();
            length.is_none_or(|length| length <= policy.object_max as u64)
        });
        let (store, idle) = (&policy.store, visit.flight.way.policy.idle);
        let Some(term) = term else {
            match leading {
                Some(leading) if !is_failure(status) => leading.pass(),
                leading => tell(leading, Outcome::Through),
            }
            if replaces && !self.asked.unstorable && !is_failure(status) {
                store.doubt(&uri_of(&self.key));
            }
            let mut response = hop::answer(visit.flight, answer, visit.request_id, idle);
            add_status(response.headers_mut(), why);
            return encoded(self.wish, response);
        };
        let busy = visit.flight.part_busy();
        let cut = visit.shared.cut.clone();
        let mut response = hop::answer(visit.flight, answer, visit.request_id, idle);
        if !response.headers().contains_key(header::DATE) {
            response.headers_mut().insert(header::DATE, now_value());
        }
        let made = self.stored_head(status, response.headers(), term);
        let told = format!("{why}; stored");
        add_status(response.headers_mut(), &told);
        let (head, body) = response.into_parts();
        let (body, gathered) = feed::tee(body, busy, store.ledger.open(), policy.object_max, cut);
        let (store, key, sent) = (Arc::clone(store), self.key, self.sent);
        let selecting = self.request.into_parts().0.headers;
        visit.shared.tasks.spawn_unnamed(async move {
            let Some((content, charge)) = gathered.await else {
                return tell(leading, Outcome::Through);
            };
            let stored = made(Arc::new(Payload::new(content, charge)));
            let useful = stored.age() < stored.term.fresh_for && !stored.term.ask_always;
            store.put(key, stored, &selecting, sent);
            match leading {
                Some(leading) if useful => leading.tell(Outcome::Stored),
                Some(leading) => leading.pass(),
                None => {}
            }
        });
        encoded(self.wish, Response::from_parts(head, body))
    }

    /// The service says that what is stored is what it would send.
    async fn still_good(
        self,
        answer: Answer,
        stored: &Arc<Stored>,
        mut visit: Visit,
        leading: Option<Leading>,
    ) -> Response<Body> {
        let Answer { response, link } = answer;
        let (mut head, _) = response.into_parts();
        let kinds = Kinds::of(&head.headers);
        headers::strip_hop(&mut head.headers, kinds, false);
        if let Some(link) = link {
            flow::give_back(link, &visit.flight);
        }
        visit.flight.leave();
        let policy = self.policy;
        policy.tally.revalidated.fetch_add(1, Relaxed);
        if !head.headers.contains_key(header::DATE) {
            head.headers.insert(header::DATE, now_value());
        }
        let merged = stored.freshened(&stored::kept(&head.headers));
        let term = self.term(stored.status, &merged);
        let storable = term.is_some();
        let term = term.unwrap_or_else(|| Term { ask_always: true, ..stored.term.clone() });
        let fresh = self.stored_head(stored.status, &merged, term)(Arc::clone(&stored.payload));
        let useful = fresh.age() < fresh.term.fresh_for && !fresh.term.ask_always;
        let shown = Arc::new(fresh.clone());
        if storable {
            policy.store.put(self.key.clone(), fresh, self.request.headers(), self.sent);
        }
        match leading {
            Some(leading) if useful && storable => leading.tell(Outcome::Stored),
            leading => tell(leading, Outcome::Through),
        }
        self.give_out(&shown, "fwd=stale; fwd-status=304", visit).await
    }

    /// The service fails, and an older answer is better than none.
    async fn stale(self, stored: &Arc<Stored>, mut visit: Visit) -> Response<Body> {
        visit.flight.leave();
        self.policy.tally.stale.fetch_add(1, Relaxed);
        self.give_out(stored, "hit; fwd=stale; detail=error", visit).await
    }

    async fn give_out(&self, stored: &Arc<Stored>, told: &str, visit: Visit) -> Response<Body> {
        let uri = uri_of(&self.key);
        let reader = Reader {
            uri: &uri,
            method: self.request.method(),
            headers: self.request.headers(),
            coding: self.wish.and_then(|wish| wish.coding),
        };
        let response =
            respond::respond(&self.policy.store, stored, &reader, told, visit.flight).await;
        with_id(response, visit.request_id)
    }

    fn term(&self, status: StatusCode, headers: &HeaderMap) -> Option<Term> {
        let took = clock::now().saturating_duration_since(self.sent);
        rules::storable(self.asked, status, headers, &self.policy.defaults, clock::wall(), took)
    }

    /// All of a stored answer but its content.
    fn stored_head(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        term: Term,
    ) -> impl FnOnce(Arc<Payload>) -> Stored + Send + 'static {
        let mut kept = stored::kept(headers);
        let policy = self.policy;
        let variant = Variant::of(&policy.route, &policy.parts, self.request.headers(), &kept);
        let may_encode = policy.compress && compress::is_compressible(status, &kept);
        let since = clock::now();
        move |payload| {
            let compressible = may_encode && compress::is_large_enough(payload.identity.len());
            if compressible {
                compress::vary(&mut kept);
            }
            Stored { status, headers: kept, payload, variant, compressible, term, since }
        }
    }
}

/// The question is ours; the caller's own conditions are looked at with the answer.
fn ask_whether_changed(headers: &mut HeaderMap, stored: &Stored) {
    for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE]
    {
        headers.remove(name);
    }
    for (question, validator) in
        [(header::IF_NONE_MATCH, header::ETAG), (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED)]
    {
        if let Some(value) = stored.headers.get(validator) {
            headers.insert(question, value.clone());
        }
    }
}

/// What RFC 5861, section 4, takes for an error.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn head_of(request: &Request<Body>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.headers_mut() = request.headers().clone();
    head
}

fn uri_of(key: &Key) -> Uri<'_> {
    Uri { host: (&*key.host).into(), target: &key.target }
}

fn tell(leading: Option<Leading>, outcome: Outcome) {
    if let Some(leading) = leading {
        leading.tell(outcome);
    }
}

fn add_status(headers: &mut HeaderMap, told: &str) {
    if let Ok(value) = HeaderValue::try_from(format!("archipel; {told}")) {
        headers.append(CACHE_STATUS, value);
    }
}

fn now_value() -> HeaderValue {
    let text = httpdate::fmt_http_date(clock::wall());
    HeaderValue::try_from(text).expect("a date is ASCII")
}
