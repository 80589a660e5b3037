//! The gateway over real sockets: what a client and an app see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod acme_server;
mod support;
mod tls_support;

mod auth;
mod balance;
mod cache;
mod chaos;
mod compress;
mod cores;
mod early;
mod edges;
mod errors;
mod faults;
mod floods;
mod garbage;
mod goaway;
mod guard;
mod hold;
mod issuer;
mod lifecycle;
mod limits;
mod outliers;
mod priority;
mod protocols;
mod renewal;
mod restarts;
mod retry;
mod routes;
mod safeguards;
mod shedding;
mod smuggling;
mod stalls;
mod steer;
mod time;
mod tls;
mod uploads;
