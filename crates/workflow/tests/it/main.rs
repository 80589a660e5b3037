//! Workflows as clients and workers see them, over memory storage; and over files, killed.

mod crash;
mod failures;
mod fake;
mod lifecycle;
mod limits;
mod messages;
mod sharing;
