//! `Max-Forwards`: how many more hops an OPTIONS may make (RFC 9110, section 7.6.2).

use http::header::MAX_FORWARDS;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::message::body::Body;

/// Counts this hop. With the answer, when the request may not go any further.
pub(crate) fn count_down<B>(request: &mut Request<B>) -> Option<Response<Body>> {
    // TRACE, the other method with it, is refused.
    if *request.method() != Method::OPTIONS {
        return None;
    }
    let left: u64 = request.headers().get(MAX_FORWARDS)?.to_str().ok()?.parse().ok()?;
    let Some(rest) = left.checked_sub(1) else {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return Some(answer);
    };
    request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(rest));
    None
}
