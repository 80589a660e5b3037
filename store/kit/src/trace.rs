//! The W3C trace context of the work at hand.
//!
//! Held in a task-local, so that handlers need not carry it: the server sets it for a request,
//! a background worker sets it for the order it works on, and the log, the outbox and outgoing
//! calls read it. A service makes no spans of its own, so the `traceparent` goes on unchanged.

use std::future::Future;

use uuid::Uuid;

tokio::task_local! {
    static CURRENT: Trace;
}

/// A valid `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// Takes a header as it came; `None` when it is not a version-00 trace context.
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let mut parts = header.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let zero = |part: &str| part.bytes().all(|b| b == b'0');
        let valid = parts.next().is_none()
            && version == "00"
            && hex(trace, 32)
            && hex(span, 16)
            && hex(flags, 2)
            && !zero(trace)
            && !zero(span);
        valid.then(|| Self(header.to_owned()))
    }

    /// A new trace, for work that nobody else began.
    pub fn start() -> Self {
        let (trace, span) =
            (Uuid::now_v7().simple().to_string(), Uuid::now_v7().simple().to_string());
        // The tail of a version-7 id is its random part.
        Self(format!("00-{trace}-{}-01", &span[16..]))
    }

    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The whole header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The trace of the running task, if it has one.
pub fn current() -> Option<Trace> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `work` under `trace`.
pub async fn scope<F: Future>(trace: Trace, work: F) -> F::Output {
    CURRENT.scope(trace, work).await
}

/// The same for work on a thread of its own.
pub(crate) fn scope_sync<T>(trace: Option<Trace>, work: impl FnOnce() -> T) -> T {
    match trace {
        Some(trace) => CURRENT.sync_scope(trace, work),
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_good_header_and_refuses_a_bad_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Trace::parse(good).unwrap().trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-é-é-é",
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_new_trace_is_valid() {
        let trace = Trace::start();
        assert_eq!(Trace::parse(trace.as_str()), Some(trace));
    }
}
