//! A request waits for a service that is just coming up, instead of being refused.
//!
//! Only while somebody is expected: a service that was stopped, left out or gave up refuses at
//! once. Nothing of the body is read meanwhile, so a held request costs its head. The wait ends
//! with the next table that has an instance or expects none, with the policy's patience, or with
//! the gateway; and a service has only so many requests waiting.

use std::sync::Arc;
use std::time::Duration;

use archipel_model::show_duration;
use archipel_rt::clock::{self, Instant};

use crate::shared::Shared;
use crate::upstream::service::{Live, Service};
use crate::waiting::Waiting;

/// The patience of one request, over all its waits.
pub(crate) struct Hold {
    patience: Option<Duration>,
    until: Option<Instant>,
}

#[derive(Debug)]
pub(crate) enum Released {
    /// The service is not what it was.
    TryAgain,
    /// Nobody came; what to add to the reason.
    Refuse(String),
}

impl Hold {
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Self { patience, until: None }
    }

    /// Waits until the service is not as it was `seen` any more, if that can be expected.
    pub(crate) async fn wait(
        &mut self,
        shared: &Shared,
        service: &Service,
        seen: &Arc<Live>,
        deadline: Option<Instant>,
    ) -> Released {
        let refuse = || Released::Refuse(String::new());
        let Some(patience) = self.patience.filter(|_| seen.external.is_none()) else {
            return refuse();
        };
        let now = clock::now();
        let until = *self.until.get_or_insert(now + patience);
        let until = deadline.map_or(until, |deadline| until.min(deadline));
        // An instance that accepts no connection has died, which the supervisor is about to say,
        // or it is ill in a way that nobody knows how long it will take.
        let soon = now + shared.limits.avoid;
        let waits = Waiting::new(&service.held);
        let stop = shared.tasks.stop_token();
        loop {
            let changed = service.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let live = service.live.load_full();
            let until = match () {
                () if clock::now() > until => return refuse(),
                () if !live.instances.is_empty() && !Arc::ptr_eq(&live, seen) => {
                    return Released::TryAgain;
                }
                () if !live.instances.is_empty() => until.min(soon),
                () if live.awaited => until,
                () => return refuse(),
            };
            if waits.before >= shared.limits.held_max {
                let note = format!("; {} requests wait for it already", waits.before);
                return Released::Refuse(note);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return refuse(),
                () = &mut changed => {}
                () = clock::sleep_until(until) => {
                    let waited = show_duration(until.saturating_duration_since(now));
                    let note = format!("; waited {waited} for it");
                    return if live.awaited { Released::Refuse(note) } else { refuse() };
                }
            }
        }
    }
}
