//! For people: the admin API that the command line and the dashboard use.
//!
//! The API is HTTP and JSON over a Unix socket that only this user can open. The dashboard is a
//! second door to the reading half of it, on a loopback port, opened by a key in its first
//! address and guarded against pages of other origins.

mod admin;
mod answer;
mod dashboard;
mod live;
mod metrics;
mod present;
mod server;
mod traces;
pub mod view;

pub use present::About;
pub use server::{Console, ConsoleError, Parts, ReloadProblem, Request as ConsoleRequest};
