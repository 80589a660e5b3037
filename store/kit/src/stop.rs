//! The wish to stop, shared by everything that runs in a service.

use std::sync::Arc;

use tokio::sync::watch;

/// A cloneable handle. Once stopped it stays stopped.
#[derive(Debug, Clone)]
pub struct Stop {
    told: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { told: Arc::new(watch::Sender::new(false)) }
    }
}

impl Stop {
    /// Asks everything that holds a clone to finish.
    pub fn stop(&self) {
        self.told.send_replace(true);
    }

    pub fn is_stopped(&self) -> bool {
        *self.told.borrow()
    }

    /// Returns once somebody has asked to stop. Safe to drop and to call again.
    pub async fn stopped(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }
}
