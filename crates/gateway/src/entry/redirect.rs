//! Plain HTTP where TLS is wanted: the client is sent on to the same host over TLS.

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::Body;
use crate::message::headers;
use crate::route::canonical_host;
use crate::shared::Shared;

/// The answer to a request that should have come over TLS, on `port`; or the proof for which the
/// ACME server asks, which it does over plain HTTP.
pub(crate) fn answer(shared: &Shared, request: &Request<Incoming>, port: u16) -> Response<Body> {
    if let Some(proof) = shared.challenges.answer(request.uri().path()) {
        return text(StatusCode::OK, proof);
    }
    let named = request.uri().authority().map(|authority| authority.as_str());
    let host = named.or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    let location = host.and_then(|host| location(host, port, request));
    let Some(location) = location else {
        return text(StatusCode::BAD_REQUEST, "the request names no host to go on to\n".to_owned());
    };
    // 308: with the same method and body. Not to be remembered: the port may serve plain HTTP
    // again tomorrow, which on a developer's machine it will; HSTS is for those who are sure.
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn location(host: &str, port: u16, request: &Request<Incoming>) -> Option<HeaderValue> {
    if !headers::is_host(host.as_bytes()) {
        return None;
    }
    let host = canonical_host(host);
    if host.is_empty() {
        return None;
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host.into_owned() };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
