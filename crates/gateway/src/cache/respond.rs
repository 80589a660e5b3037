//! An answer out of memory: whole, in part, or "you have it already".

use std::fmt::Write as _;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};

use crate::cache::key::Uri;
use crate::cache::rules;
use crate::cache::store::Store;
use crate::cache::stored::{CACHE_STATUS, Made, Stored};
use crate::compress::{self, Coding};
use crate::message::body::{Body, BodyError};
use crate::record::flow::Flight;

/// More goes out piece by piece, and counts as under way until the last one.
const PIECE: usize = 64 << 10;

/// Of a request, what shapes the answer.
pub(crate) struct Reader<'a> {
    pub(crate) uri: &'a Uri<'a>,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) coding: Option<Coding>,
}

/// `told`: for `Cache-Status`; what follows our name.
pub(crate) async fn respond(
    store: &Store,
    stored: &Arc<Stored>,
    reader: &Reader<'_>,
    told: &str,
    mut flight: Flight,
) -> Response<Body> {
    let age = stored.age();
    let mut headers = stored.headers.clone();
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    headers.insert(CACHE_STATUS, hit(&stored.term, age, told));
    let mut content = stored.payload.identity.clone();
    let mut status = stored.status;
    let whole = status == StatusCode::OK;
    let part = (whole && *reader.method == Method::GET)
        .then(|| range(reader.headers, &stored.headers, content.len()))
        .flatten();
    if let Some(coding) = reader.coding.filter(|_| stored.compressible && part.is_none()) {
        let (encoded, made) = stored.payload.encoded(coding).await;
        if made == Made::Now {
            store.reweigh(reader.uri, stored);
        }
        if let Some(encoded) = encoded {
            content = encoded;
            compress::dress(&mut headers, coding);
        }
    }
    if whole && is_known(reader.headers, &headers) {
        status = StatusCode::NOT_MODIFIED;
        content = Bytes::new();
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_ENCODING);
    } else {
        match part {
            Some(Part::Of(range)) => {
                let (first, last) = (range.start, range.end - 1);
                let text = format!("bytes {first}-{last}/{}", content.len());
                content = content.slice(range);
                status = StatusCode::PARTIAL_CONTENT;
                insert(&mut headers, header::CONTENT_RANGE, &text);
            }
            Some(Part::Beyond) => {
                insert(&mut headers, header::CONTENT_RANGE, &format!("bytes */{}", content.len()));
                content = Bytes::new();
                status = StatusCode::RANGE_NOT_SATISFIABLE;
            }
            None => {}
        }
        if status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(content.len()));
        }
        if *reader.method == Method::HEAD {
            content = Bytes::new();
        }
    }
    flight.answered(status.as_u16());
    let body = if content.len() > PIECE {
        Body::new(Pieces { content, flight: Box::new(flight) })
    } else {
        flight.add_bytes(content.len() as u64);
        flight.end();
        Body::full(content)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn hit(term: &rules::Term, age: Duration, told: &str) -> HeaderValue {
    let mut text = String::with_capacity(48);
    let (fresh_for, age) = (term.fresh_for.as_secs(), age.as_secs());
    let (sign, left) = match fresh_for >= age {
        true => ("", fresh_for - age),
        false => ("-", age - fresh_for),
    };
    let _ = write!(text, "archipel; {told}; ttl={sign}{left}");
    HeaderValue::try_from(text).expect("letters and digits are valid in a header")
}

/// The caller has this very answer (RFC 9110, section 13.2.2).
fn is_known(request: &HeaderMap, answer: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
        let ours = answer.get(header::ETAG).map(|tag| opaque(tag.as_bytes().trim_ascii()));
        return request.get_all(header::IF_NONE_MATCH).iter().any(|line| {
            let line = line.as_bytes().trim_ascii();
            line == b"*" || tags(line).any(|tag| Some(opaque(tag)) == ours)
        });
    }
    let since = rules::date(request, header::IF_MODIFIED_SINCE);
    // Without one it cannot have changed after it was made (RFC 9111, section 4.3.2).
    let changed =
        rules::date(answer, header::LAST_MODIFIED).or_else(|| rules::date(answer, header::DATE));
    since.zip(changed).is_some_and(|(since, changed)| changed <= since)
}

