//! For people: the admin API that the command line and the dashboard use.
//!
//! The API is HTTP and JSON over a Unix socket that only this user can open. Browsers have a
//! second door, on a loopback port, opened by a key in its first address and guarded against
//! pages of other origins: it serves the web console (`ui/`) and, below `/api`, what a page may
//! ask and do. Secret values do not pass it.

mod admin;
mod answer;
mod browser;
mod errors;
mod example;
mod explore;
mod faults;
mod find;
mod guard;
mod live;
mod log_summary;
mod metrics;
mod openapi;
mod plain;
mod present;
mod publish;
mod routes;
mod safeguard_metrics;
mod samples;
mod server;
mod settings;
mod sql;
mod topology;
mod traces;
mod traffic;
mod veil;
pub mod view;
mod workflows;
mod yaml;

pub use present::About;
pub use server::{Console, ConsoleError, Parts, ReloadProblem, Request as ConsoleRequest};
