//! The gateway over real sockets: what a client and an app see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod support;

mod auth;
mod balance;
mod cache;
mod chaos;
mod compress;
mod edges;
mod errors;
mod faults;
mod garbage;
mod goaway;
mod guard;
mod hold;
mod issuer;
mod lifecycle;
mod limits;
mod outliers;
mod protocols;
mod restarts;
mod retry;
mod routes;
mod safeguards;
mod shedding;
mod steer;
mod time;
