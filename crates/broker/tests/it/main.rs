//! The broker as publishers, subscribers and people see it, over memory storage and paused time.

mod delivery;
mod embedded;
mod fake;
mod letters;
mod outbox;
mod topics;
