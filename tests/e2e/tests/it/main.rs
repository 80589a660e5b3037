//! The real binary, as a user would use it.

mod calls;
mod cli;
mod crash;
mod databases;
mod events;
mod fixture;
mod lifecycle;
mod store;
mod traces;
