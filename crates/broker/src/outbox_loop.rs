//! The loop that pulls one service's outbox.
//!
//! There is one per service, however many instances it has, so the rows come in their order. The
//! cursor moves only after the events are safe in their topics; what is pulled twice because of
//! a crash in between is recognised by source and id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{Backoff, ServiceName, TopicName};
use archipel_rt::CancellationToken;
use archipel_rt::clock;
use archipel_storage::{KvError, StorageError, Tx};
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::backoff::{Roll, delay};
use crate::contract::Contracts;
use crate::dead::{self, DeadId, DeadLetter, DeadState};
use crate::deliver::{Pull, PullError};
use crate::event::Envelope;
use crate::outbox::{Batch, OutboxError, Refused, is_same_outbox, read_batch};
use crate::stored::OutboxV1;
use crate::subscription::Wiring;
use crate::topic::Topic;
use crate::topology::OutboxSpec;

/// A service that answers at once with nothing is asked this often.
const IDLE_PAUSE: Duration = Duration::from_millis(500);
/// After a failure.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(200), max: Duration::from_secs(5) };
/// Of refused events in one write.
const REFUSED_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Clone, Default)]
pub(crate) struct OutboxStats {
    pub cursor: u64,
    pub pulled: u64,
    pub problem: Option<String>,
}

#[derive(Debug)]
pub(crate) struct OutboxHandle {
    pub spec: OutboxSpec,
    pub stats: watch::Receiver<OutboxStats>,
    pub stop: CancellationToken,
    pub ended: CancellationToken,
    /// Ends a pause: the service is there again.
    pub hurry: Arc<Notify>,
}

pub(crate) fn state_key(service: &ServiceName) -> String {
    format!("outbox/{service}")
}

