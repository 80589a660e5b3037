//! Keys and values in PostgreSQL, for several processes at once.
//!
//! A commit travels as one call of a function that the schema brings: one round trip and one sync
//! for all transactions that wait (group commit), and a client that is stopped or cut off in the
//! middle of it holds no lock, because the server finishes the call without it.
//!
//! ```text
//! commit    → bounded queue → writer task → its connection: archipel.commit_1(whole batch)
//! get, list → reader's connection, many at once
//! ring      → NOTIFY with the commit → LISTEN on the reader's connection of every process
//! ```
//!
//! Transactions of one namespace are serial over all processes (the lock on the namespace's row
//! is held for one statement and its sync). Namespaces do not wait for each other.

mod connect;
mod kv;
mod reader;
mod schema;
mod tls;
mod writer;

pub use connect::PostgresUrl;
pub use kv::PostgresKv;
