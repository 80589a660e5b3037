//! The API of a service over real sockets, with a real gateway and broker behind it.

mod bulk;
mod bursts;
mod events;
mod invoke;
mod server;
mod state;
mod task_hub;
mod telemetry;
mod workflows;
mod world;
