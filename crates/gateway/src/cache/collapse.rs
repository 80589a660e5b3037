//! One request goes to the service for many that ask the same at once.
//!
//! The first leads, the others wait for what becomes of it: for a bounded time, and not if the
//! leader's answer turns out to be for it alone or to be no answer; then all go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use tokio::sync::watch;

use crate::cache::store::Store;

/// How long one request waits for another's answer.
pub(crate) const WAIT: Duration = Duration::from_secs(5);
/// How many wait for one.
const WAITING_MAX: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    UnderWay,
    /// Look again: it may be for you.
    Stored,
    /// Go yourself.
    Through,
    /// The one that led gave up; somebody else must.
    Gone,
}

#[derive(Debug, Default)]
pub(crate) struct Leads {
    under_way: Mutex<HashMap<u64, Arc<watch::Sender<Outcome>>, foldhash::fast::RandomState>>,
}

/// What one who wants to lead becomes.
pub(crate) enum Turn {
    Leads(Leading),
    Waits(watch::Receiver<Outcome>),
    /// Too many wait already.
    Goes,
}

/// Held by the one that leads. Dropped before it told an outcome, the next one leads.
pub(crate) struct Leading {
    store: Arc<Store>,
    lead: u64,
    tell: Arc<watch::Sender<Outcome>>,
}

impl Leads {
    pub(crate) fn join(&self, store: &Arc<Store>, lead: u64) -> Turn {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = under_way.get(&lead) {
            return match other.receiver_count() < WAITING_MAX {
                true => Turn::Waits(other.subscribe()),
                false => Turn::Goes,
            };
        }
        let tell = Arc::new(watch::Sender::new(Outcome::UnderWay));
        under_way.insert(lead, Arc::clone(&tell));
        Turn::Leads(Leading { store: Arc::clone(store), lead, tell })
    }
}

/// What became of the one that leads, within the time that one waits for another.
pub(crate) async fn wait(mut outcome: watch::Receiver<Outcome>, until: Instant) -> Outcome {
    let told = outcome.wait_for(|outcome| *outcome != Outcome::UnderWay);
    match clock::timeout_at(until, told).await {
        Ok(Ok(outcome)) => *outcome,
        Ok(Err(_)) => Outcome::Gone,
        Err(_) => Outcome::Through,
    }
}

impl Leading {
    pub(crate) fn tell(self, outcome: Outcome) {
        self.end(outcome);
    }

    /// The answer cannot be shared, nor, for a while, those to others who ask the same.
    pub(crate) fn pass(self) {
        self.store.pass(self.lead);
        self.end(Outcome::Through);
    }

    fn end(&self, outcome: Outcome) {
        let leads = &self.store.leads;
        let mut under_way = leads.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.lead);
        drop(under_way);
        self.tell.send_replace(outcome);
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        if *self.tell.borrow() == Outcome::UnderWay {
            self.end(Outcome::Gone);
        }
    }
}
