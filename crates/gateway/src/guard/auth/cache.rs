//! Tokens that were found good, so that the same one is not verified with every request.
//!
//! By the hash of the token, so that no token lies in memory longer than its request. Bounded;
//! when it is full, what has expired goes first, then anything: a token that is not remembered
//! is only verified again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring::digest;

use crate::guard::auth::Identity;

const SHARDS: usize = 16;
/// Of one shard.
const TOKENS_MAX: usize = 512;

pub(crate) type Digest = [u8; 32];

pub(crate) fn digest(token: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    out
}

struct Known {
    identity: Arc<Identity>,
    /// Seconds since 1970.
    until: u64,
    /// Of the keys: when an issuer takes a key back, what it signed is verified again.
    round: u64,
}

#[derive(Default)]
pub(crate) struct Cache {
    shards: [Mutex<HashMap<Digest, Known>>; SHARDS],
}

impl Cache {
    fn shard(&self, token: &Digest) -> std::sync::MutexGuard<'_, HashMap<Digest, Known>> {
        let shard = &self.shards[usize::from(token[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, token: &Digest, round: u64, now: Duration) -> Option<Arc<Identity>> {
        let shard = self.shard(token);
        let known = shard.get(token)?;
        (known.round == round && now.as_secs() < known.until).then(|| Arc::clone(&known.identity))
    }

    pub(crate) fn put(
        &self,
        token: Digest,
        identity: &Arc<Identity>,
        until: u64,
        round: u64,
        now: Duration,
    ) {
        let mut shard = self.shard(&token);
        if shard.len() >= TOKENS_MAX {
            shard.retain(|_, known| known.round == round && now.as_secs() < known.until);
        }
        if shard.len() >= TOKENS_MAX {
            let mut odd = false;
            shard.retain(|_, _| {
                odd = !odd;
                odd
            });
        }
        shard.insert(token, Known { identity: Arc::clone(identity), until, round });
    }
}
