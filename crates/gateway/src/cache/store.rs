//! All stored answers, found by URI.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use foldhash::fast::RandomState;
use http::HeaderMap;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use crate::cache::collapse::Leads;
use crate::cache::key::{Key, Uri};
use crate::cache::ledger::Ledger;
use crate::cache::purge::Purge;
use crate::cache::stored::Stored;

/// Answers to the same URI that differ by what they vary by; the oldest goes.
const VARIANTS_MAX: usize = 32;
/// URIs of which is remembered that their answers cannot be shared, or when they were doubted.
const NOTES_MAX: usize = 16_384;
/// How long callers of a URI are not made to wait for each other after an answer that could not
/// be shared.
const PASS_FOR: Duration = Duration::from_secs(5);
/// Stale answers that are asked for anew at the same time, behind the callers' backs.
const BACKGROUND_MAX: usize = 64;
/// Smaller shards could not hold large answers, and readers do not block each other.
const SHARDS: usize = 4;

/// All versions of one URI, the newest first.
#[derive(Clone)]
struct Resource {
    versions: Arc<[Arc<Stored>]>,
    /// At the moment it was put here; the cache relies on it staying the same.
    weight: u64,
}

impl Resource {
    fn new(key: &Key, versions: Arc<[Arc<Stored>]>) -> Self {
        let answers: usize = versions.iter().map(|stored| stored.bytes()).sum();
        Self { weight: (key.host.len() + key.target.len() + 64 + answers) as u64, versions }
    }
}

pub(crate) struct Store {
    found: Cache<Key, Resource, Weigh, RandomState>,
    hasher: RandomState,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) leads: Leads,
    pub(crate) background: Arc<Semaphore>,
    /// Until when.
    passes: Cache<u64, Instant>,
    /// Since when.
    doubts: Cache<u64, Instant>,
    /// Held while a resource is replaced by itself with a change; never while one is read.
    writing: Mutex<()>,
    purged: Mutex<Option<Instant>>,
    tallies: Mutex<BTreeMap<Arc<str>, Arc<Tally>>>,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Resource> for Weigh {
    fn weight(&self, _: &Key, resource: &Resource) -> u64 {
        resource.weight
    }
}

/// What became of the requests of one route.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) revalidated: AtomicU64,
    pub(crate) collapsed: AtomicU64,
}

