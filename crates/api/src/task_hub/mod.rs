//! The durabletask protocol: `TaskHubSidecarService`, as workflow SDKs speak it.
//!
//! `service` is the protocol, a thin layer over `archipel_workflow::Engine`; `server` is a socket
//! with nothing but that on it.

mod server;
mod service;
mod status;

pub use server::TaskHubServer;
pub use service::{Conduct, TaskHub};
