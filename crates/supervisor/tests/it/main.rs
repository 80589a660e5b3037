//! The supervisor with real processes.

#[path = "support.rs"]
mod support;

mod chaos;
mod grpc;
mod isolation;
mod life;
mod memory;
mod once;
mod output;
mod plain_user;
mod start;
mod tiers;
