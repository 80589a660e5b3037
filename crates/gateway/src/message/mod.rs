//! What travels: headers, bodies, the trace context.

pub(crate) mod body;
pub(crate) mod forwards;
pub(crate) mod headers;
pub(crate) mod trace;
