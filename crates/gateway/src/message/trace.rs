//! The trace of one request (W3C Trace Context): continued when it comes with one, else begun.
//!
//! Every hop is a span of its own, so an app sees the gateway as its parent and the service map
//! shows the hop even where nothing is instrumented.

use archipel_model::{SpanId, TraceId};
use archipel_rt::random;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are replaced: the id ends up in logs and headers of every hop.
const REQUEST_ID_MAX: usize = 128;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace {
    pub(crate) trace: TraceId,
    /// This hop.
    pub(crate) span: SpanId,
    /// The caller's span, when it sent one.
    pub(crate) parent: Option<SpanId>,
    flags: u8,
}

impl Trace {
    /// Reads the caller's trace, or begins one that is sampled.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        match parent {
            Some((trace, parent, flags)) => {
                Self { trace, span: new_span(), parent: Some(parent), flags }
            }
            None => Self { trace: new_trace(), span: new_span(), parent: None, flags: 1 },
        }
    }

    /// Another span of the same trace, with the same parent.
    pub(crate) fn beside(&self) -> Self {
        Self { span: new_span(), ..*self }
    }

    /// The id under which the caller knows the request, or the trace's when it named none.
    pub(crate) fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(REQUEST_ID) {
            Some(id) if is_request_id(id.as_bytes()) => id.clone(),
            _ => text(&self.trace.hex()),
        }
    }

    /// Writes what the next hop shall see.
    pub(crate) fn write(&self, headers: &mut HeaderMap, request_id: &HeaderValue) {
        if self.parent.is_none() {
            // State without the trace it belongs to means nothing (section 3.3.1).
            headers.remove(TRACESTATE);
        }
        headers.insert(TRACEPARENT, self.header());
        headers.insert(REQUEST_ID, request_id.clone());
    }

    fn header(&self) -> HeaderValue {
        let mut line = *b"00-00000000000000000000000000000000-0000000000000000-00";
        line[3..35].copy_from_slice(&self.trace.hex());
        line[36..52].copy_from_slice(&self.span.hex());
        line[53] = hex_digit(self.flags >> 4);
        line[54] = hex_digit(self.flags & 15);
        text(&line)
    }
}

fn text(ascii: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(ascii).expect("hexadecimal digits and hyphens are valid in a header")
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// `version-traceid-parentid-flags`; later versions may append more (section 4.3).
fn parse(line: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let dashes = line.len() >= 55 && [2, 35, 52].iter().all(|at| line[*at] == b'-');
    let (version, flags) = match dashes {
        true => (hex_byte(&line[..2])?, hex_byte(&line[53..55])?),
        false => return None,
    };
    let tail_fits = match version {
        0 => line.len() == 55,
        0xff => false,
        _ => line.len() == 55 || line[55] == b'-',
    };
    let ids = (TraceId::from_hex(&line[3..35])?, SpanId::from_hex(&line[36..52])?);
    // Of the flags we know, only "sampled" has a meaning that we can pass on.
    tail_fits.then_some((ids.0, ids.1, flags & 1))
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some((nibble(pair[0])? << 4) | nibble(pair[1])?)
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn new_trace() -> TraceId {
    loop {
        let bytes = (u128::from(random::u64()) << 64) | u128::from(random::u64());
        if let Some(id) = TraceId::new(bytes.to_be_bytes()) {
            return id;
        }
    }
}

fn new_span() -> SpanId {
    loop {
        if let Some(id) = SpanId::new(random::u64().to_be_bytes()) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_str(v).unwrap()))
            .collect()
    }

    fn pass(headers: &mut HeaderMap) -> Trace {
        let trace = Trace::read(headers);
        let id = trace.request_id(headers);
        trace.write(headers, &id);
        trace
    }

    #[test]
    fn a_valid_trace_goes_on_under_a_new_span() {
        let mut headers = headers(&[("traceparent", GOOD), ("tracestate", "a=1")]);
        let trace = pass(&mut headers);
        let sent = headers[&TRACEPARENT].to_str().unwrap();
        assert_eq!(sent[..36], GOOD[..36]);
        assert_ne!(sent[36..52], GOOD[36..52]);
        assert_eq!(sent[52..], GOOD[52..]);
        assert_eq!(headers[&TRACESTATE], "a=1");
        assert_eq!(trace.parent.unwrap().to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn an_invalid_trace_is_replaced_with_its_state() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        ] {
            let mut headers = headers(&[("traceparent", bad), ("tracestate", "a=1")]);
            assert!(pass(&mut headers).parent.is_none(), "{bad}");
            assert!(!headers.contains_key(TRACESTATE), "{bad}");
            assert!(parse(headers[&TRACEPARENT].as_bytes()).is_some(), "{bad}");
        }
        let twice = [GOOD, GOOD].map(|v| (TRACEPARENT, HeaderValue::from_str(v).unwrap()));
        assert!(Trace::read(&twice.into_iter().collect()).parent.is_none());
    }

    #[test]
    fn request_ids_are_kept_when_harmless() {
        for (id, kept) in [("abc-1", true), ("", false), ("a b", false)] {
            let mut headers = headers(&[("x-request-id", id)]);
            pass(&mut headers);
            assert_eq!(headers[&REQUEST_ID] == id, kept, "{id:?}");
        }
        let mut long = headers(&[("x-request-id", &"x".repeat(129))]);
        pass(&mut long);
        assert_eq!(long[&REQUEST_ID].len(), 32);
    }

    proptest! {
        #[test]
        fn no_header_panics(line in prop::collection::vec(any::<u8>(), 0..70)) {
            parse(&line);
        }
    }
}
