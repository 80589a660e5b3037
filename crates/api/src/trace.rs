//! The trace of a publish: the client's, or a new one, so that every event has one that goes on
//! in its subscribers.

use archipel_model::{SpanId, TraceId};
use archipel_rt::random;
use http::HeaderMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    /// `traceparent`
    pub(crate) parent: String,
    /// `tracestate`; empty without a trace that it belongs to.
    pub(crate) state: String,
}

impl Trace {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let given = text("traceparent");
        if is_valid(given) {
            return Self { parent: given.to_owned(), state: text("tracestate").to_owned() };
        }
        Self { parent: fresh(), state: String::new() }
    }

    /// Another span of the same trace.
    pub(crate) fn child(&self) -> Self {
        let own = &self.parent;
        let span = loop {
            if let Some(span) = SpanId::new(random::u64().to_be_bytes()) {
                break span;
            }
        };
        // `00-<32 digits>-<16 digits>-<flags>`, however it came about.
        let parent = format!("{}{span}{}", &own[..36], &own[52..]);
        Self { parent, state: self.state.clone() }
    }
}

/// Version 00 of W3C Trace Context; a later version is replaced, as it could not be passed on
/// without knowing it.
fn is_valid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return false };
    version == "00"
        && trace.parse::<TraceId>().is_ok()
        && span.parse::<SpanId>().is_ok()
        && flags.len() == 2
        && flags.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn fresh() -> String {
    loop {
        let trace = (u128::from(random::u64()) << 64) | u128::from(random::u64());
        let ids = TraceId::new(trace.to_be_bytes()).zip(SpanId::new(random::u64().to_be_bytes()));
        if let Some((trace, span)) = ids {
            return format!("00-{trace}-{span}-01");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_or_begins() {
        let with = |parent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", parent.parse().unwrap());
            headers.insert("tracestate", "a=1".parse().unwrap());
            Trace::of(&headers)
        };
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(with(given), Trace { parent: given.to_owned(), state: "a=1".to_owned() });
        for bad in ["", "x", "00-0-0-01", &given.to_uppercase(), &format!("{given}-x")] {
            let trace = with(bad);
            assert!(is_valid(&trace.parent) && trace.state.is_empty(), "{bad}: {trace:?}");
        }
    }
}
