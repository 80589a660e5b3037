//! Failures on command.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::StorageError;

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The work is not done.
    Fail,
    /// The work is done, and an error is reported all the same: the caller cannot know.
    Tear,
}

/// Decides about the next writes of one memory store. Clones share their orders.
#[derive(Debug, Clone)]
pub struct Faults {
    orders: Arc<Mutex<VecDeque<Fault>>>,
    /// True while writes have to wait.
    held: Arc<watch::Sender<bool>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { orders: Arc::default(), held: Arc::new(watch::Sender::new(false)) }
    }
}

impl Faults {
    /// The next `times` writes fail and change nothing.
    pub fn fail_next(&self, times: usize) {
        self.order(Fault::Fail, times);
    }

    /// The next `times` writes are done and report an error.
    pub fn tear_next(&self, times: usize) {
        self.order(Fault::Tear, times);
    }

    /// Forgets the orders that are left.
    pub fn clear(&self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Writes wait until [`Faults::release`], as on a disk that has stalled.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    pub fn release(&self) {
        self.held.send_replace(false);
    }

    fn order(&self, fault: Fault, times: usize) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.extend(std::iter::repeat_n(fault, times));
    }

    /// Waits while held, then does `work` as ordered.
    pub(super) async fn apply<T, E: From<StorageError>>(
        &self,
        store: &str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.expect("the sender is in `self`");
        let order = self.orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let injected = |applied| StorageError::Injected { store: store.to_owned(), applied };
        match order {
            None => work(),
            Some(Fault::Fail) => Err(injected(false).into()),
            Some(Fault::Tear) => work().and(Err(injected(true).into())),
        }
    }
}
