//! The handle: takes topologies, publishes, and tells what is going on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use archipel_model::{ServiceName, TopicName};
use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_schema::CompileError;
use archipel_storage::{Kv, KvError, Logs, StorageError, Tx};
use bytes::Bytes;

use crate::contract::{Contract, Contracts};
use crate::dead::{self, DeadCounts, DeadError, DeadFilter, DeadLetter, DeadState};
use crate::deliver::Deliver;
use crate::event::{Envelope, EventError};
use crate::outbox_loop::{self, OutboxHandle, OutboxLoop, OutboxStart};
use crate::retention;
use crate::stored::{OutboxV1, StoredError, SubscriptionV1};
use crate::subscription::{self, Command, Handle, Loop, Wiring};
use crate::topic::{PublishError, PublishRequest, Published, Topic};
use crate::topology::{OutboxSpec, SubscriptionSpec, Topology};

/// What a subscription that is taken away gets to finish before it is broken off.
const LEAVE_GRACE: Duration = Duration::from_secs(2);
/// Of a shutdown's time, for what is left after breaking off.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Config {
    /// Above it a topic loses its oldest events, needed or not.
    pub topic_bytes_max: u64,
    pub retention_every: Duration,
    /// Of the dead letters of one subscription, whatever their number.
    pub dead_bytes_max: u64,
    /// Until an app has answered a delivery.
    pub delivery_timeout: Duration,
    /// How long an outbox may let us wait.
    pub outbox_wait: Duration,
    pub outbox_limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            topic_bytes_max: 1 << 30,
            retention_every: Duration::from_secs(60),
            dead_bytes_max: 256 << 20,
            delivery_timeout: Duration::from_secs(60),
            outbox_wait: Duration::from_secs(20),
            outbox_limit: 500,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the event store failed")]
    Storage(#[from] StorageError),
    #[error("the state of the broker could not be written")]
    State(#[from] KvError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error("the dead letters could not be read")]
    Dead(#[from] DeadError),
    #[error("the application has no topic `{0}`")]
    UnknownTopic(TopicName),
    #[error("`{service}` does not subscribe to `{topic}`")]
    NotSubscribed { service: ServiceName, topic: TopicName },
    #[error("the schema of topic `{topic}` cannot be used")]
    Schema {
        topic: TopicName,
        #[source]
        source: CompileError,
    },
    #[error("the broker is stopping")]
    Closing,
}

/// Topics and their delivery; cloning shares it.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) logs: Arc<dyn Logs>,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) config: Config,
    pub(crate) dead: Arc<DeadCounts>,
    pub(crate) running: ArcSwap<Running>,
    wiring: Arc<Wiring>,
    tasks: Tasks,
    cut: CancellationToken,
    /// Held while dead letters are taken up or removed, so that none is both.
    pub(crate) letters: tokio::sync::Mutex<()>,
    /// Topologies are applied one after another.
    applying: tokio::sync::Mutex<()>,
}

/// What is in force.
#[derive(Default)]
pub(crate) struct Running {
    pub topology: Topology,
    pub topics: BTreeMap<TopicName, Arc<Topic>>,
    pub subscriptions: BTreeMap<(ServiceName, TopicName), Arc<Handle>>,
    pub outboxes: BTreeMap<ServiceName, Arc<OutboxHandle>>,
}

impl Broker {
    /// Opens the broker without topics; [`Broker::apply`] brings them. `stop` begins what
    /// [`Broker::shutdown`] does, without waiting for it.
    ///
    /// # Errors
    /// When what was stored cannot be read.
    pub async fn open(
        logs: Arc<dyn Logs>,
        kv: Arc<dyn Kv>,
        config: Config,
        deliver: Arc<dyn Deliver>,
        stop: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        let dead = Arc::new(DeadCounts::default());
        let all = DeadFilter { max: usize::MAX, ..DeadFilter::default() };
        dead::list(&*kv, &all).await?.iter().for_each(|letter| dead.add(letter));
        let wiring = Wiring {
            kv: Arc::clone(&kv),
            deliver,
            dead: Arc::clone(&dead),
            delivery_timeout: config.delivery_timeout,
        };
        let inner = Arc::new(Inner {
            logs,
            kv,
            config,
            dead,
            running: ArcSwap::default(),
            wiring: Arc::new(wiring),
            tasks: Tasks::new(stop),
            cut: CancellationToken::new(),
            letters: tokio::sync::Mutex::default(),
            applying: tokio::sync::Mutex::default(),
        });
        let cleaner = retention::run(Arc::downgrade(&inner));
        inner.tasks.spawn("broker.retention", cleaner);
        Ok(Self { inner })
    }

    /// Makes the broker be as `topology` says. What is gone stops, and keeps its place in the
    /// store in case it comes back; a subscription that never was begins at the topic's end.
    ///
    /// # Errors
    /// When a topic or a place cannot be read or written. What was in force stays so, and the
    /// call can be repeated.
    pub async fn apply(&self, topology: Topology) -> Result<(), BrokerError> {
        let _one_at_a_time = self.inner.applying.lock().await;
        if self.inner.tasks.stop_token().is_cancelled() {
            return Err(BrokerError::Closing);
        }
        self.inner.apply(topology).await
    }

    /// Stores one event; it is durable when this returns.
    ///
    /// Dropped before it returns, the event may or may not be stored: repeat it with
    /// [`PublishRequest::once`] and the same id.
    ///
    /// # Errors
    /// [`PublishError::retry`] says what repeating would do.
    pub async fn publish(&self, request: PublishRequest<'_>) -> Result<Published, PublishError> {
        let topic = self.publish_to(&request.topic)?;
        topic.publish(request.event, request.once).await
    }

    /// Stores many events of one topic in one write, in their order; durable when this returns.
    /// An event that cannot be taken keeps back no other: the result of each stands at its place.
    /// Of each event, whether it is to be stored [once](PublishRequest::once).
    ///
    /// # Errors
    /// As [`Broker::publish`]; then none of them was taken, or for [`PublishError::Storage`] it
    /// is not known.
    pub async fn publish_all(
        &self,
        topic: &TopicName,
        events: Vec<(Envelope<'_>, bool)>,
    ) -> Result<Vec<Result<(), EventError>>, PublishError> {
        self.publish_to(topic)?.publish_all(events).await
    }

    fn publish_to(&self, topic: &TopicName) -> Result<Arc<Topic>, PublishError> {
        if self.inner.tasks.stop_token().is_cancelled() {
            return Err(PublishError::Closing);
        }
        let running = self.inner.running.load();
        running.topics.get(topic).cloned().ok_or_else(|| PublishError::UnknownTopic {
            similar: similar(topic, running.topics.keys()),
            topic: topic.to_string(),
        })
    }

    /// Stops taking and sending, lets deliveries finish, stores the cursors. After `grace` what
    /// is left is broken off and will be delivered again. Returns how many loops were left.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let patience = grace.saturating_sub(LAST_WORDS);
        if self.inner.tasks.shutdown(patience).await == 0 {
            return 0;
        }
        self.inner.cut.cancel();
        self.inner.tasks.shutdown(LAST_WORDS.min(grace)).await
    }
}

impl Inner {
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.tasks.stop_token()
    }

    async fn apply(&self, topology: Topology) -> Result<(), BrokerError> {
        let old = self.running.load_full();
        let contracts = changed_contracts(&old.topology, &topology)?;
        let mut topics = BTreeMap::new();
        for name in topology.topics.keys() {
            let topic = match old.topics.get(name) {
                Some(topic) => Arc::clone(topic),
                None => {
                    let log = self.logs.open(name.as_str()).await?;
                    Arc::new(Topic { name: name.clone(), log, contract: ArcSwapOption::empty() })
                }
            };
            topics.insert(name.clone(), topic);
        }
        let states = self.subscription_states(&topology, &topics).await?;

        let mut replaying = self.replaying().await?;

        // First stop what is gone or changes, so that no two loops have one place.
        self.stop_leaving(&old, &topology).await;
        for (topic, contract) in contracts {
            topics[&topic].contract.store(contract);
        }
        let mut running = Running { topics, ..Running::default() };
        for (spec, state) in states {
            let id = (spec.service.clone(), spec.topic.clone());
            let letters = replaying.remove(&id).unwrap_or_default();
            // One may have ended, when a call before this one failed halfway.
            let kept = old.subscriptions.get(&id).filter(|h| !h.ended.is_cancelled());
            let handle = match kept {
                Some(handle) => self.reconfigure(handle, spec).await,
                None => self.start_subscription(spec, state, &running, letters),
            };
            running.subscriptions.insert(id, handle);
        }
        for (service, spec) in &topology.outboxes {
            let kept = old.outboxes.get(service);
            let kept = kept.filter(|o| o.spec == *spec && !o.ended.is_cancelled());
            let handle = match kept {
                Some(handle) => Arc::clone(handle),
                None => self.start_outbox(service, spec, &running).await?,
            };
            running.outboxes.insert(service.clone(), handle);
        }
        running.topology = topology;
        self.running.store(Arc::new(running));
        // Their limits may be others now.
        self.dead.grown.notify_one();
        Ok(())
    }

    /// Where each subscription is. A new one gets its place stored before it is in force, or a
    /// crash would let it begin at a later end of the topic.
    async fn subscription_states(
        &self,
        topology: &Topology,
        topics: &BTreeMap<TopicName, Arc<Topic>>,
    ) -> Result<Vec<(SubscriptionSpec, SubscriptionV1)>, BrokerError> {
        let mut states = Vec::new();
        let mut tx = Tx::new();
        for spec in &topology.subscriptions {
            let topic = topics
                .get(&spec.topic)
                .ok_or_else(|| BrokerError::UnknownTopic(spec.topic.clone()))?;
            let key = subscription::state_key(spec);
            let state = match self.kv.get(&key).await? {
                Some(entry) => SubscriptionV1::read(&key, &entry.value)?,
                None => {
                    let fresh = SubscriptionV1 { high: topic.bounds().next.0, open: Vec::new() };
                    tx = tx.put(key, fresh.clone().write());
                    fresh
                }
            };
            states.push((spec.clone(), state));
        }
        if !tx.writes.is_empty() {
            self.kv.commit(tx).await?;
        }
        Ok(states)
    }

    async fn stop_leaving(&self, old: &Running, topology: &Topology) {
        let mut leaving = Vec::new();
        for handle in old.subscriptions.values() {
            let stays = |s: &&SubscriptionSpec| {
                s.service == handle.spec.service && s.topic == handle.spec.topic
            };
            if !topology.subscriptions.iter().any(|s| stays(&s)) {
                handle.stop.cancel();
                leaving.push((handle.ended.clone(), Some(handle.cut.clone())));
            }
        }
        for (service, handle) in &old.outboxes {
            if topology.outboxes.get(service) != Some(&handle.spec) {
                handle.stop.cancel();
                leaving.push((handle.ended.clone(), None));
            }
        }
        let deadline = clock::now() + LEAVE_GRACE;
        for (ended, cut) in leaving {
            if clock::timeout_at(deadline, ended.cancelled()).await.is_err()
                && let Some(cut) = cut
            {
                cut.cancel();
            }
            ended.cancelled().await;
        }
    }

    async fn reconfigure(&self, handle: &Arc<Handle>, spec: SubscriptionSpec) -> Arc<Handle> {
        if handle.spec == spec {
            return Arc::clone(handle);
        }
        // A loop that has ended by itself is stopping with the broker.
        let _ = handle.commands.send(Command::Reconfigure(spec.how.clone())).await;
        Arc::new(Handle {
            spec,
            commands: handle.commands.clone(),
            stats: handle.stats.clone(),
            stop: handle.stop.clone(),
            cut: handle.cut.clone(),
            ended: handle.ended.clone(),
        })
    }

    fn start_subscription(
        &self,
        spec: SubscriptionSpec,
        state: SubscriptionV1,
        running: &Running,
        replaying: Vec<(DeadLetter, Bytes)>,
    ) -> Arc<Handle> {
        let topic = Arc::clone(&running.topics[&spec.topic]);
        let stop = self.tasks.stop_token();
        let wiring = Arc::clone(&self.wiring);
        let (task, handle) = Loop::new(spec, topic, wiring, state, replaying, &stop, &self.cut);
        self.tasks.spawn("broker.subscription", task.run());
        Arc::new(handle)
    }

    async fn start_outbox(
        &self,
        service: &ServiceName,
        spec: &OutboxSpec,
        running: &Running,
    ) -> Result<Arc<OutboxHandle>, BrokerError> {
        let key = outbox_loop::state_key(service);
        let state = match self.kv.get(&key).await? {
            Some(entry) => OutboxV1::read(&key, &entry.value)?,
            None => OutboxV1::default(),
        };
        let own = running.topics.iter().filter(|(name, _)| spec.publishes.contains(*name));
        let start = OutboxStart {
            service: service.clone(),
            spec: spec.clone(),
            topics: own.map(|(name, topic)| (name.clone(), Arc::clone(topic))).collect(),
            state,
            limit: self.config.outbox_limit,
            wait: self.config.outbox_wait,
        };
        let (task, handle) =
            OutboxLoop::new(start, Arc::clone(&self.wiring), &self.tasks.stop_token());
        self.tasks.spawn("broker.outbox", task.run());
        Ok(Arc::new(handle))
    }

    /// Dead letters whose replay an earlier run did not finish.
    async fn replaying(
        &self,
    ) -> Result<BTreeMap<(ServiceName, TopicName), Vec<(DeadLetter, Bytes)>>, BrokerError> {
        let all = DeadFilter { max: usize::MAX, ..DeadFilter::default() };
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for dead in dead::list(&*self.kv, &all).await? {
            let (Some(service), Ok(topic)) = (&dead.subscriber, TopicName::new(&dead.topic)) else {
                continue;
            };
            if dead.state == DeadState::Replaying
                && let Some(event) = dead::body(&*self.kv, dead.id).await?
            {
                found.entry((service.clone(), topic)).or_default().push((dead, event));
            }
        }
        Ok(found)
    }
}

/// The compiled schemas of topics that are new or have another one than before.
fn changed_contracts(old: &Topology, new: &Topology) -> Result<Contracts, BrokerError> {
    let mut changed = Contracts::new();
    for (topic, spec) in &new.topics {
        if old.topics.get(topic).is_some_and(|old| old.schema == spec.schema) {
            continue;
        }
        let contract = spec.schema.as_ref().map(Contract::compile).transpose();
        let contract =
            contract.map_err(|source| BrokerError::Schema { topic: topic.clone(), source })?;
        changed.insert(topic.clone(), contract.map(Arc::new));
    }
    Ok(changed)
}

/// The topic that a person probably meant.
fn similar<'a>(
    wanted: &TopicName,
    known: impl Iterator<Item = &'a TopicName>,
) -> Option<TopicName> {
    let distance = |name: &&TopicName| edit_distance(wanted.as_str(), name.as_str());
    known.min_by_key(distance).filter(|name| distance(name) <= 3).cloned()
}

fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let running = self.inner.running.load();
        write!(
            f,
            "Broker({} topics, {} subscriptions, {} outboxes)",
            running.topics.len(),
            running.subscriptions.len(),
            running.outboxes.len()
        )
    }
}
