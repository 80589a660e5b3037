//! Where connections come in: sockets, protocols, and which way a request may go.

pub(crate) mod aside;
pub(crate) mod entrance;
pub(crate) mod listener;
pub(crate) mod wire;
