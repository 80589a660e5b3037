//! How things look in a terminal: calm, aligned, the same words everywhere.

pub mod live;
pub mod log;
pub mod ps;
pub mod style;
pub mod table;
