//! For apps: the Dapr API of each service on a port of its own, and the way events take to apps.
//!
//! Who calls is known from the port, and shown to be so by the token; nothing in a request says
//! it. What the HTTP front end (`server`, `route`) takes apart, the operations (`publish`,
//! `invoke`, `metadata`) do; a gRPC front end will stand beside it over the same operations, with
//! the same table of errors (`error`). OTLP comes to the same ports (`telemetry`).

mod app_caller;
mod bulk;
mod envelope;
mod error;
mod grpc;
mod invoke;
mod listener;
mod metadata;
mod publish;
mod route;
mod rpc;
mod server;
mod state;
mod task_hub;
mod telemetry;
mod trace;
mod workflows;

pub use app_caller::AppCaller;
pub use error::ApiError;
pub use server::{Api, ApiListenError, ServiceApi, Side};
pub use state::StateFault;
pub use task_hub::{Conduct, TaskHub, TaskHubServer};

/// The one pubsub component there is: Archipel's own broker.
pub const PUBSUB: &str = "pubsub";
