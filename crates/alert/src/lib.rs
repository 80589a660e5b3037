//! Tells people when something goes wrong: rules over what is known, checks from outside, and
//! messages.
//!
//! ```text
//! facts, spans, lines, metrics, checks → reading → phase (ok, pending, firing) → due → outbox → channel
//! ```
//!
//! Decisions are pure functions: what holds (`verdict`, `shipped`, `burn`), when it fires and is
//! over (`phase`), what explains what (`mute`), what is due to whom (`post`). One loop ([`Alerts`])
//! asks the stores, applies them, and remembers what must survive a restart (`book`).
//!
//! Knows nothing of services or brokers themselves: whoever does tells [`Facts`].

mod alerts;
mod book;
mod burn;
mod check;
mod client;
mod config;
mod facts;
mod measure;
mod message;
mod mute;
mod phase;
mod post;
mod quiet;
mod round;
mod rule;
mod send;
mod shipped;
mod snapshot;
mod step;
mod verdict;

pub use alerts::{Alerts, SilenceError, Wanted};
pub use book::{Alert, Delivery, Happened, Sent};
pub use check::Run;
pub use facts::{Entrance, Facts, ServiceFact, SubscriptionFact};
pub use measure::Stores;
pub use message::{Message, Told};
pub use mute::Silence;
pub use phase::Phase;
pub use rule::{Class, INSTANCES_MAX, Labels, Rule};
pub use send::{Secrets, sign};
pub use shipped::rules as shipped_rules;
pub use snapshot::{AlertState, ChannelState, CheckState, RuleState, SloState, Snapshot};

/// What is wrong with a question in the language of traces and logs, for the manifest.
///
/// # Errors
/// One sentence, with the place.
pub fn check_question(question: &str) -> Result<(), String> {
    archipel_telemetry::Expr::parse(question)
        .map(|_| ())
        .map_err(|error| format!("{} (at character {})", error.message, error.at + 1))
}
