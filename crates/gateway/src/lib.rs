//! The data plane: traffic from outside and from service to service, one code for both.
//!
//! ```text
//! client → listener → entrance → route → guard → cache → hop → balancer → instance → link → app
//! ```
//!
//! [`Gateway::apply`] takes a whole [`Table`] whenever anything changed; requests see it through
//! atomically swapped snapshots and never wait for it. A listener's port says who may come in: the
//! public entrance believes nothing that a request says about itself, an edge knows its caller.
//! [`Gateway::call`] is the same path for calls that begin inside Archipel.
//!
//! Bodies are streamed with back-pressure and never gathered. HTTP is read and written by hyper
//! alone. What we answer ourselves is a [`Refusal`] that says so.
//!
//! Not here: which instances are fit to serve, what may call what, what becomes of access
//! records.

mod cache;
mod compress;
mod cores;
mod entry;
mod gateway;
mod guard;
mod hop;
mod message;
mod record;
mod refusal;
mod route;
mod safeguard;
mod shadow;
mod shared;
mod table;
mod tls;
mod upstream;
mod waiting;
mod way;

pub use cache::{CacheCount, Purge};
pub use gateway::{Counters, Gateway};
pub use guard::RefusalCount;
pub use hop::fault::{Fault, FaultCount, FaultKind};
pub use message::body::{Body, BodyError};
pub use record::access::{Access, Caller};
pub use record::counters::{Histogram, SeriesCount, SeriesKey};
pub use record::tap::Records;
pub use refusal::{Form, Problem, Refusal};
pub use safeguard::{BreakerState, SafeguardCount};
pub use shadow::report::{CopyCount, Difference, Example, RouteReport, Skipped};
pub use shared::Limits;
pub use table::{Endpoint, Entrance, ListenError, Listener, PublicRoutes, Table, Upstream};
pub use tls::{
    CertificateFacts, LocalAuthority, Tls, TlsFault, authority_dir, inspect, inspect_authorities,
};
pub use upstream::service::{InstanceCount, ServiceCount};
