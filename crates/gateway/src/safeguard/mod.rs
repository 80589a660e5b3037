//! What an edge or a route does beyond limits and retries, where the file asks for it: breaker,
//! bulkhead, hedging, shedding by priority, fallback.
//!
//! A way without any of them has no [`State`], and its requests do not come here. State outlives a
//! change of the table, as counters do, and begins anew when its policy changes.

pub(crate) mod admission;
pub(crate) mod breaker;
pub(crate) mod bulkhead;
pub(crate) mod fallback;
pub(crate) mod hedge;
pub(crate) mod limiter;
pub(crate) mod rank;
pub(crate) mod stale;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use archipel_model::{Safeguards, ServiceName};

pub use breaker::BreakerState;

use crate::record::counters::SeriesKey;
use crate::safeguard::breaker::Breaker;
use crate::safeguard::bulkhead::Bulkhead;
use crate::safeguard::fallback::Fallback;
use crate::safeguard::hedge::Hedge;
use crate::table::{Entrance, Listener, Table};

/// Of one edge or route.
pub(crate) struct State {
    policy: Safeguards,
    pub(crate) breaker: Option<Mutex<Breaker>>,
    pub(crate) bulkhead: Option<Bulkhead>,
    pub(crate) hedge: Option<Hedge>,
    pub(crate) fallback: Option<Fallback>,
}

/// What they have done, of those that have any.
#[derive(Debug, Clone)]
pub struct SafeguardCount {
    pub key: SeriesKey,
    /// And how often it has opened.
    pub breaker: Option<(BreakerState, u64)>,
    /// Second requests for the same, and how many of them were the quicker ones.
    pub hedges: Option<(u64, u64)>,
    /// Answers that were replaced.
    pub fallbacks: Option<u64>,
}

impl State {
    fn new(policy: Safeguards) -> Self {
        Self {
            breaker: policy.breaker.map(|breaker| Mutex::new(Breaker::new(breaker))),
            bulkhead: policy.bulkhead.map(Bulkhead::new),
            hedge: policy.hedge.map(Hedge::new),
            fallback: policy.fallback.as_deref().cloned().map(Fallback::new),
            policy,
        }
    }

    fn read(&self, key: &SeriesKey) -> SafeguardCount {
        let breaker = self.breaker.as_ref().map(|breaker| {
            let breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
            (breaker.state(), breaker.opened())
        });
        SafeguardCount {
            key: key.clone(),
            breaker,
            hedges: self.hedge.as_ref().map(Hedge::counts),
            fallbacks: self.fallback.as_ref().map(Fallback::used),
        }
    }
}

#[derive(Default)]
pub(crate) struct Registry {
    all: Mutex<HashMap<SeriesKey, Arc<State>>>,
}

impl Registry {
    /// `None`: nothing is asked for that needs a state.
    pub(crate) fn state(&self, key: &SeriesKey, policy: &Safeguards) -> Option<Arc<State>> {
        // Priority is for the service to mind.
        let policy = Safeguards { priority: None, ..policy.clone() };
        let mut all = self.lock();
        if policy == Safeguards::default() {
            all.remove(key);
            return None;
        }
        match all.get(key).filter(|state| state.policy == policy) {
            Some(state) => Some(Arc::clone(state)),
            None => {
                let state = Arc::new(State::new(policy));
                all.insert(key.clone(), Arc::clone(&state));
                Some(state)
            }
        }
    }

    /// Forgets those that nothing leads to any more.
    pub(crate) fn prune(&self) {
        self.lock().retain(|_, state| Arc::strong_count(state) > 1);
    }

    /// Due every [`budget::TURN`](crate::hop::budget::TURN).
    pub(crate) fn turn(&self) {
        for hedge in self.lock().values().filter_map(|state| state.hedge.as_ref()) {
            hedge.turn();
        }
    }

    pub(crate) fn read(&self) -> Vec<SafeguardCount> {
        let mut counts: Vec<_> = self.lock().iter().map(|(key, state)| state.read(key)).collect();
        counts.sort_by(|a, b| a.key.cmp(&b.key));
        counts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SeriesKey, Arc<State>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Services of which something that leads to them says who matters more.
pub(crate) fn with_priority(table: &Table) -> BTreeSet<&ServiceName> {
    let mut ranked = BTreeSet::new();
    for Listener { entrance, .. } in &table.listeners {
        match entrance {
            Entrance::Edge { callee, policy, .. } => {
                ranked.extend(policy.safeguards.priority.map(|_| callee));
            }
            Entrance::Redirect { .. } => {}
            Entrance::Public(public) => {
                let routes = public.routes.iter().filter(|r| r.safeguards.priority.is_some());
                ranked.extend(routes.flat_map(|route| route.to.services()));
            }
        }
    }
    ranked
}
