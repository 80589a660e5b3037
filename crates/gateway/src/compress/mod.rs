//! Makes answers smaller on their way out, for callers who can read that.
//!
//! Only text and what is like it, from a kilobyte on; never what is encoded already, a part of
//! something, marked `no-transform`, or a stream of events. What is made while it streams is
//! flushed whenever the service pauses, so that nobody waits longer than without it.
//!
//! An encoded answer is another representation: `ETag` becomes a weak one, `Vary` names
//! `Accept-Encoding`, also on the answers that stayed as they were, and ranges are not offered.

mod accept;
mod encoder;
mod stream;

use http::header;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

pub(crate) use crate::compress::accept::best;
pub(crate) use crate::compress::encoder::{Coding, whole};
use crate::message::body::Body;

/// Smaller ones would gain less than a packet.
const BYTES_MIN: u64 = 1024;

/// What of a request decides, taken before it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) coding: Option<Coding>,
    head: bool,
}

impl Wish {
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        Self { coding: best(headers), head: *method == Method::HEAD }
    }
}

/// Encodes an answer if the caller likes that and the answer can bear it.
pub(crate) fn answer(wish: Wish, mut response: Response<Body>) -> Response<Body> {
    if !is_compressible(response.status(), response.headers()) {
        return response;
    }
    let length = match wish.head {
        true => content_length(response.headers()),
        false => response.body().size_hint().exact(),
    };
    if length.is_some_and(|length| length < BYTES_MIN) {
        return response;
    }
    vary(response.headers_mut());
    let Some(coding) = wish.coding else { return response };
    // Nothing of it may be told by its absence: a HEAD is answered like the GET would be.
    dress(response.headers_mut(), coding);
    if wish.head {
        return response;
    }
    response.map(|body| stream::encode(coding, body))
}

/// Whether an answer is of a kind that is worth it and may be changed.
pub(crate) fn is_compressible(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_content = !status.is_informational()
        && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::PARTIAL_CONTENT]
            .contains(&status);
    has_content
        && headers.get(header::CONTENT_TYPE).is_some_and(is_text)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !forbids_transformation(headers)
}

pub(crate) fn is_large_enough(bytes: usize) -> bool {
    bytes as u64 >= BYTES_MIN
}

/// Turns the head of an answer into that of the same answer in a coding.
pub(crate) fn dress(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    for digest in ["content-md5", "content-digest", "digest"] {
        headers.remove(digest);
    }
    let weak = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    if let Some(weak) = weak.map(|tag| [b"W/", tag.as_bytes()].concat())
        && let Ok(weak) = HeaderValue::from_bytes(&weak)
    {
        headers.insert(header::ETAG, weak);
    }
}

/// Says that who accepts other codings may get another answer.
pub(crate) fn vary(headers: &mut HeaderMap) {
    let mut names = headers.get_all(header::VARY).iter();
    let names = names.any(|line| {
        let mut names = line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    });
    if !names {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn forbids_transformation(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    let mut words = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Types that shrink; images, archives and most fonts are compressed already.
fn is_text(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let kind = kind.to_ascii_lowercase();
    let Ok(kind) = std::str::from_utf8(&kind) else { return false };
    match kind.split_once('/') {
        Some(("text", subtype)) => subtype != "event-stream",
        Some(("application", subtype)) => {
            let known = [
                "json",
                "javascript",
                "x-javascript",
                "ecmascript",
                "xml",
                "wasm",
                "x-ndjson",
                "rtf",
                "vnd.ms-fontobject",
                "x-www-form-urlencoded",
            ];
            known.contains(&subtype) || subtype.ends_with("+json") || subtype.ends_with("+xml")
        }
        Some(("image", subtype)) => ["svg+xml", "bmp", "x-icon"].contains(&subtype),
        Some(("font", subtype)) => ["ttf", "otf"].contains(&subtype),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shrinks_is_touched() {
        let check = |kind: &'static str, expected: bool| {
            assert_eq!(is_text(&HeaderValue::from_static(kind)), expected, "{kind}");
        };
        check("text/html; charset=utf-8", true);
        check("Application/JSON", true);
        check("application/problem+json", true);
        check("image/svg+xml", true);
        check("text/event-stream", false);
        check("application/grpc", false);
        check("image/png", false);
        check("font/woff2", false);
        check("", false);
    }
}
