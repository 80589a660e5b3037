//! A set of tasks with one owner: many short ones (connections) or a few long ones (loops).

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks that are told to stop together and waited for together.
///
/// Cloning shares the set. A panic in a task is logged with the task's name and does not take
/// the others down; the process-wide panic hook has printed it already.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// `stop` is the parent's token: cancelling it stops this set too.
    pub fn new(stop: &CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stop: stop.child_token() }
    }

    /// The token that tasks of this set select on.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    #[expect(clippy::disallowed_methods, reason = "the tracker is the owner that awaits")]
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tracker.track_future(task);
        let inner = tokio::spawn(task);
        // A second, tiny task turns a panic into a log line; it ends with the first.
        self.tracker.spawn(async move {
            if let Err(error) = inner.await
                && error.is_panic()
            {
                tracing::error!(task = name, "a task panicked; its work is lost, the rest goes on");
            }
        });
    }

    /// For tasks that come by the thousand (connections, streams): half the cost of
    /// [`Tasks::spawn`], and a panic shows in the process-wide hook alone.
    #[expect(clippy::disallowed_methods, reason = "the tracker is the owner that awaits")]
    pub fn spawn_unnamed(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(self.tracker.track_future(task)));
    }

    /// The same in another runtime.
    pub fn spawn_on(
        &self,
        runtime: &tokio::runtime::Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        drop(runtime.spawn(self.tracker.track_future(task)));
    }

    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Tells every task to stop and waits for them, at most `grace`. Returns how many were left.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.stop.cancel();
        self.tracker.close();
        let _ = tokio::time::timeout(grace, self.tracker.wait()).await;
        self.tracker.len()
    }
}
