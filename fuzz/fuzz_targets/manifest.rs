//! Any bytes as an application file: no panic, and a consistent outcome.
//!
//! A good start is the corpus of the parser's own tests:
//! `cargo +nightly fuzz run manifest ../crates/manifest/test-data/{good,bad,semantic}`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| archipel_manifest::exercise(bytes));
