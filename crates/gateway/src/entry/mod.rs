//! Where connections come in: sockets, protocols, and which way a request may go.

pub(crate) mod aside;
pub(crate) mod entrance;
pub(crate) mod listener;
pub(crate) mod redirect;
pub(crate) mod stall;
pub(crate) mod upload;
mod watch;
pub(crate) mod wire;
