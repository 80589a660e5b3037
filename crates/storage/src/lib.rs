//! What must survive a crash: the contracts [`Log`] and [`Kv`], and the back ends behind them.
//!
//! The rest of the program holds `Arc<dyn Logs>` and `Arc<dyn Kv>` and never learns which
//! database is behind them. What a back end has to do is written at the traits and checked by
//! the suites in [`conformance`]; every back end passes all of both. Today: [`memory`], which
//! also fails on command, and [`embedded`], SQLite files with one writer thread each.
//! PostgreSQL and NATS come behind the same two traits.
//!
//! [`provision`] is the other half of this crate's knowledge of databases: it makes the
//! database that one service owns and no other can open.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
mod error;
pub mod inspect;
mod kv;
mod log;
pub mod memory;
pub mod provision;
pub mod sql;

pub use error::{Retry, StorageError};
pub use kv::{
    Entry, Expect, KEY_BYTES_MAX, Kv, KvError, KvExt, LIST_BYTES_MAX, Tx, VALUE_BYTES_MAX, Version,
    Write,
};
pub use log::{
    Appended, BATCH_BYTES_MAX, Bounds, DEDUPE_WINDOW, Log, Logs, ReadLimit, Record, RecordKey, Seq,
    Stored,
};
