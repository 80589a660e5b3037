//! Passwords: argon2id, slow on purpose, and a queue so that slowness is not a weapon.
//!
//! At most one hash runs on a core, and one core is left for everybody else where there is more
//! than one. At most [`WAITING_MAX`] wait, few of them for the same account; the next one is
//! told to come back. A caller who leaves gives up the place at once, but a hash that has begun
//! keeps its core until it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as B64;
use store_kit::Problem;
use tokio::sync::Semaphore;

const WAITING_MAX: usize = 50;
/// Of them for one account: somebody who tries many passwords of one person keeps out few others.
const WAITING_FOR_ONE_MAX: u32 = 5;

/// 19 MiB, twice, one lane: the least that OWASP recommends for argon2id.
const COST: Cost = Cost { m_kib: 19 * 1024, t: 2, p: 1 };
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

pub(crate) struct Hasher {
    /// Places to wait in, and to work in.
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// The memory of those who work, kept for the next: given back, aligned memory was not used
    /// again by the allocator of glibc 2.36, and the program grew by 10 MB with every sign-in.
    memory: Arc<Mutex<Vec<Memory>>>,
    waiting: Arc<Mutex<HashMap<String, u32>>>,
}

impl Default for Hasher {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_turns(cores.saturating_sub(1).max(1))
    }
}

type Memory = Vec<Block>;

/// Counts somebody who waits; dropped, it no longer counts.
struct Waiting(Arc<Mutex<HashMap<String, u32>>>, String);

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.1);
            }
        }
    }
}

impl Hasher {
    fn with_turns(turns: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(turns + WAITING_MAX)),
            turns: Arc::new(Semaphore::new(turns)),
            memory: Arc::default(),
            waiting: Arc::default(),
        }
    }

    /// The encoded hash of a new password.
    pub(crate) async fn hash(&self, whose: &str, password: String) -> Result<String, Problem> {
        self.run(whose, move |memory| encode(password.as_bytes(), memory)).await?
    }

    /// Whether `password` is the one of `encoded`. Without `encoded` it is not, and takes as
    /// long: the time must not tell whether there is an account.
    pub(crate) async fn verify(
        &self,
        whose: &str,
        password: String,
        encoded: Option<String>,
    ) -> Result<bool, Problem> {
        let work = move |memory: &mut Memory| match encoded {
            Some(encoded) => matches(password.as_bytes(), &encoded, memory),
            None => encode(password.as_bytes(), memory).map(|_| false),
        };
        self.run(whose, work).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        whose: &str,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let full = || Problem::overloaded("Too many people are signing in; try again in a moment.");
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full())?;
        let waiting = self.wait_for(whose).ok_or_else(full)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Problem::internal)?;
        let kept = Arc::clone(&self.memory);
        tokio::task::spawn_blocking(move || {
            // Held to the end of the work, whether or not the caller still waits.
            let _held = (turn, place, waiting);
            let kept = || kept.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let outcome = work(&mut memory);
            kept().push(memory);
            outcome
        })
        .await
        .map_err(Problem::internal)
    }

    fn wait_for(&self, whose: &str) -> Option<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(whose.to_owned()).or_default();
        if *count >= WAITING_FOR_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Waiting(Arc::clone(&self.waiting), whose.to_owned()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    m_kib: u32,
    t: u32,
    p: u32,
}

fn derive(
    password: &[u8],
    salt: &[u8],
    cost: Cost,
    memory: &mut Memory,
    into: &mut [u8],
) -> Result<(), Problem> {
    let params =
        Params::new(cost.m_kib, cost.t, cost.p, Some(into.len())).map_err(Problem::internal)?;
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, into, &mut memory[..blocks])
        .map_err(Problem::internal)
}

/// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, as every library writes it: the cost may change later
/// and old hashes still be checked.
fn encode(password: &[u8], memory: &mut Memory) -> Result<String, Problem> {
    let (mut salt, mut hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
    getrandom::fill(&mut salt).map_err(Problem::internal)?;
    derive(password, &salt, COST, memory, &mut hash)?;
    let Cost { m_kib, t, p } = COST;
    Ok(format!("$argon2id$v=19$m={m_kib},t={t},p={p}${}${}", B64.encode(salt), B64.encode(hash)))
}

fn matches(password: &[u8], encoded: &str, memory: &mut Memory) -> Result<bool, Problem> {
    let unreadable = || Problem::internal("a stored password hash cannot be read");
    let (cost, salt, expected) = decode(encoded).ok_or_else(unreadable)?;
    let mut hash = vec![0; expected.len()];
    derive(password, &salt, cost, memory, &mut hash)?;
    // Looks at all bytes, whichever is the first to differ.
    let difference = hash.iter().zip(&expected).fold(0, |all, (a, b)| all | (a ^ b));
    Ok(difference == 0)
}

fn decode(encoded: &str) -> Option<(Cost, Vec<u8>, Vec<u8>)> {
    let mut parts = encoded.strip_prefix("$argon2id$v=19$")?.split('$');
    let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut costs = costs.split(',');
    let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse().ok();
    let cost = Cost { m_kib: cost("m=")?, t: cost("t=")?, p: cost("p=")? };
    let (salt, hash) = (B64.decode(salt).ok()?, B64.decode(hash).ok()?);
    // A hash of no length would match everything.
    (parts.next().is_none() && hash.len() >= 16).then_some((cost, salt, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_it(password: &[u8], encoded: &str) -> Result<bool, Problem> {
        matches(password, encoded, &mut Memory::new())
    }

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let mut memory = Memory::new();
        let encoded = encode(b"correct horse", &mut memory).unwrap();
        assert!(encoded.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{encoded}");
        assert!(is_it(b"correct horse", &encoded).unwrap());
        assert!(!is_it(b"correct horsf", &encoded).unwrap());
        assert!(matches(b"correct horse", &encoded, &mut memory).unwrap(), "in used memory");
        assert_ne!(encoded, encode(b"correct horse", &mut memory).unwrap(), "salted");
    }

    /// A hash that another implementation made, at another cost.
    #[test]
    fn agrees_with_others() {
        let theirs = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(is_it(b"password", theirs).unwrap());
        assert!(!is_it(b"passwore", theirs).unwrap());
    }

    #[test]
    fn what_is_no_hash_is_an_error_and_not_a_match() {
        for bad in [
            "",
            "$argon2id$v=19$m=1,t=1,p=1$c29tZXNhbHQ$",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA",
            "plain",
        ] {
            assert!(is_it(b"", bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_queue_is_short_and_nobody_takes_all_of_it() {
        let hasher = Arc::new(Hasher::with_turns(1));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let begin = |whose: String, held: Option<std::sync::mpsc::Receiver<()>>| {
            let hasher = Arc::clone(&hasher);
            tokio::spawn(async move {
                hasher.run(&whose, move |_| held.map(|held| held.recv())).await.map(drop)
            })
        };
        let mut all = vec![begin("first".into(), Some(held))];
        while hasher.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..WAITING_FOR_ONE_MAX {
            all.push(begin("one".into(), None));
        }
        for n in 0..WAITING_MAX as u32 - WAITING_FOR_ONE_MAX {
            all.push(begin(format!("other {n}"), None));
            if n == 0 {
                while hasher.wait_for("one").is_some() {
                    tokio::task::yield_now().await;
                }
                assert_eq!(hasher.run("one", |_| ()).await.unwrap_err().status(), 503);
            }
        }
        while hasher.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.run("late", |_| ()).await.unwrap_err().status(), 503);
        let leaver = all.pop().unwrap();
        leaver.abort();
        let _ = leaver.await;
        let patient = begin("patient".into(), None);
        release.send(()).unwrap();
        for waiting in all.into_iter().chain([patient]) {
            waiting.await.unwrap().unwrap();
        }
        assert!(hasher.waiting.lock().unwrap().is_empty());
    }
}
