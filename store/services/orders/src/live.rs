//! Who is looking at which order right now, so that a commit can tell exactly them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use store_kit::OrderId;
use tokio::sync::watch;

/// How many pages may be open. Each holds a connection and a read per change.
const WATCHERS_MAX: usize = 1000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    watched: Arc<Mutex<HashMap<OrderId, watch::Sender<()>>>>,
}

/// Somebody looks at an order until this is dropped.
pub(crate) struct Watching {
    live: Live,
    id: OrderId,
    changes: watch::Receiver<()>,
}

impl Live {
    /// `None` when too many are looking already.
    pub(crate) fn watch(&self, id: &OrderId) -> Option<Watching> {
        let mut watched = self.lock();
        let total: usize = watched.values().map(watch::Sender::receiver_count).sum();
        if total >= WATCHERS_MAX {
            return None;
        }
        let changes =
            watched.entry(id.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        Some(Watching { live: self.clone(), id: id.clone(), changes })
    }

    pub(crate) fn changed(&self, id: &OrderId) {
        if let Some(watchers) = self.lock().get(id) {
            watchers.send_replace(());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OrderId, watch::Sender<()>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// Returns after the next change, or at once if there was one since the last call.
    pub(crate) async fn changed(&mut self) {
        // The sender is only dropped when the last watcher is gone.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.live.lock();
        // This receiver still counts.
        if watched.get(&self.id).is_some_and(|watchers| watchers.receiver_count() <= 1) {
            watched.remove(&self.id);
        }
    }
}
