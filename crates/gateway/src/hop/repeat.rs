//! Makes a request repeatable that its caller has given a key: the callee knows it again by that,
//! so twice has the effect of once, whatever the method.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use http_body::Body as _;

use crate::hop::exchange::refuse_body;
use crate::message::body::Body;
use crate::refusal::Refusal;

/// What is kept of a body to be sent again. Larger ones are streamed as ever, and sent once.
const KEPT_BYTES_MAX: u64 = 64 << 10;

/// The whole body, if the request has the key and a body that tells its length and is small; the
/// request itself goes on with the same one.
pub(crate) async fn prepare(
    request: &mut Request<Body>,
    key: &HeaderName,
    rule: &str,
) -> Result<Option<Bytes>, Refusal> {
    let size = request.body().size_hint().exact();
    let Some(length) = size.filter(|length| *length <= KEPT_BYTES_MAX) else { return Ok(None) };
    // One without a value is none: nobody knows anything again by it.
    if request.headers().get(key).is_none_or(HeaderValue::is_empty) {
        return Ok(None);
    }
    if length == 0 {
        return Ok(Some(Bytes::new()));
    }
    let body = std::mem::take(request.body_mut());
    let kept = body.collect(KEPT_BYTES_MAX as usize).await;
    let kept = kept.map_err(|fault| refuse_body(&fault, rule))?;
    // Read already, which told the caller to go on.
    request.headers_mut().remove(header::EXPECT);
    *request.body_mut() = Body::full(kept.clone());
    Ok(Some(kept))
}
