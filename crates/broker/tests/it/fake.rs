//! Apps and storage as the tests want them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_broker::{
    Answer, Broker, Config, Deliver, Delivery, Envelope, OutboxSpec, PublishRequest, Pull,
    PullError, SubscriptionSpec, TopicSpec, Topology,
};
use archipel_model::{Backoff, ServiceName, Subscription, TopicName};
use archipel_rt::CancellationToken;
use archipel_storage::memory::{MemoryKv, MemoryLogs};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a topic name")
}

pub(crate) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a service name")
}

type Outboxes = BTreeMap<String, Result<Vec<Row>, PullError>>;
type Handler = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// One delivery as an app saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub service: String,
    pub topic: String,
    pub id: String,
    pub key: String,
    pub attempt: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub seq: u64,
    pub topic: String,
    pub event: String,
}

/// Every app of the application: it records what comes and answers as told.
#[derive(Clone)]
pub(crate) struct Apps {
    seen: Arc<watch::Sender<Vec<Seen>>>,
    handlers: Arc<Mutex<BTreeMap<String, Handler>>>,
    /// Services whose answers do not come until released.
    hanging: Arc<watch::Sender<Vec<String>>>,
    inflight: Arc<AtomicUsize>,
    pub inflight_max: Arc<AtomicUsize>,
    pub outboxes: Arc<Mutex<Outboxes>>,
    /// `after` and `limit` of every pull.
    pub pulls: Arc<Mutex<Vec<(u64, u32)>>>,
    pub answer_bytes_max: Arc<AtomicUsize>,
}

pub(crate) fn status(status: u16) -> Answer {
    Answer::Http { status, body: Bytes::from(format!("answer {status}")), retry_after: None }
}

impl Apps {
    pub(crate) fn new() -> Self {
        Self {
            seen: Arc::new(watch::Sender::default()),
            handlers: Arc::default(),
            hanging: Arc::new(watch::Sender::default()),
            inflight: Arc::default(),
            inflight_max: Arc::default(),
            outboxes: Arc::default(),
            pulls: Arc::default(),
            answer_bytes_max: Arc::new(AtomicUsize::new(usize::MAX)),
        }
    }

    pub(crate) fn on(
        &self,
        service: &str,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) {
        self.handlers
            .lock()
            .expect("no test panics inside")
            .insert(service.to_owned(), Arc::new(answer));
    }

    pub(crate) fn hang(&self, service: &str) {
        self.hanging.send_modify(|hanging| hanging.push(service.to_owned()));
    }

    pub(crate) fn release(&self, service: &str) {
        self.hanging.send_modify(|hanging| hanging.retain(|name| name != service));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// The ids a service got, in the order it got them.
    pub(crate) fn ids(&self, service: &str) -> Vec<String> {
        let seen = self.seen.borrow();
        seen.iter().filter(|s| s.service == service).map(|s| s.id.clone()).collect()
    }

    /// Waits until what was seen is as wanted.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&[Seen]) -> bool) {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(400_000), async {
            seen.wait_for(|seen| wanted(seen)).await.map(drop)
        });
        if waited.await.is_err() {
            panic!("never {what}; seen: {:#?}", self.seen());
        }
    }

    pub(crate) async fn until_count(&self, service: &str, count: usize) {
        let what = format!("{count} deliveries to {service}");
        self.until(&what, |seen| seen.iter().filter(|s| s.service == service).count() >= count)
            .await;
    }

    pub(crate) fn outbox(&self, service: &str, rows: Vec<Row>) {
        self.outboxes.lock().expect("no test panics inside").insert(service.to_owned(), Ok(rows));
    }
}

#[async_trait]
impl Deliver for Apps {
    async fn deliver(&self, delivery: Delivery) -> Answer {
        let event = Envelope::parse(&delivery.event).expect("a CloudEvent");
        let text = |name| event.text(name).map(|t| t.into_owned()).unwrap_or_default();
        let seen = Seen {
            service: delivery.service.to_string(),
            topic: delivery.topic.to_string(),
            id: text("id"),
            key: text("subject"),
            attempt: delivery.attempt,
        };
        let now = self.inflight.fetch_add(1, Ordering::SeqCst) + 1;
        self.inflight_max.fetch_max(now, Ordering::SeqCst);
        self.seen.send_modify(|all| all.push(seen.clone()));
        let mut hanging = self.hanging.subscribe();
        let _ = hanging.wait_for(|names| !names.contains(&seen.service)).await;
        tokio::task::yield_now().await;
        self.inflight.fetch_sub(1, Ordering::SeqCst);
        let handler =
            self.handlers.lock().expect("no test panics inside").get(&seen.service).cloned();
        handler.map_or_else(|| status(204), |handler| handler(&seen))
    }

