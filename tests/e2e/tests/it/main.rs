//! The real binary, as a user would use it.

mod browser;
mod calls;
mod cli;
mod console;
mod crash;
mod databases;
mod events;
mod fixture;
mod lifecycle;
mod polyglot;
mod store;
mod strangler;
mod traces;
mod workflows;
