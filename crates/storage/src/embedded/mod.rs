//! Storage in SQLite files: one file per concern, one writer thread per file.
//!
//! A synced commit costs milliseconds, whatever is in it. So the writer takes everything that is
//! waiting, commits it at once and answers all (group commit). Nothing ever waits for a timer: a
//! lone append is committed immediately, and under load the batches grow by themselves.
//!
//! ```text
//! append, commit → bounded queue → writer thread (one transaction per drain, one sync)
//! read, get      → pool of read-only connections on the blocking pool (WAL: never wait)
//! ```
//!
//! Why SQLite: the user can open the file with any tool, back it up and trust it. The views
//! `records` and `entries` show what is in it by name.
//!
//! A file belongs to one process at a time (a lock beside it says so), because the writer keeps
//! the positions in memory. Other programs may read it whenever they like.

mod file;
mod kv;
mod log;
mod log_engine;
mod readers;
mod window;
mod writer;

pub use kv::EmbeddedKv;
pub use log::EmbeddedLogs;

/// What a commit has survived when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A crash of the process, of the system, and the loss of power: one disk sync per commit.
    #[default]
    Full,
    /// A crash of the process. The last moments before a loss of power may be missing; what is
    /// there is consistent.
    Normal,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub sync: Durability,
}
