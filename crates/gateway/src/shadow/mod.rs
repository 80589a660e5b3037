//! Copies of requests: mirrored for their own sake, or compared with what the caller got.
//!
//! A copy never costs the caller anything: it is sent by a task of its own, there are only so
//! many at once, and what is read for it is bounded. Where one of these bounds is met the copy is
//! left out and counted. Requests that switch protocols are never copied; those with a body only
//! mirrored, never compared, because comparing must not have an effect.

pub(crate) mod compare;
mod differ;
pub(crate) mod report;
mod tee;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use archipel_model::{Compare, EdgePolicy, Retry, Sample};
use archipel_rt::{clock, random};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::hop::outgoing::Origin;
use crate::hop::{self, Passage};
use crate::message::body::Body;
use crate::record::flow::{Flight, Start};
use crate::refusal::Refusal;
use crate::shadow::report::{Skipped, Watch};
use crate::shadow::tee::Tee;
use crate::shared::Shared;
use crate::way::Way;

/// Copies under way at once, of all routes.
pub(crate) const COPIES_MAX: usize = 128;
/// What is read of one body for a copy or a comparison.
pub(crate) const BODY_BYTES_MAX: usize = 128 << 10;
/// The life of a copy, from the request to the last byte of its answer.
const WITHIN: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is copied of one way's requests.
pub(crate) struct Copies {
    pub(crate) mirror: Option<(Sample, Arc<Way>)>,
    pub(crate) compare: Option<(Compare, Arc<Way>)>,
    pub(crate) watch: Arc<Watch>,
}

/// Makes a policy one for copies: no patience beyond what they are worth.
pub(crate) fn restrain(policy: &mut EdgePolicy) {
    policy.timeout = Some(policy.timeout.map_or(TIMEOUT, |timeout| timeout.min(WITHIN)));
    policy.retry = Retry { attempts: 0, ..policy.retry };
    policy.hold = None;
}

/// Begins the copies of one request that is about to be sent; returns it to be sent.
pub(crate) fn begin(
    flight: &mut Flight,
    copies: &Copies,
    request: Request<Body>,
    request_id: &HeaderValue,
    origin: &Origin,
) -> Request<Body> {
    if request.headers().contains_key(header::UPGRADE) {
        return request;
    }
    let mut request = request;
    let shared = Arc::clone(flight.shared());
    let to = |way: &Arc<Way>| Sending {
        shared: Arc::clone(&shared),
        way: Arc::clone(way),
        request_id: request_id.clone(),
        origin: origin.clone(),
    };
    if let Some((sample, way)) = &copies.mirror
        && sample.takes(random::u64())
    {
        request = mirror(to(way), flight, &copies.watch, request);
    }
    if let Some((spec, way)) = &copies.compare
        && is_comparable(&request)
        && spec.sample.takes(random::u64())
    {
        // What is packed differently cannot be compared.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        compare::begin(to(way), flight, spec, &copies.watch, &request);
    }
    request
}

/// Whether two systems that do the same would answer it with the same bytes, without an effect.
fn is_comparable(request: &Request<Body>) -> bool {
    let headers = request.headers();
    let conditional = [
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::RANGE,
    ];
    matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().is_end_stream()
        && !conditional.iter().any(|name| headers.contains_key(name))
}

fn mirror(
    to: Sending,
    flight: &Flight,
    watch: &Arc<Watch>,
    request: Request<Body>,
) -> Request<Body> {
    let skip = |why: Skipped, request| {
        watch.mirror.skip(why);
        request
    };
    if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
        return skip(Skipped::TooLarge, request);
    }
    let Ok(permit) = Arc::clone(&to.shared.copies).try_acquire_owned() else {
        return skip(Skipped::TooMany, request);
    };
    let copy = head_of(&request);
    let (request, body) = match request.body().is_end_stream() {
        true => (request, None),
        false => {
            let (tee, body) = Tee::new(BODY_BYTES_MAX);
            (request.map(|inner| tee.around(inner)), Some(body))
        }
    };
    let (start, watch) = (to.start(flight, &copy), Arc::clone(watch));
    let shared = Arc::clone(&to.shared);
    shared.upstream.spawn("gateway.mirror", async move {
        let sent = async {
            let body = match body {
                None => Bytes::new(),
                Some(body) => match body.await {
                    Ok(Some(body)) => body,
                    Ok(None) => return watch.mirror.skip(Skipped::TooLarge),
                    Err(_) => return watch.mirror.skip(Skipped::Incomplete),
                },
            };
            watch.mirror.done.fetch_add(1, Relaxed);
            if let Ok(answer) = to.send(start, copy.map(|()| Body::full(body))).await {
                answer.into_body().swallow().await;
            }
        };
        // Too late is too late; the target's failures are in its own numbers.
        let _ = clock::timeout(WITHIN, sent).await;
        drop::<OwnedSemaphorePermit>(permit);
    });
    request
}

/// Where a copy goes.
struct Sending {
    shared: Arc<Shared>,
    way: Arc<Way>,
    request_id: HeaderValue,
    origin: Origin,
}

impl Sending {
    /// The copy is a span of the same trace, beside the request itself.
    fn start<B>(&self, flight: &Flight, request: &Request<B>) -> Start {
        Start {
            way: Arc::clone(&self.way),
            trace: flight.trace.beside(),
            started: clock::now(),
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            busy: None,
        }
    }

    async fn send(self, start: Start, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let Self { shared, way, request_id, origin } = self;
        let mut flight = Flight::new(Arc::clone(&shared), start);
        let passage = Passage {
            shared: &shared,
            policy: &way.policy,
            request,
            request_id: &request_id,
            origin,
        };
        match hop::plain(&mut flight, passage).await {
            Ok((answer, _)) => Ok(hop::answer(flight, answer, request_id, way.policy.idle)),
            Err(refusal) => {
                flight.refused(refusal.problem);
                Err(refusal)
            }
        }
    }
}

/// Everything but the body and what belongs to the connection.
pub(crate) fn head_of<B>(request: &Request<B>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    head
}

/// Told to whoever compares: the main answer as it passes to its caller, or why there is none.
pub(crate) type Watching = oneshot::Sender<Result<compare::Seen, Skipped>>;
