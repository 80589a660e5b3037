//! Durable workflows: functions in any language that survive every crash.
//!
//! ```text
//! client → create, raise, … ─┐                      ┌→ turn     → worker ─┐
//! timer, answer of a worker ─┴→ inbox → instance ───┴→ activity → worker ─┴→ answer
//! ```
//!
//! An instance is its history. When something has happened to it, a worker gets the history and
//! the new events (a *turn*), runs the workflow's code again up to where it stands, and answers
//! with actions. The turn, the work that follows from it and the messages to other instances are
//! one transaction (`state`, `commit`); what a turn does is a pure function (`turn`), what an
//! instance waits for is derived from its events alone (`instance`).
//!
//! Speaks the messages of the durabletask protocol, so that its SDKs work. Not here: gRPC, which
//! `api` does.

mod admin;
mod chores;
mod commit;
mod effects;
mod engine;
mod entry;
mod error;
mod event;
mod gate;
mod instance;
mod key;
mod load;
mod migrate;
mod noted;
mod pages;
mod places;
mod pool;
mod reach;
mod recent;
mod rerun;
mod rest;
mod schedule;
mod sharing;
mod state;
mod stored;
mod streams;
mod survey;
mod turn;

pub use admin::Filter;
pub use dapr_durabletask_proto::OrchestrationStatus;
pub use engine::{Config, Engine, Limits, Reuse, Worker};
pub use entry::Entry;
pub use error::WorkflowError;
pub use instance::is_terminal;
pub use key::Key;
pub use pool::Room;
pub use reach::Reach;
pub use rerun::Rerun;
pub use schedule::Schedule;
pub use sharing::Sharing;
pub use stored::{EVENT_BYTES_MAX, MESSAGE_BYTES_MAX};
pub use survey::{
    Details, Failure, Found, NewInstance, Open, OpenTimer, Summary, TurnState, status_named, word,
};
