use archipel_model::Watch;
use archipel_telemetry::{LogStore, MetricPolicy, MetricStore, SpanPolicy, SpanStore};

use super::*;
use crate::send::Secrets;

const START: u64 = 1_700_000_000_000;

fn round(dir: &std::path::Path) -> (Round, Tasks) {
    let tasks = Tasks::new(&CancellationToken::new());
    let stores = Stores {
        spans: SpanStore::open(dir.join("spans"), SpanPolicy::default(), &tasks).unwrap(),
        logs: LogStore::open(dir.join("logs"), &tasks).unwrap(),
        metrics: MetricStore::open(dir.join("metrics"), MetricPolicy::default()).unwrap(),
    };
    let alerts = Alerts::open(dir.join("alerts.json"), stores.clone(), &tasks);
    (Round::new(alerts, stores, dir.join("alerts.json"), &tasks), tasks)
}

#[tokio::test]
async fn what_the_door_told_is_over_when_no_manifest_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut round, tasks) = round(dir.path());
    let config = Arc::new(Config::new("shop", &Watch::default(), Secrets::default()));
    for _ in 0..3 {
        round.take(&config, Done::Door(Err("nobody answers".into()), 1));
    }
    round.apply(&config, shipped::CERTIFICATE, vec![certificate("a.test".into(), 0, START)], START);
    let firing = |round: &Round| {
        let alerts = round.alerts.with(|state| state.book.alerts.clone());
        alerts.values().flatten().filter(|alert| alert.phase.is_firing()).count()
    };
    assert_eq!(firing(&round), 2);
    let now_ms = clock::wall_ms() + 3 * 60_000;
    let closed = Facts { gateway_declared: true, ..Facts::default() };
    round.checks_gone(&config, Some(&closed), now_ms);
    round.checks_gone(&config, None, now_ms);
    assert_eq!(firing(&round), 2, "it may open again");
    round.checks_gone(&config, Some(&Facts::default()), now_ms + 3 * 60_000);
    assert_eq!(firing(&round), 0);
    drop(round);
    assert_eq!(tasks.shutdown(Duration::from_secs(30)).await, 0);
}
