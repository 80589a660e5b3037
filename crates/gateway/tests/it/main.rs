//! The gateway over real sockets: what a client and an app see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod support;

mod balance;
mod chaos;
mod edges;
mod errors;
mod faults;
mod garbage;
mod hold;
mod lifecycle;
mod limits;
mod protocols;
mod retry;
mod routes;
mod steer;
mod time;
