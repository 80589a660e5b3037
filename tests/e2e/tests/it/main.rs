//! The real binary, as a user would use it.

mod alerts;
mod browser;
mod calls;
mod cli;
mod console;
mod crash;
mod databases;
mod events;
mod faults;
mod fixture;
mod jobs;
mod lifecycle;
mod polyglot;
mod shared;
mod store;
mod strangler;
mod traces;
mod ways;
mod workflows;
