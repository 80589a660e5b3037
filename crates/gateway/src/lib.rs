//! The data plane: traffic from outside and from service to service, one code for both.
//!
//! ```text
//! client → listener → entrance → route → hop → balancer → instance → link → app
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
//! Not here: which instances are fit to serve, what may call what, TLS, what becomes of
//! access records.

mod access;
mod balancer;
mod body;
mod budget;
mod counters;
mod deadline;
mod entrance;
mod flow;
mod gateway;
mod headers;
mod hold;
mod hop;
mod instance;
mod link;
mod listener;
mod path;
mod refusal;
mod retry;
mod route;
mod shared;
mod table;
mod trace;
mod tunnel;
mod upstream;
mod way;
mod wire;

pub use access::{Access, Caller};
pub use body::{Body, BodyError};
pub use counters::{Histogram, SeriesCount, SeriesKey};
pub use gateway::{Counters, Gateway};
pub use refusal::{Form, Problem, Refusal};
pub use shared::Limits;
pub use table::{Endpoint, Entrance, ListenError, Listener, PublicRoutes, Table, Upstream};
