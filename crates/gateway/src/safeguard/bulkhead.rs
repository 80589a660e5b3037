//! So many requests of one edge at once, and no more: a slow callee must not use up its caller.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use archipel_model::Bulkhead as Policy;
use archipel_rt::clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::waiting::Waiting;

pub(crate) struct Bulkhead {
    policy: Policy,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place in it, held until the last byte of the answer has passed.
pub(crate) type Place = OwnedSemaphorePermit;

/// How many waited, when there was no place.
#[derive(Debug)]
pub(crate) struct NoPlace {
    pub(crate) waiting: usize,
}

impl Bulkhead {
    pub(crate) fn new(policy: Policy) -> Self {
        let places = Arc::new(Semaphore::new(policy.max as usize));
        Self { policy, places, waiting: AtomicUsize::new(0) }
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
        let turn = Waiting::new(&self.waiting);
        if turn.before >= self.policy.queue as usize {
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
