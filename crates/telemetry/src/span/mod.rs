//! The span store: columnar segments on disk (ADR 0003).
//!
//! ```text
//! take → writer: open spans → tail (each second) → group of 8,192 → segment file
//! question → index of each group → filter of words → columns → rows
//! ```

mod answers;
pub(crate) mod bloom;
pub(crate) mod codec;
pub(crate) mod column;
mod encode;
mod files;
mod group;
mod hop;
mod index;
mod model;
mod search;
mod store;
mod thin;
mod writer;

pub use answers::{Answer, Bucket, Durations, TRACE_SPANS_MAX, Tally, TraceSummary};
pub(crate) use hop::Row;
pub use hop::{Hop, HopKind};
pub use model::{Extra, Kind, Resource, Span, SpanStatus, Text, Value};
pub use search::SpanQuery;
pub use store::{SpanCounts, SpanPolicy, SpanStore};
