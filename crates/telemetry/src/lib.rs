//! What services and the data plane tell about themselves, logs and spans: ingest → segment →
//! query.
//!
//! [`LogStore`] takes lines as services print them, understands them ([`parse`]), joins the
//! lines of one stack trace, and appends them to segment files that survive restarts and stay
//! within a budget. It never makes a service wait: when lines come faster than the disk takes
//! them, the surplus is dropped and the gap is told where the lines would have stood.
//!
//! [`SpanStore`] takes spans and keeps them as columns, so that a question reads only what it is
//! about. [`Expr`] is the language in which both are asked. [`otlp`] takes what SDKs send.

mod errors;
pub mod export;
mod expr;
mod join;
mod metric;
mod names;
pub mod otlp;
pub mod parse;
mod query;
mod received;
mod record;
mod sealed;
mod segment;
mod span;
mod store;
mod turns;
mod writer;

pub use errors::{ErrorGroup, Errors, Source};
pub use expr::{Expr, ExprError, Op, Operand};
pub use metric::{
    METRIC_SAMPLE_MS, MetricKey, MetricLines, MetricPolicy, MetricQuery, MetricStore, process,
};
pub use query::{Filter, Level, LogCounts};
pub use received::{Instrument, ReceivedMetric};
pub use record::{Line, LogRecord, Stream};
pub use span::{
    Answer, Bucket, Durations, Extra, Hop, HopKind, Kind, Resource, Span, SpanCounts, SpanPolicy,
    SpanQuery, SpanStatus, SpanStore, TRACE_SPANS_MAX, Tally, Text, TraceSummary, Value,
};
pub use store::{LogStore, OpenError};

/// The last `tail` records below `root` that `filter` takes, oldest first, for when nobody has a
/// [`LogStore`] open there: nothing is changed.
///
/// # Errors
/// When a file cannot be read.
pub async fn last_at_rest(
    root: std::path::PathBuf,
    filter: Filter,
    tail: usize,
) -> std::io::Result<Vec<LogRecord>> {
    archipel_rt::blocking(move || query::last(&root, &filter, tail, None)).await
}
