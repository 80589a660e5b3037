//! Which words may be in a group: a Bloom filter over lower-case words.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::expr::lower;

const BITS_PER_WORD: usize = 10;
const PROBES: u64 = 6;
/// A group of nothing but random words gets a filter that passes more, not one that grows.
const BYTES_MAX: usize = 64 << 10;

/// Longer values are found by their words alone.
pub(crate) const WHOLE_BYTES_MAX: usize = 256;

/// The words of a text: runs of letters, digits and `_`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// JSON text without the escapes that would stick to the words after them.
pub(crate) fn json_words(json: &str) -> Cow<'_, str> {
    match json.contains('\\') {
        true => {
            ["\\n", "\\t", "\\r"].iter().fold(json.to_owned(), |s, of| s.replace(of, " ")).into()
        }
        false => json.into(),
    }
}

/// Stored in files: must not change with the process. FNV-1a, then mixed. Letters beyond ASCII
/// are in lower case already.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

#[derive(Default)]
pub(crate) struct Words(HashSet<u64, RandomState>);

impl Words {
    /// Its words, and the whole of it, for questions that know the whole value.
    pub(crate) fn add(&mut self, text: &str) {
        let lowered = if text.is_ascii() { Cow::Borrowed(text) } else { lower(text).into() };
        for word in words(&lowered) {
            self.0.insert(hash(word));
        }
        self.add_whole(&lowered);
    }

    fn add_whole(&mut self, text: &str) {
        if text.len() <= WHOLE_BYTES_MAX {
            self.0.insert(hash(text));
        }
    }

    /// As it stands, and its words without what escapes would add to them.
    pub(crate) fn add_json(&mut self, json: &str) {
        self.add(&json_words(json));
        self.add_whole(&lower(json));
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let bytes = (self.0.len() * BITS_PER_WORD).div_ceil(8).clamp(8, BYTES_MAX);
        let mut bits = vec![0; bytes];
        for word in self.0 {
            for bit in probes(word, bytes) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        bits
    }
}

fn probes(hash: u64, bytes: usize) -> impl Iterator<Item = usize> {
    let step = (hash >> 32) | 1;
    let bits = bytes as u64 * 8;
    (0..PROBES).map(move |n| (hash.wrapping_add(n.wrapping_mul(step)) % bits) as usize)
}

/// Whether all words may be in.
pub(crate) fn may_hold(bits: &[u8], hashes: &[u64]) -> bool {
    let set = |bit: usize| bits[bit / 8] & (1 << (bit % 8)) != 0;
    bits.is_empty() || hashes.iter().all(|hash| probes(*hash, bits.len()).all(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_and_most_others_are_not() {
        let mut in_it = Words::default();
        (0..5000).for_each(|n| in_it.add(&format!("GET /orders/ord_{n}?a=b")));
        let bits = in_it.finish();
        for n in 0..5000 {
            assert!(may_hold(&bits, &[hash(&format!("ORD_{n}")), hash("get")]));
        }
        let wrong = (0..5000).filter(|n| may_hold(&bits, &[hash(&format!("usr_{n}"))])).count();
        assert!(wrong < 150, "{wrong} of 5000");
    }
}
