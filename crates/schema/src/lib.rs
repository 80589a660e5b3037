//! JSON Schemas of events: compiled from texts that somebody else has read, then asked about data.
//!
//! A crate of its own, because two rows need the same verdict: `manifest` refuses a schema that
//! cannot be used, and `broker` holds events against it. Compiling touches no file and no
//! network: what a schema refers to is among the given documents, or is named as wanted.

mod compile;
mod mismatch;

pub use compile::{CompileError, Schema};
pub use mismatch::{Fault, Mismatch};