pub(crate) struct OutboxLoop {
    service: ServiceName,
    path: String,
    /// Those it publishes.
    topics: BTreeMap<TopicName, Arc<Topic>>,
    wiring: Arc<Wiring>,
    limit_max: u32,
    limit: u32,
    wait: Duration,
    state: OutboxV1,
    /// The outbox may be another one than before: we were away, or it was.
    doubtful: bool,
    pulled: u64,
    failures: u32,
    stats: watch::Sender<OutboxStats>,
    stop: CancellationToken,
    ended: CancellationToken,
    hurry: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Pull(#[from] PullError),
    #[error("{0}")]
    Answer(#[from] OutboxError),
    #[error("the events could not be stored: {0}")]
    Log(#[from] StorageError),
    #[error("the cursor could not be stored: {0}")]
    Cursor(#[from] KvError),
}

pub(crate) struct OutboxStart {
    pub service: ServiceName,
    pub spec: OutboxSpec,
    pub topics: BTreeMap<TopicName, Arc<Topic>>,
    pub state: OutboxV1,
    pub limit: u32,
    pub wait: Duration,
}

impl OutboxLoop {
    pub(crate) fn new(
        start: OutboxStart,
        wiring: Arc<Wiring>,
        stop: &CancellationToken,
    ) -> (Self, OutboxHandle) {
        let first = OutboxStats { cursor: start.state.cursor, ..OutboxStats::default() };
        let (stats, stats_receiver) = watch::channel(first);
        let handle = OutboxHandle {
            spec: start.spec.clone(),
            stats: stats_receiver,
            stop: stop.child_token(),
            ended: CancellationToken::new(),
            hurry: Arc::new(Notify::new()),
        };
        let this = Self {
            path: start.spec.path,
            service: start.service,
            topics: start.topics,
            wiring,
            limit_max: start.limit,
            limit: start.limit,
            wait: start.wait,
            doubtful: true,
            state: start.state,
            pulled: 0,
            failures: 0,
            stats,
            stop: handle.stop.clone(),
            ended: handle.ended.clone(),
            hurry: Arc::clone(&handle.hurry),
        };
        (this, handle)
    }

    pub(crate) async fn run(mut self) {
        let _ended = self.ended.clone().drop_guard();
        let stop = self.stop.clone();
        loop {
            // Broken off between append and cursor, the same events are pulled again and known.
            let pause = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                pause = self.turn() => pause,
            };
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.hurry.notified() => {}
                () = clock::sleep(pause) => {}
            }
        }
    }

    /// One pull. Returns how long to wait before the next.
    async fn turn(&mut self) -> Duration {
        let began = clock::now();
        let (pause, problem) = match self.pull().await {
            Ok(0) if clock::now() - began < IDLE_PAUSE / 2 => (IDLE_PAUSE, None),
            Ok(_) => (Duration::ZERO, None),
            Err(Trouble::Pull(PullError::TooLarge { .. })) if self.limit > 1 => {
                self.limit = (self.limit / 4).max(1);
                return Duration::ZERO;
            }
            Err(trouble) => {
                self.failures = self.failures.saturating_add(1);
                self.doubtful = true;
                self.report(&trouble);
                let pause = delay(BACKOFF, self.failures, Roll::draw());
                (pause.max(BACKOFF.min / 2), Some(trouble.to_string()))
            }
        };
        if problem.is_none() {
            if self.failures > 0 {
                tracing::info!(service = %self.service, "the outbox answers again");
            }
            self.failures = 0;
            self.limit = (self.limit * 2).min(self.limit_max);
        }
        let (cursor, pulled) = (self.state.cursor, self.pulled);
        self.stats.send_replace(OutboxStats { cursor, pulled, problem });
        pause
    }

    /// Loud once per trouble, and not at all for a service that is not there: others say that.
    fn report(&self, trouble: &Trouble) {
        if self.failures == 1 && !matches!(trouble, Trouble::Pull(PullError::NoInstance)) {
            tracing::warn!(
                service = %self.service, path = self.path, after = self.state.cursor, %trouble,
                "the outbox could not be pulled; tried again until it works"
            );
        }
    }

    /// Returns how many events came.
    async fn pull(&mut self) -> Result<u64, Trouble> {
        if self.doubtful {
            if !self.is_same().await? {
                return self.start_over().await;
            }
            self.doubtful = false;
        }
        let body = self.ask(self.state.cursor, self.limit, self.wait).await?;
        let batch = read_batch(&body, self.state.cursor, &self.declared())?;
        if batch.restored {
            return self.start_over().await;
        }
        if batch.count > 0 { self.publish(batch).await } else { Ok(0) }
    }

    fn declared(&self) -> Contracts {
        let contract = |topic: &Topic| topic.contract.load_full();
        self.topics.iter().map(|(name, topic)| (name.clone(), contract(topic))).collect()
    }

    async fn ask(&self, after: u64, limit: u32, wait: Duration) -> Result<Bytes, PullError> {
        let (service, path) = (self.service.clone(), self.path.clone());
        self.wiring.deliver.pull_outbox(Pull { service, path, after, limit, wait }).await
    }

    /// Looks whether the event at the cursor is the one that was pulled.
    async fn is_same(&self) -> Result<bool, Trouble> {
        let Some(last) = &self.state.last else { return Ok(true) };
        let before = self.state.cursor.saturating_sub(1);
        match self.ask(before, 1, Duration::ZERO).await {
            Ok(body) => Ok(is_same_outbox(&body, self.state.cursor, last)?),
            // One row that is too large was pulled before, so it has changed.
            Err(PullError::TooLarge { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn start_over(&mut self) -> Result<u64, Trouble> {
        tracing::error!(
            service = %self.service, cursor = self.state.cursor,
            "the outbox is not the one that was pulled before: its database was restored or \
             replaced. It is pulled from the beginning; events that are still known are not \
             published twice"
        );
        self.save(OutboxV1::default(), &[]).await?;
        Ok(1)
    }

    async fn publish(&mut self, batch: Batch) -> Result<u64, Trouble> {
        let mut appends = JoinSet::new();
        for (name, records) in batch.accepted {
            let topic = Arc::clone(&self.topics[&name]);
            appends.spawn(async move { topic.log.append(records).await });
        }
        while let Some(done) = appends.join_next().await {
            match done {
                Ok(done) => drop(done?),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        let state = OutboxV1 { cursor: batch.cursor, last: batch.last };
        self.save(state, &batch.refused).await?;
        self.pulled += batch.count;
        Ok(batch.count)
    }

    /// Stores the dead letters and the cursor, the cursor with the last of them.
    async fn save(&mut self, state: OutboxV1, refused: &[Refused]) -> Result<(), Trouble> {
        let mut tx = Tx::new();
        let (mut bytes, mut dead_letters) = (0, Vec::new());
        for refused in refused {
            let (dead, event) = self.dead_letter(refused);
            tracing::error!(
                service = %self.service, topic = refused.topic, dead = %dead.id,
                reason = %dead.reason, event = dead.event_id,
                "an event of the outbox cannot be published and goes to the dead letters"
            );
            if bytes + event.len() > REFUSED_BYTES_MAX {
                self.wiring.kv.commit(std::mem::take(&mut tx)).await?;
                bytes = 0;
            }
            bytes += event.len();
            tx = dead::put(tx, &dead, event);
            dead_letters.push(dead);
        }
        let tx = tx.put(state_key(&self.service), state.clone().write());
        self.wiring.kv.commit(tx).await?;
        dead_letters.iter().for_each(|dead| self.wiring.dead.add(dead));
        self.state = state;
        Ok(())
    }

    fn dead_letter(&self, refused: &Refused) -> (DeadLetter, Bytes) {
        let now = clock::wall_ms();
        let envelope = Envelope::parse(&refused.event).unwrap_or_default();
        let text = |name| envelope.text(name).map(|text| text.into_owned());
        let dead = DeadLetter {
            id: DeadId::new(),
            state: DeadState::Dead,
            topic: refused.topic.clone(),
            seq: None,
            subscriber: None,
            publisher: Some(self.service.clone()),
            reason: refused.reason.clone(),
            attempts: 0,
            first_ms: now,
            last_ms: now,
            event_id: text("id"),
            event_type: text("type"),
            event_source: text("source"),
            bytes: refused.event.len(),
        };
        // An event that is too large to publish may be too large to keep, too.
        let event = refused.event.slice(..refused.event.len().min(2 << 20));
        (dead, event)
    }
}
