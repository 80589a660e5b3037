//! Drives the real binary on real applications, as a user would.
//!
//! Every application gets a directory, a state directory and ports of its own, so tests run side
//! by side; dropping it stops everything it started and checks that no process is left.

mod app;
mod http;

pub use app::{App, Outcome, binary, free_port};
pub use http::{Answer, get, request};