/// The same at one moment; all only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheCount {
    /// As it stands in the file.
    pub route: Arc<str>,
    /// Answered from memory while fresh.
    pub hits: u64,
    /// Answered from memory though no longer fresh.
    pub stale: u64,
    /// Asked of the service.
    pub misses: u64,
    /// Asked of the service, which said that what is stored is still good.
    pub revalidated: u64,
    /// Waited for the answer to somebody else, and got it.
    pub collapsed: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::default();
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(4096)
            .weight_capacity(0)
            .build()
            .expect("all that is needed is given");
        Self {
            found: Cache::with_options(options, Weigh, hasher.clone(), DefaultLifecycle::default()),
            hasher,
            ledger: Arc::default(),
            leads: Leads::default(),
            background: Arc::new(Semaphore::new(BACKGROUND_MAX)),
            passes: Cache::new(NOTES_MAX),
            doubts: Cache::new(NOTES_MAX),
            writing: Mutex::default(),
            purged: Mutex::default(),
            tallies: Mutex::default(),
        }
    }

    pub(crate) fn allow(&self, max: u64) {
        if self.found.capacity() != max {
            self.found.set_capacity(max);
        }
        self.ledger.allow(usize::try_from(max).unwrap_or(usize::MAX));
    }

    pub(crate) fn hash(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// The newest that fits the request.
    pub(crate) fn find(&self, uri: &Uri<'_>, route: &str, request: &HeaderMap) -> Found {
        let Some(resource) = self.found.get(uri) else { return Found::Nothing };
        match resource.versions.iter().find(|stored| stored.variant.fits(route, request)) {
            Some(stored) => Found::Stored(Arc::clone(stored)),
            None => Found::Others,
        }
    }

    /// Puts an answer in the place of those that it makes obsolete. `asked`: when its request was
    /// sent; what has changed since then may not be in it.
    pub(crate) fn put(&self, key: Key, stored: Stored, request: &HeaderMap, asked: Instant) {
        let doubted = self.doubts.get(&self.hash(&key)).is_some_and(|at| at >= asked);
        if doubted || lock(&self.purged).is_some_and(|at| at >= asked) {
            return;
        }
        let _writing = lock(&self.writing);
        let route = stored.variant.route().to_owned();
        let stored = Arc::new(stored);
        let old = self.found.peek(&key);
        let others = old.iter().flat_map(|old| old.versions.iter());
        let others = others.filter(|other| !other.variant.fits(&route, request)).cloned();
        let versions = [stored].into_iter().chain(others).take(VARIANTS_MAX).collect();
        let resource = Resource::new(&key, versions);
        self.found.insert(key, resource);
    }

    /// Weighs a resource anew, when an answer in it has grown.
    pub(crate) fn reweigh(&self, uri: &Uri<'_>, grown: &Arc<Stored>) {
        let _writing = lock(&self.writing);
        if let Some(resource) = self.found.peek(uri)
            && resource.versions.iter().any(|stored| Arc::ptr_eq(stored, grown))
        {
            let key = uri.to_key();
            let resource = Resource::new(&key, resource.versions);
            self.found.insert(key, resource);
        }
    }

    /// What is stored under the URI may no longer be true.
    pub(crate) fn doubt(&self, uri: &Uri<'_>) {
        self.doubts.insert(self.hash(uri), clock::now());
        self.found.remove(uri);
    }

    /// Forgets what fits, and what is being fetched now. Returns how many answers that were.
    pub(crate) fn purge(&self, what: &Purge) -> usize {
        let fits = |key: &Key, stored: &Stored| what.fits(key, stored);
        *lock(&self.purged) = Some(clock::now());
        let _writing = lock(&self.writing);
        let all: Vec<(Key, Resource)> = self.found.iter().collect();
        let mut count = 0;
        for (key, resource) in all {
            let all = resource.versions;
            let stay: Arc<[_]> = all.iter().filter(|s| !fits(&key, s)).cloned().collect();
            count += all.len() - stay.len();
            if stay.is_empty() {
                self.found.remove(&key);
            } else if stay.len() < all.len() {
                let resource = Resource::new(&key, stay);
                self.found.insert(key, resource);
            }
        }
        count
    }

    /// For a while nobody waits for the answer to another request of this kind.
    pub(crate) fn pass(&self, lead: u64) {
        self.passes.insert(lead, clock::now() + PASS_FOR);
    }

    pub(crate) fn passes(&self, lead: u64) -> bool {
        self.passes.get(&lead).is_some_and(|until| until > clock::now())
    }

    pub(crate) fn tally(&self, route: &Arc<str>) -> Arc<Tally> {
        Arc::clone(lock(&self.tallies).entry(Arc::clone(route)).or_default())
    }

    /// Forgets routes that are no more.
    pub(crate) fn prune(&self) {
        lock(&self.tallies).retain(|_, tally| Arc::strong_count(tally) > 1);
    }

    pub(crate) fn counts(&self) -> Vec<CacheCount> {
        let read = |(route, tally): (&Arc<str>, &Arc<Tally>)| CacheCount {
            route: Arc::clone(route),
            hits: tally.hits.load(Relaxed),
            stale: tally.stale.load(Relaxed),
            misses: tally.misses.load(Relaxed),
            revalidated: tally.revalidated.load(Relaxed),
            collapsed: tally.collapsed.load(Relaxed),
        };
        lock(&self.tallies).iter().map(read).collect()
    }

    /// Bytes of all stored answers that are held, also by those who are being sent one.
    pub(crate) fn bytes(&self) -> usize {
        self.ledger.alive()
    }
}

#[derive(Debug)]
pub(crate) enum Found {
    Stored(Arc<Stored>),
    /// The URI is known, in versions for others.
    Others,
    Nothing,
}

/// Nothing of ours panics while it holds a lock; if it did, the data would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
