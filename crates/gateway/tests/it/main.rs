//! The gateway over real sockets: what a client and an app see.

mod support;

mod balance;
mod edges;
mod errors;
mod faults;
mod lifecycle;
mod limits;
mod protocols;
mod routes;
