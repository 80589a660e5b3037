//! What the rest of Archipel knows at one moment, in the words of the rules that ship with it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Counts the manifests applied.
    pub generation: u64,
    pub services: Vec<ServiceFact>,
    /// Something is being built or migrated: what needs it may well fail.
    pub preparing: bool,
    pub subscriptions: Vec<SubscriptionFact>,
    /// Workflow instances by app that wait for a person.
    pub parked: Vec<(String, u64)>,
    /// Bytes used and bytes there are, of the file system that holds the state.
    pub disk: Option<(u64, u64)>,
    /// Spans, lines and records that were dropped since the start.
    pub dropped: u64,
    pub gateway: Option<Entrance>,
    /// The manifest has one, whether it is open or not.
    pub gateway_declared: bool,
    /// Where the console is, without its key.
    pub console: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct ServiceFact {
    pub name: String,
    pub calls: BTreeSet<String>,
    pub wanted: u32,
    pub ready: u32,
    /// Stopped, left out, or ended as it may.
    pub settled: bool,
    /// It will not get well by waiting.
    pub hopeless: bool,
    /// Being built or migrated: that takes what it takes.
    pub preparing: bool,
    pub reason: Option<String>,
    pub restarts: u32,
    /// Requests that it got since Archipel started, and those of them that failed.
    pub requests: u64,
    pub failed: u64,
    pub memory_bytes: u64,
    /// Of all its instances.
    pub memory_limit: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct SubscriptionFact {
    pub topic: String,
    pub subscriber: String,
    pub lag: u64,
    pub dead: u64,
}

/// The public door, as one gets to it from this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    pub connect: SocketAddr,
    /// Without a port where that is the scheme's own.
    pub authority: String,
    pub tls: bool,
    /// Whose certificates are looked at.
    pub hosts: Vec<String>,
}
