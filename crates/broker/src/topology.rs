//! What the application declares about events, with patterns resolved to topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use archipel_model::{App, ServiceName, Subscription, TopicName, TopicPattern};

/// How long events are kept where the application does not say.
pub(crate) const RETAIN_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub retain: Duration,
    /// `None`: declared, and nobody publishes it.
    pub publisher: Option<ServiceName>,
}

/// One service's interest in one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSpec {
    pub service: ServiceName,
    pub topic: TopicName,
    pub how: Subscription,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSpec {
    pub path: String,
    pub publishes: BTreeSet<TopicName>,
}

/// The topics, who takes them, and where they are pulled from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    pub topics: BTreeMap<TopicName, TopicSpec>,
    pub subscriptions: Vec<SubscriptionSpec>,
    pub outboxes: BTreeMap<ServiceName, OutboxSpec>,
}

impl Topology {
    /// What `app` declares. A pattern becomes one subscription per topic that it matches; where
    /// several patterns of a service match, the exact one counts, else the longest.
    pub fn of(app: &App) -> Self {
        let mut topics: BTreeMap<TopicName, TopicSpec> = BTreeMap::new();
        let published = app.services.values().flat_map(|s| &s.publishes);
        let subscribed = app.services.values().flat_map(|s| s.subscribes.keys());
        let exact: Vec<_> = subscribed.filter_map(TopicPattern::exact).collect();
        for name in published.chain(app.events.keys()).chain(&exact) {
            let contract = app.events.get(name);
            let spec = || TopicSpec {
                retain: contract.and_then(|c| c.retain).unwrap_or(RETAIN_DEFAULT),
                publisher: app.publisher(name).map(|service| service.name.clone()),
            };
            topics.entry(name.clone()).or_insert_with(spec);
        }
        let mut subscriptions = Vec::new();
        for service in app.services.values() {
            for topic in topics.keys() {
                let matching = service.subscribes.iter().filter(|(p, _)| p.matches(topic));
                let best = matching.max_by_key(|(p, _)| (p.exact().is_some(), p.as_str().len()));
                if let Some((_, how)) = best {
                    subscriptions.push(SubscriptionSpec {
                        service: service.name.clone(),
                        topic: topic.clone(),
                        how: how.clone(),
                    });
                }
            }
        }
        let outboxes = app.services.values().filter_map(|service| {
            let path = service.outbox.clone()?;
            let publishes = service.publishes.clone();
            Some((service.name.clone(), OutboxSpec { path, publishes }))
        });
        let outboxes = outboxes.collect();
        Self { topics, subscriptions, outboxes }
    }
}
