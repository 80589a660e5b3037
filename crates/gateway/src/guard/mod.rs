//! Between the route and the hop: may this request go on, and what is added to its answer?
//!
//! ```text
//! gate (all requests): address → robots.txt → bots → limits
//! ward (one route):    lists of addresses → preflight → limits → auth → scopes → limits by identity
//! ```
//!
//! Cheap questions come first, and limits by address come before anything that computes, so that
//! guessing tokens is limited too. Made anew with every table, but for what must outlive one:
//! counts, keys and open files stay with [`keep::Keep`].

pub(crate) mod advice;
pub(crate) mod auth;
pub(crate) mod bots;
pub(crate) mod client;
pub(crate) mod cors;
pub(crate) mod crowd;
pub(crate) mod fetch;
pub(crate) mod gate;
pub(crate) mod harden;
pub(crate) mod keep;
pub(crate) mod limit;
pub(crate) mod log;
pub(crate) mod rate;
pub(crate) mod tally;
pub(crate) mod ward;

pub use tally::RefusalCount;
