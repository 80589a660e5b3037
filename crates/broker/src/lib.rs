//! Events: durable topics, and their delivery to the services that subscribed.
//!
//! ```text
//! publish, outbox pull → topic (a durable log) → subscription → delivery → app
//! ```
//!
//! A topic is one log. A subscription is one service's place in it: a cursor, what above it is
//! settled out of order, and the attempts under way. Delivery is at least once; the instances of
//! a service compete for its events; with `ordered_by`, events that agree on a key come one at a
//! time and in order. What cannot be delivered becomes a dead letter with its reason and stays
//! until a person replays or discards it.
//!
//! Each subscription is a loop of its own around a pure state machine (`cursor`), with bounds on
//! what it reads ahead: a slow or dead subscriber takes no more than its share of memory and
//! slows nobody.
//!
//! Not here: HTTP. Apps are reached through [`Deliver`], which `api` implements.

mod admin;
mod backoff;
mod broker;
mod contract;
mod cursor;
mod dead;
mod dead_limit;
mod deliver;
mod event;
mod outbox;
mod outbox_loop;
mod retention;
mod stored;
mod subscription;
mod topic;
mod topology;
mod verdict;
mod view;

pub use archipel_schema::Mismatch;
pub use broker::{Broker, BrokerError, Config};
pub use dead::{DeadError, DeadFilter, DeadId, DeadLetter, DeadState, Reason};
pub use deliver::{Answer, Deliver, Delivery, Pull, PullError};
pub use event::{EVENT_BYTES_MAX, Envelope, EventError};
pub use topic::{PublishError, PublishRequest, Published, Tail};
pub use topology::{OutboxSpec, SubscriptionSpec, TopicSpec, Topology};
pub use view::{EventView, OutboxView, ReplayFrom, SubscriberState, SubscriberView, TopicView};
