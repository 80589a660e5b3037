//! SHA-256 as lower-case hex: for names and for telling whether something changed.

use std::fmt::Debug;

use sha2::{Digest, Sha256};

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of a value's `Debug` form: good enough to tell equal from changed within one version of this
/// program, and it cannot forget a field. Types that hide secrets in `Debug` are passed revealed.
pub(crate) fn of_debug(value: &impl Debug) -> String {
    hex(format!("{value:?}").as_bytes())[..16].to_owned()
}
