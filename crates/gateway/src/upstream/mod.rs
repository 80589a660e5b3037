//! Services as the data plane sees them: instances, connections to them, the choice among them.

pub(crate) mod balancer;
pub(crate) mod instance;
pub(crate) mod latency;
pub(crate) mod link;
pub(crate) mod outlier;
pub(crate) mod service;
