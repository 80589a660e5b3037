//! Tells the alerts what is known: every few seconds, from the status, the broker, the workflows
//! and the machine. What is a number over time is recorded as one too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archipel_alert::{Entrance, Facts, ServiceFact, SubscriptionFact};
use archipel_control::{Preparation, Snapshot};
use archipel_gateway::{Caller, SeriesCount};
use archipel_model::ServiceName;
use archipel_rt::{blocking, clock};
use archipel_telemetry::{METRIC_SAMPLE_MS, MetricKey};

use crate::server::Shared;

/// Looking through all workflows takes longer than looking at counters.
const WORKFLOWS_EVERY: Duration = Duration::from_secs(60);

/// Tells until told to stop. `state`: a directory on the disk that matters.
pub(crate) async fn run(shared: Arc<Shared>, state: PathBuf) {
    let mut pace = tokio::time::interval(Duration::from_millis(METRIC_SAMPLE_MS));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut parked = Vec::new();
    let mut looked: Option<clock::Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            _ = pace.tick() => {}
        }
        let Some(snapshot) = shared.parts.control.watch().borrow().clone() else { continue };
        if looked.is_none_or(|at| clock::now() - at >= WORKFLOWS_EVERY) {
            looked = Some(clock::now());
            parked = parked_workflows(&shared).await;
        }
        let disk_of = state.clone();
        let disk = blocking(move || disk_usage(&disk_of)).await;
        let facts = facts(&shared, &snapshot, parked.clone(), disk);
        shared.parts.metrics.record(clock::wall_ms(), numbers(&shared, &facts));
        shared.parts.alerts.tell(facts);
    }
}

/// How many there are of each app that wait for a person.
async fn parked_workflows(shared: &Shared) -> Vec<(String, u64)> {
    let filter = archipel_workflow::Filter {
        statuses: vec![archipel_workflow::OrchestrationStatus::Stalled],
        ..archipel_workflow::Filter::default()
    };
    // The store says itself what is wrong with it.
    let Ok(found) = shared.parts.engine.find(None, &filter, 1_000).await else { return Vec::new() };
    let mut by_app = BTreeMap::new();
    for instance in found.instances {
        *by_app.entry(instance.app).or_insert(0u64) += 1;
    }
    by_app.into_iter().collect()
}

/// Used and there for us: what is kept back for root is not.
fn disk_usage(state: &std::path::Path) -> Option<(u64, u64)> {
    let of = rustix::fs::statvfs(state).ok()?;
    let used = of.f_blocks.saturating_sub(of.f_bfree);
    Some((used * of.f_frsize, (used + of.f_bavail) * of.f_frsize))
}

fn facts(
    shared: &Shared,
    snapshot: &Snapshot,
    parked: Vec<(String, u64)>,
    disk: Option<(u64, u64)>,
) -> Facts {
    let app = &snapshot.plan.app;
    let topics = shared.parts.broker.topics();
    let subscriptions = topics.iter().flat_map(|topic| {
        topic.subscribers.iter().map(|subscriber| SubscriptionFact {
            topic: topic.name.to_string(),
            subscriber: subscriber.service.to_string(),
            lag: subscriber.lag,
            dead: subscriber.dead,
        })
    });
    let counters = shared.parts.gateway.counters();
    let answers = answers(&counters.series);
    let gateway = app.gateway.as_ref().filter(|_| snapshot.gateway_error.is_none());
    Facts {
        generation: snapshot.generation,
        services: app
            .services
            .keys()
            .filter_map(|name| service(snapshot, name, &answers))
            .collect(),
        preparing: snapshot.services.values().any(|state| {
            use Preparation::{Building, Migrating, Waiting};
            matches!(state.preparation, Building | Migrating | Waiting)
        }),
        subscriptions: subscriptions.collect(),
        parked,
        disk,
        dropped: shared.parts.spans.counts().dropped
            + shared.parts.logs.dropped()
            + counters.access_dropped,
        gateway_declared: app.gateway.is_some(),
        gateway: gateway.map(entrance),
        console: shared
            .dashboard
            .as_ref()
            .ok()
            .map(|door| format!("http://127.0.0.1:{}", door.port)),
    }
}

