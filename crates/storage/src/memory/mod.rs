//! Storage in memory: for tests, and for a program that is allowed to forget.
//!
//! It keeps the whole contract except surviving the process: what a handle closed, the next
//! [`MemoryLogs::reopen`] finds again. And it fails on command ([`Faults`]), so that a test can
//! put a failing disk under any component.

mod faults;
mod kv;
mod log;

pub use faults::Faults;
pub use kv::MemoryKv;
pub use log::MemoryLogs;
