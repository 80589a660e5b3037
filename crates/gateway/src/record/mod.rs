//! What is remembered of each request: counts by series, a record for whoever subscribes.

pub(crate) mod access;
pub(crate) mod counters;
pub(crate) mod flow;
pub(crate) mod tap;
