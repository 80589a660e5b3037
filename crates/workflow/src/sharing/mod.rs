//! Several processes over one store: who runs which instances, and how the others reach them.
//!
//! ```text
//! process A ── its instances ──┐                       ┌── its instances ── process B
//!   beat ─────────────────────→│        store          │←───────────── beat
//!   mail to B's instances ────→│ l/member l/beat       │────→ B takes it in
//!   activities for B's workers→│ l/shard  l/mail l/task│────→ B's workers
//! ```
//!
//! The instances of an app are divided into [`SHARDS`] shards by their name. A shard is held by
//! one process: it alone has the shard's active instances in memory and writes them. Each process
//! is a *member* with a record, and every commit of it expects that record ([`fence`]): whoever is
//! declared dead can write nothing any more, however long it was stopped. A member that finds
//! itself dead does what a crash and a restart would do, in place: it forgets everything, and
//! joins again as another.
//!
//! Nothing but the store is between the processes. What one has to say to an instance of another
//! is a row in the mail of its shard, written in the same transaction as that from which it
//! follows, and taken away in the same transaction as what comes of it: so it happens once,
//! whoever dies in between.
//!
//! With one process on files none of this exists: `State::role` is `None`.
//!
//! [`fence`]: Role::fence

mod ask;
mod balance;
mod lease;
mod lend;
mod mail;
mod shards;
mod stored;
mod tide;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock;
use archipel_storage::Version;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::key::Key;
use crate::pool::TaskId;
use crate::state::State;

pub(crate) use ask::{create_elsewhere, remove_elsewhere, rerun_elsewhere};
pub(crate) use lease::{beat, join, rejoin};
pub(crate) use lend::Foreign;
pub(crate) use tide::run;

/// Of one app. More make takeovers finer, and cost a small record each.
pub(crate) const SHARDS: u8 = 32;

/// How often somebody looks who hears no bell, and at the others in any case.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
pub(crate) const LOOK_WITH_BELL: Duration = Duration::from_millis(500);

/// How a process takes part.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// A process that has said nothing for so long is dead, and others take its instances.
    pub lease: Duration,
    /// For people: what this process is called.
    pub name: String,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { lease: Duration::from_secs(5), name: format!("process {}", std::process::id()) }
    }
}

pub(crate) type Shard = (Arc<str>, u8);

/// What this process is among the others.
#[derive(Debug)]
pub(crate) struct Role {
    pub sharing: Sharing,
    pub me: String,
    /// The version of this member's record; `None` until it has joined.
    pub joined: Option<Version>,
    /// Nothing begins after this moment unless the store has confirmed this member since.
    pub good_until: clock::Instant,
    pub held: HashSet<Shard>,
    /// Apps of which somebody here has need, though no worker of them may be anywhere.
    pub wanted: BTreeSet<Arc<str>>,
    /// The others that live, and of which apps they have workers.
    pub others: BTreeMap<String, BTreeSet<String>>,
    /// Incarnations are given out up to here.
    pub incarnations_end: u64,
    /// Rows of mail that are taken in, and perhaps not yet away.
    pub seen: HashSet<String>,
    pub sent: u64,
    pub replies: HashMap<u64, oneshot::Sender<stored::ReplyV1>>,
    /// Activities of others' instances that workers here have or are to have.
    pub foreign: HashMap<TaskId, Foreign>,
    /// Activities of instances here that another member has: which, and its row.
    pub lent: HashMap<TaskId, lend::Lent>,
    pub wake: Arc<Notify>,
}

impl Role {
    pub(crate) fn new(sharing: Sharing) -> Self {
        Self {
            good_until: clock::now(),
            sharing,
            me: Uuid::now_v7().simple().to_string(),
            joined: None,
            held: HashSet::new(),
            wanted: BTreeSet::new(),
            others: BTreeMap::new(),
            incarnations_end: 0,
            seen: HashSet::new(),
            sent: 0,
            replies: HashMap::new(),
            foreign: HashMap::new(),
            lent: HashMap::new(),
            wake: Arc::default(),
        }
    }

    /// What every commit expects.
    pub(crate) fn fence(&self) -> Option<(String, Version)> {
        Some((stored::member_key(&self.me), self.joined?))
    }

    /// A number that this member gives once.
    fn next(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }
}

/// Which of its app's shards an instance is in. Written in the store by its consequences: it
/// must never change.
pub(crate) fn shard_of(key: &Key) -> u8 {
    let hash = key.id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of this hash see little of the last bytes.
    let mixed = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    u8::try_from(mixed % u64::from(SHARDS)).unwrap_or_default()
}

impl State {
    /// Whether this process runs the instance.
    pub(crate) fn mine(&self, key: &Key) -> bool {
        let Some(role) = &self.role else { return true };
        role.held.contains(&(Arc::clone(&key.app), shard_of(key)))
    }

    /// The lease may be over: nothing is begun until the store says otherwise.
    pub(crate) fn in_doubt(&self) -> bool {
        self.role.as_ref().is_some_and(|role| clock::now() > role.good_until)
    }

    /// The others are to know soon what is new here.
    pub(crate) fn stir(&self) {
        if let Some(role) = &self.role {
            role.wake.notify_one();
        }
    }

    /// Forgets everything but what was configured and who waits: as after a restart.
    pub(crate) fn start_over(&mut self) {
        let Some(role) = &self.role else { return };
        let mut fresh = Role::new(role.sharing.clone());
        fresh.wake = Arc::clone(&role.wake);
        fresh.wanted.clone_from(&role.wanted);
        self.role = Some(Box::new(fresh));
        self.active.clear();
        self.shown.clear();
        self.due.clear();
        // Their streams end; workers connect again.
        let pools = std::mem::take(&mut self.pools);
        for (app, pool) in pools {
            let limits = pool.limits();
            let mut fresh = crate::pool::Pool::default();
            fresh.limit(&limits);
            self.pools.insert(app, fresh);
        }
        self.watchers.retain(|_, watcher| watcher.send(()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_spread_over_all_shards() {
        let mut counts = [0; SHARDS as usize];
        for i in 0..3_200 {
            let key = Key::new("orders", &format!("order-{i:05}")).expect("valid");
            counts[usize::from(shard_of(&key))] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        // A stored fact: instances must be found where they were put.
        assert_eq!(shard_of(&Key::new("orders", "order-1").expect("valid")), 9);
    }
}
