//! The state of services: small values under keys, with etags, expiry and transactions, over any
//! [`archipel_storage::Kv`].
//!
//! Each service has a [`Space`] of its own in each store; which one a caller may use is for the
//! caller of this crate to know. An etag is the version that the storage gives each entry, so it
//! never comes back. What has expired is gone for every reader at once, and is removed later, in
//! bounded steps (`sweep`).
//!
//! ```text
//! e/<store>/<owner>||<key>                 → record: one line of JSON, then the bytes (`record`)
//! x/<expires, hex>/<store>/<owner>||<key>  → nothing; in the order in which they fall due
//! ```
//!
//! Every transaction that leaves an entry with an expiry leaves its mark under `x/`; a mark alone
//! means nothing, and the sweep takes it away when it is due.

mod change;
mod error;
mod record;
mod space;
mod states;
mod sweep;

pub use change::{Change, Guard, What, time_to_live};
pub use error::StateError;
pub use space::{KEY_BYTES_MAX, Space};
pub use states::{Clock, Item, Listed, Page, States, TX_CHANGES_MAX, VALUE_BYTES_MAX};
