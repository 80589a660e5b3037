//! The supervisor with real processes.

#[path = "support.rs"]
mod support;

mod life;
mod once;
mod output;
mod start;
