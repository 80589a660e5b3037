//! How many events a second go from publishers through the embedded store to subscribers.
//!
//! `cargo run --release -p archipel-broker --example throughput [seconds] [directory]`
//!
//! Full durability: a publisher goes on when its event is on the disk. The subscribers answer at
//! once, so the figure is the broker's own. Latency is from the start of a publish to the
//! delivery.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_broker::{
    Answer, Broker, Config, Deliver, Delivery, Envelope, PublishRequest, Pull, PullError,
    SubscriptionSpec, TopicSpec, Topology,
};
use archipel_model::{ServiceName, Subscription, TopicName};
use archipel_rt::CancellationToken;
use archipel_rt::clock::{self, Instant};
use archipel_storage::embedded::{EmbeddedKv, EmbeddedLogs, Options};
use async_trait::async_trait;
use bytes::Bytes;

type Failure = Box<dyn std::error::Error>;

struct Sink {
    began: Instant,
    delivered: AtomicU64,
    latencies_us: Mutex<Vec<u64>>,
}

#[async_trait]
impl Deliver for Sink {
    async fn deliver(&self, delivery: Delivery) -> Answer {
        let now = self.now_us();
        let sent = Envelope::parse(&delivery.event)
            .ok()
            .and_then(|event| event.text("sent")?.parse::<u64>().ok())
            .unwrap_or(now);
        let mut latencies = self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.push(now.saturating_sub(sent));
        drop(latencies);
        self.delivered.fetch_add(1, Ordering::Relaxed);
        Answer::Http { status: 204, body: Bytes::new(), retry_after: None }
    }

    async fn pull_outbox(&self, _: Pull) -> Result<Bytes, PullError> {
        Err(PullError::NoInstance)
    }
}

impl Sink {
    fn now_us(&self) -> u64 {
        u64::try_from((clock::now() - self.began).as_micros()).unwrap_or(u64::MAX)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let root = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("broker-throughput-{}", std::process::id()));
    println!(
        "{:>10} {:>11} {:>11} {:>12} {:>9} {:>9}",
        "publishers", "subscribers", "published/s", "delivered/s", "p50 ms", "p99 ms"
    );
    for (publishers, subscribers, ordered) in
        [(1, 1, false), (16, 1, false), (64, 1, false), (64, 4, false), (256, 1, true)]
    {
        let directory = root.join(format!("{publishers}-{subscribers}"));
        measure(&directory, publishers, subscribers, ordered, seconds).await?;
    }
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

async fn measure(
    directory: &Path,
    publishers: usize,
    subscribers: usize,
    ordered: bool,
    seconds: u64,
) -> Result<(), Failure> {
    let sink = Arc::new(Sink {
        began: clock::now(),
        delivered: AtomicU64::new(0),
        latencies_us: Mutex::default(),
    });
    let logs = EmbeddedLogs::open(&directory.join("events.db"), Options::default()).await?;
    let kv = EmbeddedKv::open(&directory.join("state.db"), Options::default()).await?;
    let deliver: Arc<dyn Deliver> = sink.clone();
    let stop = CancellationToken::new();
    let broker =
        Broker::open(Arc::new(logs), Arc::new(kv), Config::default(), deliver, &stop).await?;
    broker.apply(topology(subscribers, ordered)?).await?;

    let end = clock::now() + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for publisher in 0..publishers {
        let (broker, sink) = (broker.clone(), Arc::clone(&sink));
        let topic = TopicName::new("order.placed")?;
        tasks.spawn(async move {
            let mut count = 0_u64;
            while clock::now() < end {
                let json = format!(
                    r#"{{"specversion":"1.0","id":"{publisher}-{count}","source":"/orders","type":"t","subject":"{}","sent":"{}","data":{{"text":"{}"}}}}"#,
                    count % 50,
                    sink.now_us(),
                    "x".repeat(150)
                );
                let event = Envelope::parse(json.as_bytes()).map_err(|e| e.to_string())?;
                let request = PublishRequest { topic: topic.clone(), event, once: true };
                broker.publish(request).await.map_err(|e| e.to_string())?;
                count += 1;
            }
            Ok::<_, String>(count)
        });
    }
    let mut published = 0;
    while let Some(done) = tasks.join_next().await {
        published += done??;
    }
    while sink.delivered.load(Ordering::Relaxed) < published * subscribers as u64 {
        clock::sleep(Duration::from_millis(1)).await;
    }
    let wall = (clock::now() - (end - Duration::from_secs(seconds))).as_secs_f64();
    broker.shutdown(Duration::from_secs(5)).await;
    let mut latencies = sink.latencies_us.lock().unwrap_or_else(PoisonError::into_inner);
    latencies.sort_unstable();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 100] as f64 / 1_000.0;
    println!(
        "{publishers:>10} {subscribers:>11} {:>11.0} {:>12.0} {:>9.1} {:>9.1}{}",
        published as f64 / seconds as f64,
        latencies.len() as f64 / wall,
        at(50),
        at(99),
        if ordered { "  ordered by key" } else { "" }
    );
    Ok(())
}

fn topology(subscribers: usize, ordered: bool) -> Result<Topology, Failure> {
    let topic = TopicName::new("order.placed")?;
    let spec = TopicSpec { retain: Duration::from_secs(3_600), publisher: None, schema: None };
    let mut subscriptions = Vec::new();
    for i in 0..subscribers {
        let mut how = Subscription::new("/events".to_owned());
        how.concurrency = 32;
        how.ordered_by = ordered.then(|| "subject".to_owned());
        let service = ServiceName::new(&format!("subscriber{i}"))?;
        subscriptions.push(SubscriptionSpec { service, topic: topic.clone(), how });
    }
    Ok(Topology {
        topics: BTreeMap::from([(topic, spec)]),
        subscriptions,
        outboxes: BTreeMap::new(),
    })
}
