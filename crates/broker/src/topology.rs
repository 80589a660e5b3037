//! What the application declares about events, with patterns resolved to topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use archipel_model::{App, EventSchema, ServiceName, Subscription, TopicName, TopicPattern};

/// How long events are kept where the application does not say.
pub(crate) const RETAIN_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub retain: Duration,
    /// `None`: declared, and nobody publishes it.
    pub publisher: Option<ServiceName>,
    /// What `data` of its events must match.
    pub schema: Option<EventSchema>,
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
                schema: contract.and_then(|c| c.schema.clone()),
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use archipel_model::{
        AppName, Command, EventContract, Health, LogPolicy, Protocol, Restart, Service, Stop,
    };

    use super::*;

    fn service(name: &str, publishes: &[&str], subscribes: &[(&str, &str)]) -> Service {
        Service {
            name: ServiceName::new(name).unwrap(),
            path: PathBuf::new(),
            build: None,
            sources: Vec::new(),
            artifact: Vec::new(),
            run: Command { argv: Vec::new(), shell: false },
            replicas: 1,
            memory: None,
            env: BTreeMap::new(),
            health: Health::default(),
            protocol: Protocol::Http,
            port: None,
            database: None,
            calls: BTreeMap::new(),
            publishes: publishes.iter().map(|t| TopicName::new(t).unwrap()).collect(),
            outbox: (!publishes.is_empty()).then(|| "/outbox".to_owned()),
            subscribes: subscribes
                .iter()
                .map(|(pattern, path)| {
                    let how = Subscription::new((*path).to_owned());
                    (TopicPattern::new(pattern).unwrap(), how)
                })
                .collect(),
            depends_on: BTreeSet::new(),
            api: None,
            stop: Stop::default(),
            restart: Restart::default(),
            log: LogPolicy::default(),
            slow_start: None,
            labels: BTreeMap::new(),
            workflows: Default::default(),
        }
    }

    fn app(services: Vec<Service>, events: BTreeMap<TopicName, EventContract>) -> App {
        App {
            name: AppName::new("store").unwrap(),
            owner: None,
            description: None,
            root: PathBuf::new(),
            files: Vec::new(),
            profile: None,
            services: services.into_iter().map(|s| (s.name.clone(), s)).collect(),
            externals: BTreeMap::new(),
            events,
            gateway: None,
            jobs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            telemetry: archipel_model::TelemetryPolicy::default(),
            export: None,
            watch: archipel_model::Watch::default(),
            storage: archipel_model::Storage::default(),
        }
    }

    #[test]
    fn patterns_become_topics_and_the_most_specific_one_counts() {
        let contract = EventContract {
            schema: None,
            retain: Some(Duration::from_secs(3_600)),
            description: None,
        };
        let topology = Topology::of(&app(
            vec![
                service("orders", &["order.placed", "order.line.added"], &[]),
                service(
                    "cart",
                    &[],
                    &[("order.**", "/all"), ("order.*", "/one"), ("order.placed", "/exact")],
                ),
                service("audit", &[], &[("payment.captured", "/p")]),
            ],
            BTreeMap::from([(TopicName::new("order.placed").unwrap(), contract)]),
        ));
        let topics: Vec<_> = topology.topics.keys().map(TopicName::as_str).collect();
        assert_eq!(topics, ["order.line.added", "order.placed", "payment.captured"]);
        assert_eq!(topology.topics["order.placed"].retain, Duration::from_secs(3_600));
        assert_eq!(topology.topics["order.line.added"].retain, RETAIN_DEFAULT);
        let publisher = topology.topics["order.placed"].publisher.as_ref().unwrap();
        assert_eq!(publisher.as_str(), "orders");
        assert_eq!(topology.topics["payment.captured"].publisher, None, "not published yet");
        let found: Vec<_> = topology
            .subscriptions
            .iter()
            .map(|s| (s.service.as_str(), s.topic.as_str(), s.how.path.as_str()))
            .collect();
        let expected = [
            ("audit", "payment.captured", "/p"),
            ("cart", "order.line.added", "/all"),
            ("cart", "order.placed", "/exact"),
        ];
        assert_eq!(found, expected);
        assert_eq!(topology.outboxes.len(), 1);
        assert_eq!(topology.outboxes["orders"].publishes.len(), 2);
    }
}
