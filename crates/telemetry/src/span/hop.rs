//! Hops of the data plane in short: thousands a second that differ in little, and each of them
//! a span to whoever asks.

use std::sync::Arc;

use archipel_model::{SpanId, TraceId};
use bytes::Bytes;

use super::model::{Kind, Resource, Span, SpanStatus, Text, Value};

/// What many hops have in common; made once for them.
#[derive(Debug)]
pub struct HopKind {
    pub resource: Arc<Resource>,
    pub name: Text,
    pub caller: String,
    pub method: Text,
    pub route: Option<String>,
}

/// One hop: a span of kind [`Kind::Server`] with the attributes of HTTP.
#[derive(Debug)]
pub struct Hop {
    pub trace: TraceId,
    pub span: SpanId,
    pub parent: Option<SpanId>,
    pub like: Arc<HopKind>,
    pub failed: bool,
    /// Since 1970.
    pub start_ns: u64,
    pub duration_ns: u64,
    /// Text; what is no UTF-8 is replaced.
    pub path: Bytes,
    /// The status of the answer; 0: there was none.
    pub code: u16,
    /// Of the body of the answer.
    pub bytes: u64,
    /// Until the head of the answer.
    pub head_us: u64,
    /// What few hops have, none of the above.
    pub more: Vec<(Text, Value)>,
}

/// What waits to be stored.
#[derive(Debug)]
pub(crate) enum Row {
    Span(Span),
    Hop(Hop),
}

/// Fields that every row has, whatever its form.
macro_rules! field {
    ($name:ident: $type:ty) => {
        pub(crate) fn $name(&self) -> $type {
            match self {
                Self::Span(span) => span.$name,
                Self::Hop(hop) => hop.$name,
            }
        }
    };
}

impl Row {
    field!(trace: TraceId);
    field!(span: SpanId);
    field!(parent: Option<SpanId>);
    field!(start_ns: u64);
    field!(duration_ns: u64);

    pub(crate) fn flags(&self) -> (Kind, SpanStatus) {
        match self {
            Self::Span(span) => (span.kind, span.status),
            Self::Hop(Hop { failed: true, .. }) => (Kind::Server, SpanStatus::Error),
            Self::Hop(_) => (Kind::Server, SpanStatus::Unset),
        }
    }
}
