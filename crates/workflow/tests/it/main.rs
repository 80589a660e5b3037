//! Workflows as clients and workers see them, over memory storage; and over files, killed.

mod crash;
mod endurance;
mod failures;
mod fake;
mod large;
mod lifecycle;
mod limits;
mod messages;
mod sharing;
