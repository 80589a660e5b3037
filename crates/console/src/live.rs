//! The state as people see it, over time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use crate::admin;
use crate::answer::Message;
use crate::server::Shared;
use crate::view::{Status, StatusPatch, Topics};

/// Every change, at most ten a second, the latest always; ends when Archipel stops.
pub(crate) fn statuses(
    receiver: watch::Receiver<Option<Arc<Status>>>,
) -> impl Stream<Item = Arc<Status>> + Send {
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

/// Everything that the pages of a browser share, over one connection: the status (`status`
/// whole, then `patch` with what changed), `topics`, and `traffic`.
pub(crate) fn live(shared: &Arc<Shared>) -> impl Stream<Item = Message> + Send + 'static {
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let live = Live {
        status: shared.status.clone(),
        ticks: shared.traffic.ticks(),
        shared: Arc::clone(shared),
        pace,
        sent: None,
        topics: None,
        ready: VecDeque::new(),
    };
    stream::unfold(live, |mut live| async move { Some((live.next().await?, live)) })
}

struct Live {
    shared: Arc<Shared>,
    status: watch::Receiver<Option<Arc<Status>>>,
    ticks: watch::Receiver<u64>,
    pace: tokio::time::Interval,
    sent: Option<Arc<Status>>,
    topics: Option<Topics>,
    ready: VecDeque<Message>,
}

impl Live {
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            // A second holds all that happened in it: no page needs to be redrawn more often.
            tokio::select! {
                biased;
                changed = self.ticks.changed() => {
                    changed.ok()?;
                    let traffic = self.shared.traffic.now();
                    self.ready.push_back(Message::new("traffic", &traffic));
                }
                _ = self.pace.tick() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let latest = self.status.borrow_and_update().clone();
        if let Some(status) = latest {
            match &self.sent {
                Some(sent) if same_services(sent, &status) => {
                    let patch = patch(sent, &status);
                    if let Some(patch) = patch {
                        self.ready.push_back(Message::new("patch", &patch));
                    }
                }
                _ => self.ready.push_back(Message::new("status", &*status)),
            }
            self.sent = Some(status);
        }
        let topics = admin::topics(&self.shared);
        if self.topics.as_ref() != Some(&topics) {
            self.ready.push_back(Message::new("topics", &topics));
            self.topics = Some(topics);
        }
    }
}

fn same_services(a: &Status, b: &Status) -> bool {
    let names =
        |status: &Status| status.services.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    names(a) == names(b)
}

fn patch(from: &Status, to: &Status) -> Option<StatusPatch> {
    let pairs = from.services.iter().zip(&to.services);
    let services: Vec<_> = pairs.filter(|(a, b)| a != b).map(|(_, b)| b.clone()).collect();
    let same_head = from.generation == to.generation
        && from.problems == to.problems
        && from.gateway == to.gateway;
    (!same_head || !services.is_empty()).then(|| StatusPatch {
        generation: to.generation,
        gateway: to.gateway.clone(),
        problems: to.problems.clone(),
        services,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(states: &[(&str, &str)]) -> Status {
        let services: Vec<_> = states
            .iter()
            .map(|(name, state)| {
                serde_json::json!({
                    "name": name, "state": state, "desired": 1, "ready": 1, "settled": true,
                    "needs_a_person": false, "reason": null, "last_lines": [], "build": null,
                    "database": null, "restarts": 0, "memory_bytes": 0, "memory_limit": null,
                    "memory_tier": "none", "instances": [],
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "schema": Status::SCHEMA, "app": "a", "version": "1", "profile": null, "manifest": "",
            "pid": 1, "started_at_ms": 0, "generation": 1, "gateway": null, "dashboard": null,
            "problems": [], "services": services,
        }))
        .expect("a status")
    }

    #[test]
    fn only_what_changed_is_sent_again() {
        let before = status(&[("cart", "ready"), ("web", "ready")]);
        assert_eq!(patch(&before, &before), None);
        let after = status(&[("cart", "ready"), ("web", "failed")]);
        let names = |patch: StatusPatch| {
            patch.services.into_iter().map(|service| service.name).collect::<Vec<_>>()
        };
        assert_eq!(patch(&before, &after).map(names), Some(vec!["web".to_owned()]));
        let reloaded = Status { generation: 2, ..before.clone() };
        assert_eq!(patch(&before, &reloaded).map(names), Some(vec![]));
        assert!(same_services(&before, &after));
        assert!(!same_services(&before, &status(&[("cart", "ready")])));
    }
}
