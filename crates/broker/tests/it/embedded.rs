//! The broker on real files, over restarts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archipel_broker::{Broker, Config, DeadFilter};
use archipel_rt::CancellationToken;
use archipel_storage::embedded::{EmbeddedKv, EmbeddedLogs, Options};
use archipel_storage::{Kv, Logs};

use crate::fake::{Fixture, publish, status};

struct Opened {
    broker: Broker,
    logs: Arc<dyn Logs>,
    kv: Arc<dyn Kv>,
}

impl Opened {
    async fn open(directory: &Path, fixture: &Fixture) -> Self {
        let logs = EmbeddedLogs::open(&directory.join("events.db"), Options::default()).await;
        let kv = EmbeddedKv::open(&directory.join("state.db"), Options::default()).await;
        let logs: Arc<dyn Logs> = Arc::new(logs.expect("opens"));
        let kv: Arc<dyn Kv> = Arc::new(kv.expect("opens"));
        let (apps, stop) = (Arc::new(fixture.apps.clone()), CancellationToken::new());
        let (own_logs, own_kv) = (Arc::clone(&logs), Arc::clone(&kv));
        let broker = Broker::open(own_logs, own_kv, Config::default(), apps, &stop).await;
        let broker = broker.expect("opens");
        broker.apply(fixture.topology.clone()).await.expect("applies");
        Self { broker, logs, kv }
    }

    async fn close(self) {
        assert_eq!(self.broker.shutdown(Duration::from_secs(5)).await, 0);
        self.logs.close().await;
        self.kv.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_lose_nothing_and_double_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let fixture = Fixture::new()
        .topic("order.placed")
        .subscribe("cart", "order.placed", |how| how.ordered_by = Some("subject".to_owned()))
        .subscribe("strict", "order.placed", |_| {});
    fixture.apps.on("strict", |seen| status(if seen.id.ends_with('7') { 422 } else { 204 }));
    for round in 0..4_u64 {
        let opened = Opened::open(directory.path(), &fixture).await;
        for i in 0..50 {
            let id = format!("{round}-{i}");
            publish(&opened.broker, "order.placed", &id, &format!("key {}", i % 5)).await;
        }
        // Every other round is stopped in the middle of delivering.
        if round % 2 == 1 {
            fixture
                .apps
                .until_count("cart", usize::try_from((round + 1) * 50).expect("small"))
                .await;
        }
        opened.close().await;
    }
    let opened = Opened::open(directory.path(), &fixture).await;
    fixture.apps.until_count("cart", 200).await;
    fixture.apps.until_count("strict", 200).await;
    archipel_testkit::eventually(Duration::from_secs(20), || async {
        let view = opened.broker.topics().remove(0);
        if view.subscribers.iter().all(|s| s.lag == 0) { Ok(()) } else { Err(view) }
    })
    .await;
    let letters = opened.broker.dead_letters(&DeadFilter::default()).await.expect("lists");
    assert_eq!(letters.len(), 4 * 5, "7, 17, 27, 37, 47 of each round");
    opened.close().await;

    let expected: Vec<_> =
        (0..4).flat_map(|round| (0..50).map(move |i| format!("{round}-{i}"))).collect();
    for key in 0..5 {
        let of_key = |id: &&String| {
            let i: usize = id.rsplit('-').next().and_then(|i| i.parse().ok()).expect("a number");
            i % 5 == key
        };
        let ids = fixture.apps.ids("cart");
        let got: Vec<_> = ids.iter().filter(of_key).collect();
        let wanted: Vec<_> = expected.iter().filter(of_key).collect();
        assert_eq!(got, wanted, "a graceful stop doubles nothing, and the order holds");
    }
}