/// Requests and failed ones by the service that they led to.
fn answers(all: &[SeriesCount]) -> BTreeMap<&ServiceName, (u64, u64)> {
    let mut by_service: BTreeMap<&ServiceName, (u64, u64)> = BTreeMap::new();
    for series in all.iter().filter(|series| series.key.caller != Caller::Archipel) {
        let Some(callee) = &series.key.callee else { continue };
        let sum = by_service.entry(callee).or_default();
        sum.0 += series.requests();
        sum.1 += series.by_class[5] + series.broken;
    }
    by_service
}

fn service(
    snapshot: &Snapshot,
    name: &ServiceName,
    answers: &BTreeMap<&ServiceName, (u64, u64)>,
) -> Option<ServiceFact> {
    let declared = snapshot.plan.app.services.get(name)?;
    let state = snapshot.services.get(name)?;
    let limit = declared.memory.map(|memory| memory.limit.0);
    let instances = state.instances.len().max(1) as u64;
    let preparing = match &state.preparation {
        Preparation::Building | Preparation::Migrating | Preparation::Waiting => true,
        // What should be here of a new release is not there yet.
        Preparation::Done(_) => !state.current,
        _ => false,
    };
    let (requests, failed) = answers.get(name).copied().unwrap_or_default();
    Some(ServiceFact {
        requests,
        failed,
        name: name.to_string(),
        calls: declared.calls.keys().map(ToString::to_string).collect(),
        wanted: state.desired,
        ready: state.ready(),
        settled: state.is_settled_well(),
        hopeless: state.needs_a_person(),
        preparing,
        reason: state.reason(),
        restarts: state.instances.iter().map(|instance| instance.restarts).sum(),
        memory_bytes: state.instances.iter().filter_map(|instance| instance.memory_bytes).sum(),
        memory_limit: limit.map(|limit| limit.saturating_mul(instances)),
    })
}

fn entrance(gateway: &archipel_model::Gateway) -> Entrance {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let mut connect = gateway.listen;
    if connect.ip().is_unspecified() {
        connect.set_ip(match connect.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let tls = gateway.tls.is_some();
    let named = gateway.hosts.iter().find(|host| !host.starts_with('*'));
    let usual = if tls { 443 } else { 80 };
    let authority = match named {
        Some(host) if connect.port() == usual => host.clone(),
        Some(host) => format!("{host}:{}", connect.port()),
        None => connect.to_string(),
    };
    Entrance { connect, authority, tls, hosts: gateway.hosts.clone() }
}

/// What `metric(name)` of an alert may ask, beside processor and memory.
fn numbers(shared: &Shared, facts: &Facts) -> Vec<(MetricKey, f64)> {
    let key = |metric: &str, service: &str| MetricKey {
        metric: metric.to_owned(),
        service: service.to_owned(),
        instance: String::new(),
        labels: None,
    };
    let mut by_service: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for of in &facts.subscriptions {
        let sum = by_service.entry(&of.subscriber).or_default();
        sum.0 += of.lag;
        sum.1 += of.dead;
    }
    let mut numbers = Vec::new();
    for (service, (lag, dead)) in by_service {
        numbers.push((key("queue.lag", service), lag as f64));
        numbers.push((key("queue.dead", service), dead as f64));
    }
    for outbox in shared.parts.broker.outboxes() {
        let failing = f64::from(u8::from(outbox.problem.is_some()));
        numbers.push((key("outbox.failing", outbox.service.as_str()), failing));
    }
    for (service, count) in &facts.parked {
        numbers.push((key("workflows.parked", service), *count as f64));
    }
    if let Some((used, all)) = facts.disk.filter(|(_, all)| *all > 0) {
        numbers.push((key("host.disk", ""), used as f64 / all as f64));
    }
    numbers
}
