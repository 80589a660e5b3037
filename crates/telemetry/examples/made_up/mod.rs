//! What the examples send: the same in every run.

/// Numbers that look random and are the same in every run.
pub(crate) fn mix(n: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

pub(crate) fn trace_of(n: u64) -> [u8; 16] {
    let trace = n / 8;
    (u128::from(mix(trace)) << 64 | u128::from(mix(trace + 7))).to_be_bytes()
}

pub(crate) fn id_of(n: u64) -> [u8; 8] {
    mix(n ^ 0xabcd).to_be_bytes()
}
