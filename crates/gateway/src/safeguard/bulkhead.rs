//! So many requests of one edge at once, and no more: a slow callee must not use up its caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use archipel_model::Bulkhead as Policy;
use archipel_rt::clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Bulkhead {
    policy: Policy,
    places: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// A place in it, held until the last byte of the answer has passed.
pub(crate) type Place = OwnedSemaphorePermit;

/// How many waited, when there was no place.
#[derive(Debug)]
pub(crate) struct NoPlace {
    pub(crate) waiting: u32,
}

impl Bulkhead {
    pub(crate) fn new(policy: Policy) -> Self {
        let places = Arc::new(Semaphore::new(policy.max as usize));
        Self { policy, places, waiting: AtomicU32::new(0) }
    }

    pub(crate) fn max(&self) -> u32 {
        self.policy.max
    }

    /// Those who wait come in in their order. Dropped while it waits, it leaves its turn to the
    /// next.
    pub(crate) async fn enter(&self) -> Result<Place, NoPlace> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let turn = Turn::new(&self.waiting);
        if turn.before >= self.policy.queue {
            return Err(NoPlace { waiting: turn.before });
        }
        let place = clock::timeout(self.policy.wait, Arc::clone(&self.places).acquire_owned());
        match place.await {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(NoPlace { waiting: turn.before }),
        }
    }
}

struct Turn<'a> {
    waiting: &'a AtomicU32,
    before: u32,
}

impl<'a> Turn<'a> {
    fn new(waiting: &'a AtomicU32) -> Self {
        Self { waiting, before: waiting.fetch_add(1, Relaxed) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Relaxed);
    }
}
