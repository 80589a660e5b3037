//! Desired state → plan → effects.
//!
//! [`Control`] takes a checked application, makes a [`Plan`] of it, prepares each service (build,
//! database, migration) and from then on keeps telling the supervisor which instances should
//! run, the gateway where they can be reached, and the broker who publishes and who subscribes.
//! It is the only place that knows all of them, and it holds no truth of its own: what runs is
//! asked of the supervisor, what is wanted stands in the plan.

mod control;
mod desired;
mod digest;
mod environment;
mod jobs;
mod order;
mod paths;
mod plan;
mod prepare;
mod secrets;
mod state;

pub use control::{Control, ControlError, Environment, Operation, Parts};
pub use environment::DatabaseUrl;
pub use jobs::{JobOutcome, JobState};
pub use paths::{StateDir, StateDirError};
pub use plan::{ApiPlan, Plan, ServicePlan};
pub use secrets::{Secret, SecretError, SecretStore, Tokens};
pub use state::{Built, Preparation, ServiceState, Snapshot};
