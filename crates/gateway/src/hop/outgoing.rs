//! Turns what came in into what goes out.

use archipel_rt::clock::Instant;
use http::header;
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Request, Version};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use crate::hop::{deadline, expect, tunnel};
use crate::message::body::Body;
use crate::message::headers::{self, Kinds, Outside};
use crate::message::trace::Trace;
use crate::route::path;
use crate::upstream::instance::Speaks;
use crate::upstream::service::{Live, Service};
use crate::way::Way;

/// A request as it goes out.
pub(crate) struct Outgoing {
    pub(crate) request: Request<Body>,
    /// The caller's end of the connection, when it asks to switch protocols.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// Until when its sender waits for an answer.
    pub(crate) deadline: Option<Instant>,
}

/// Remembers `Expect: 100-continue`, which the client of a refused request still waits by.
#[derive(Clone, Copy)]
struct WaitsToSend;

/// Where a request came from, as far as its headers are concerned.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Nothing it says about itself is believed; this is what we know.
    Outside(Outside),
    Inside,
}

impl Origin {
    pub(crate) fn is_outside(&self) -> bool {
        matches!(self, Self::Outside(..))
    }
}

pub(crate) fn prepare(
    mut request: Request<Body>,
    way: &Way,
    service: &Service,
    trace: &Trace,
    request_id: &HeaderValue,
    origin: Origin,
) -> Outgoing {
    let live = service.live.load();
    let from_http2 = request.version() == Version::HTTP_2;
    let waits = request.headers().contains_key(header::EXPECT);
    let asks_first = waits
        && live.speaks == Speaks::Http1
        && !request.body().is_end_stream()
        && expect::is_100(&request);
    let kinds = Kinds::of(request.headers());
    let wish = headers::strip_hop(request.headers_mut(), kinds, live.speaks == Speaks::Http2);
    // `h2c` would change how we talk to the instance, which is not the caller's to choose.
    let wish = wish.filter(|to| !headers::options(to).any(|o| o.eq_ignore_ascii_case(b"h2c")));
    // On HTTP/2 only what was written as an upgrade by ourselves.
    let may = !from_http2 || tunnel::is_written_as_upgrade(&request);
    let upgrade = wish.filter(|_| live.speaks == Speaks::Http1 && may).map(|to| {
        let upgrade = hyper::upgrade::on(&mut request);
        (to, upgrade)
    });
    request.extensions_mut().clear();
    if waits {
        request.extensions_mut().insert(WaitsToSend);
    }
    let target = request.headers_mut();
    headers::strip_claims(target, kinds);
    let deadline = match kinds.has_deadline() {
        true => deadline::take(target, origin.is_outside()),
        false => None,
    };
    if let Origin::Outside(outside) = origin {
        headers::replace_forwarded(target, kinds, outside);
    }
    if from_http2 {
        headers::join_cookies(target, kinds);
    }
    trace.write(target, request_id);
    if live.external.is_none() {
        if let Some(token) = &live.app_token {
            target.insert(headers::API_TOKEN, token.clone());
        }
        if let Some(caller) = &way.caller_header {
            target.insert(headers::CALLER, caller.clone());
        }
        target.insert(headers::CALLEE, service.name_header.clone());
    }
    if let Some((to, _)) = &upgrade {
        target.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        target.insert(header::UPGRADE, to.clone());
    }
    *request.version_mut() = Version::HTTP_11;
    address(&mut request, way, &live);
    if asks_first {
        request = expect::pass_on(request);
    }
    Outgoing { request, upgrade: upgrade.map(|(_, upgrade)| upgrade), deadline }
}

/// Takes in what a refused request still brings, unless its caller waits to be asked for it.
pub(crate) async fn swallow(request: Request<Body>) {
    let waits = request.headers().contains_key(header::EXPECT)
        || request.extensions().get::<WaitsToSend>().is_some();
    if !waits {
        request.into_body().swallow().await;
    }
}

/// Sets the URI in the form that the instance's protocol wants.
fn address(request: &mut Request<Body>, way: &Way, live: &Live) {
    let mut changed = None;
    if let Some(rewrite) = &way.rewrite {
        let mut path = rewrite.fill(request.uri().path());
        if let Some(query) = request.uri().query() {
            path.push('?');
            path.push_str(query);
        }
        changed = PathAndQuery::try_from(path).ok();
    } else if way.strip > 0
        && let Some(whole) = request.uri().path_and_query()
    {
        let rest = path::without_first(whole.as_str(), way.strip);
        changed = PathAndQuery::try_from(rest.as_ref()).ok();
    }
    if let Some(external) = &live.external {
        headers::set_host(request.headers_mut(), &external.authority);
        let whole = changed.as_ref().or(request.uri().path_and_query());
        changed = whole.and_then(|whole| external.path(whole)).or(changed);
    }
    if live.speaks == Speaks::Http2 {
        let path = changed.or_else(|| request.uri().path_and_query().cloned());
        let host = request.headers_mut().remove(header::HOST);
        let authority = host.and_then(|host| host.as_bytes().try_into().ok());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority =
            Some(authority.unwrap_or_else(|| http::uri::Authority::from_static("localhost")));
        parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    } else if let Some(changed) = changed {
        *request.uri_mut() = Uri::from(changed);
    }
}