    async fn pull_outbox(&self, pull: Pull) -> Result<Bytes, PullError> {
        self.pulls.lock().expect("no test panics inside").push((pull.after, pull.limit));
        let rows = self
            .outboxes
            .lock()
            .expect("no test panics inside")
            .get(pull.service.as_str())
            .cloned();
        let rows = rows.unwrap_or_else(|| Ok(Vec::new()))?;
        let last = rows.iter().map(|row| row.seq).max().unwrap_or(0);
        let next = rows.iter().filter(|row| row.seq > pull.after).take(pull.limit as usize);
        let events: Vec<String> = next
            .map(|r| format!(r#"{{"seq":{},"topic":"{}","event":{}}}"#, r.seq, r.topic, r.event))
            .collect();
        if events.is_empty() {
            tokio::time::sleep(pull.wait).await;
        }
        let body = format!(r#"{{"events":[{}],"last_seq":{last}}}"#, events.join(","));
        let limit = self.answer_bytes_max.load(Ordering::SeqCst);
        if body.len() > limit {
            return Err(PullError::TooLarge { limit });
        }
        Ok(body.into())
    }
}

/// An application in the making, and the broker that runs it.
pub(crate) struct Fixture {
    pub apps: Apps,
    pub logs: MemoryLogs,
    pub kv: MemoryKv,
    pub config: Config,
    pub topology: Topology,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            apps: Apps::new(),
            logs: MemoryLogs::default(),
            kv: MemoryKv::default(),
            config: Config::default(),
            topology: Topology::default(),
        }
    }

    pub(crate) fn topic(mut self, name: &str) -> Self {
        let retain = Duration::from_secs(7 * 86_400);
        self.topology
            .topics
            .insert(topic(name), TopicSpec { retain, publisher: None, schema: None });
        self
    }

    pub(crate) fn subscribe(
        mut self,
        name: &str,
        of: &str,
        change: impl FnOnce(&mut Subscription),
    ) -> Self {
        let mut how = Subscription::new("/_archipel/events".to_owned());
        how.backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(60) };
        change(&mut how);
        let spec = SubscriptionSpec { service: service(name), topic: topic(of), how };
        self.topology.subscriptions.push(spec);
        self
    }

    pub(crate) fn outbox(mut self, name: &str, publishes: &[&str]) -> Self {
        let publishes = publishes.iter().map(|name| topic(name)).collect();
        let spec = OutboxSpec { path: "/_archipel/outbox".to_owned(), publishes };
        self.topology.outboxes.insert(service(name), spec);
        self
    }

    /// A broker on this storage; again, as after a restart.
    pub(crate) async fn start(&self) -> Broker {
        let stop = CancellationToken::new();
        let broker = Broker::open(
            Arc::new(self.logs.reopen()),
            Arc::new(self.kv.reopen()),
            self.config.clone(),
            Arc::new(self.apps.clone()),
            &stop,
        );
        let broker = broker.await.expect("opens");
        broker.apply(self.topology.clone()).await.expect("applies");
        broker
    }
}

pub(crate) fn event(id: &str, key: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/store/orders","type":"t","subject":"{key}","data":{{"n":1}}}}"#
    )
}

pub(crate) async fn publish(broker: &Broker, to: &str, id: &str, key: &str) -> u64 {
    let json = event(id, key);
    let event = Envelope::parse(json.as_bytes()).expect("JSON");
    let request = PublishRequest { topic: topic(to), event, once: false };
    broker.publish(request).await.expect("publishes").seq.0
}

/// Waits for what a probe finds; under paused time this takes none.
pub(crate) async fn until<T: std::fmt::Debug>(
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    for _ in 0..5_000 {
        if let Ok(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    match probe().await {
        Ok(found) => found,
        Err(seen) => panic!("never; last seen: {seen}"),
    }
}
