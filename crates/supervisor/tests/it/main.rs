//! The supervisor with real processes.

#[path = "support.rs"]
mod support;

mod life;
mod output;
mod start;