/// The members of a list of entity tags; a comma within quotes is part of one.
fn tags(mut line: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if line.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = line.iter().position(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let tag = &line[..end.unwrap_or(line.len())];
        line = end.map_or(&[], |end| &line[end + 1..]);
        Some(tag.trim_ascii())
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Of(Range<usize>),
    Beyond,
}

/// The one part that is asked for; of several, or of another version, the whole is sent.
fn range(request: &HeaderMap, answer: &HeaderMap, length: usize) -> Option<Part> {
    let wanted = request.get(header::RANGE)?.to_str().ok()?;
    if let Some(version) = request.get(header::IF_RANGE) {
        let tag = answer.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        let same_date = || answer.get(header::LAST_MODIFIED) == Some(version);
        if tag != Some(version) && !same_date() {
            return None;
        }
    }
    let (unit, spec) = wanted.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => Some(text.parse().unwrap_or(usize::MAX)),
        false => None,
    };
    let (start, end) = match (first, last) {
        ("", "") => return None,
        ("", count) => (length.saturating_sub(number(count)?), length),
        (first, "") => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    Some(if start < end { Part::Of(start..end) } else { Part::Beyond })
}

/// Content that takes a while to send.
struct Pieces {
    content: Bytes,
    flight: Box<Flight>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let length = self.content.len().min(PIECE);
        if length == 0 {
            return Poll::Ready(None);
        }
        let piece = self.content.split_to(length);
        self.flight.add_bytes(length as u64);
        if self.content.is_empty() {
            self.flight.end();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn map(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (n.clone(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn parts_are_cut_out_of_the_whole() {
        let check = |wanted: &str, expected: Option<Part>| {
            let asked = map(&[(header::RANGE, wanted)]);
            assert_eq!(range(&asked, &HeaderMap::new(), 10), expected, "{wanted}");
        };
        check("bytes=0-3", Some(Part::Of(0..4)));
        check("bytes=5-", Some(Part::Of(5..10)));
        check("bytes=-3", Some(Part::Of(7..10)));
        check("bytes=-30", Some(Part::Of(0..10)));
        check("bytes=2-99999999999999999999999", Some(Part::Of(2..10)));
        check("bytes=10-", Some(Part::Beyond));
        check("bytes=-0", Some(Part::Beyond));
        check("bytes=4-3", None);
        check("bytes=0-1,3-4", None);
        check("bytes=a-b", None);
        check("pages=1-2", None);
    }

    #[test]
    fn a_part_of_another_version_is_no_part_of_this_one() {
        let answer = map(&[(header::ETAG, "\"a\""), (header::LAST_MODIFIED, "then")]);
        let part = |version: &str| {
            range(&map(&[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, version)]), &answer, 10)
        };
        assert!(part("\"a\"").is_some() && part("then").is_some());
        assert!(part("\"b\"").is_none() && part("W/\"a\"").is_none());
        let weak = map(&[(header::ETAG, "W/\"a\"")]);
        let asked = map(&[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, "W/\"a\"")]);
        assert!(range(&asked, &weak, 10).is_none());
    }

    #[test]
    fn who_has_it_already_is_told_so() {
        let answer = map(&[(header::ETAG, "W/\"a,b\"")]);
        let known = |text| is_known(&map(&[(header::IF_NONE_MATCH, text)]), &answer);
        assert!(known("\"a,b\"") && known("\"x\", W/\"a,b\"") && known("*"));
        assert!(!known("\"a\"") && !known(""));
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_whole(wanted in "bytes=[0-9]{0,21}-[0-9]{0,21}", length in 0usize..100) {
            let asked = map(&[(header::RANGE, &wanted)]);
            if let Some(Part::Of(part)) = range(&asked, &HeaderMap::new(), length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
