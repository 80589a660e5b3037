//! The state as people see it, over time.

use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use crate::view::Status;

/// Every change, at most ten a second, the latest always; ends when Archipel stops.
pub(crate) fn statuses(
    receiver: watch::Receiver<Option<std::sync::Arc<Status>>>,
) -> impl Stream<Item = std::sync::Arc<Status>> + Send {
    stream::unfold((receiver, true), |(mut receiver, first)| async move {
        if !first {
            archipel_rt::clock::sleep(Duration::from_millis(100)).await;
        }
        loop {
            if !first || receiver.borrow().is_none() {
                receiver.changed().await.ok()?;
            }
            let latest = receiver.borrow_and_update().clone();
            if let Some(status) = latest {
                return Some((status, (receiver, false)));
            }
        }
    })
}
