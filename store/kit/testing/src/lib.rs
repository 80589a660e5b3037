//! For tests of the store's Rust services: the real program as a process, its answers held
//! against its `openapi.yaml`, its events against their schemas.
//!
//! Everything here panics when something is not as it should be: it is for tests only.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod contract;
mod program;

pub use contract::{Checked, Contract};
pub use program::{Program, eventually};
