//! Workflows as clients and workers see them, over memory storage; and over files, killed.

mod crash;
mod endurance;
mod failures;
mod fake;
mod lifecycle;
mod limits;
mod messages;
