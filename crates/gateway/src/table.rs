//! What the gateway is told to do: a whole snapshot, given again whenever anything changes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use archipel_model::{
    EdgePolicy, Guard, Hidden, InstanceId, Protocol, Route, SecretName, ServiceName,
};

/// All listeners and all callees. Level-triggered: apply the latest one, as often as you like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub listeners: Vec<Listener>,
    pub services: BTreeMap<ServiceName, Upstream>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its identity over snapshots: with the same id and address it stays bound.
    pub id: String,
    /// Port 0 takes a free one and keeps it; [`crate::Gateway::bound`] tells which.
    pub addr: SocketAddr,
    pub entrance: Entrance,
}

/// Who comes in through a listener, and where they may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entrance {
    /// Anybody: nothing that a request says about itself is believed.
    Public(PublicRoutes),
    /// One service's way to one other: the port is the identity of the caller.
    Edge { caller: ServiceName, callee: ServiceName, policy: EdgePolicy },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicRoutes {
    /// Exact or `*.example.org`; empty: every `Host` is served.
    pub hosts: Vec<String>,
    pub routes: Vec<Route>,
    pub guard: Box<Guard>,
    /// Values of those that `guard` names.
    pub secrets: BTreeMap<SecretName, Hidden>,
    /// Bytes of all stored answers together.
    pub cache_max: u64,
}

/// A callee: where its instances listen now and how to speak to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Those fit to serve; the rest of the system decides which are.
    pub endpoints: Vec<Endpoint>,
    pub protocol: Protocol,
    /// Sent to the app as `dapr-api-token`, so that it can tell our calls from others.
    pub app_token: Option<String>,
    /// A system that we call and do not run: `http://host:port[/prefix]`, instead of endpoints.
    pub external: Option<String>,
    /// Why there is no endpoint, for the one who gets the 503: `backing-off: exit 1`.
    pub note: Option<String>,
    /// An instance is on its way: requests are held for it instead of refused.
    pub awaited: bool,
    /// How long an instance that joins others gets less than its share; `None`: the default.
    pub slow_start: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub instance: InstanceId,
    pub addr: SocketAddr,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            protocol: Protocol::Http,
            app_token: None,
            external: None,
            note: None,
            awaited: false,
            slow_start: None,
        }
    }
}

/// A listener that could not be opened; the others work. Applying the table again tries again.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {addr} for `{id}`: {source}")]
pub struct ListenError {
    pub id: String,
    pub addr: SocketAddr,
    pub source: io::Error,
}

impl ListenError {
    /// Somebody else holds the port.
    pub fn is_conflict(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}
