//! Numbers over time: read every few seconds from the kernel, the status and the gateway, and
//! asked for by pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{blocking, clock};
use archipel_telemetry::process::{self, Host, TICKS_PER_SECOND, Usage};
use archipel_telemetry::{METRIC_SAMPLE_MS, MetricKey, MetricQuery};
use http::StatusCode;

use crate::admin::{Done, Query};
use crate::answer::{self, Answer, problem};
use crate::server::Shared;
use crate::view::{self, Status};

const HOUR_MS: u64 = 3_600_000;
const POINTS: u64 = 120;
/// Lines of one metric that a page gets: those with the most.
const LINES_MAX: usize = 40;

/// Reads and records until told to stop.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pace = tokio::time::interval(Duration::from_millis(METRIC_SAMPLE_MS));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut before = Before::default();
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            _ = pace.tick() => {}
        }
        let Some(status) = shared.status.borrow().clone() else { continue };
        let leaders: Vec<u32> = instances(&status).filter_map(|(_, i)| i.pid).collect();
        let read = move || (process::usage(&leaders), process::host());
        let (usage, host) = blocking(read).await;
        let now = clock::wall_ms();
        let store = &shared.parts.metrics;
        let own = before.values(&status, &usage, host, clock::now());
        store.record(now, own.into_iter().chain(traffic(&shared, &status)));
        match store.save(now).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "could not save metrics; they are lost until it works again");
            }
            Err(_) => {}
        }
    }
}

fn instances(status: &Status) -> impl Iterator<Item = (&view::Service, &view::Instance)> {
    status.services.iter().flat_map(|of| of.instances.iter().map(move |i| (of, i)))
}

fn key(metric: &str, service: &str, instance: &str) -> MetricKey {
    let [metric, service, instance] = [metric, service, instance].map(str::to_owned);
    MetricKey { metric, service, instance, labels: None }
}

/// Counters as they were, to subtract from.
#[derive(Default)]
struct Before {
    at: Option<clock::Instant>,
    ticks: BTreeMap<u32, u64>,
    host: Host,
}

impl Before {
    fn values(
        &mut self,
        status: &Status,
        usage: &BTreeMap<u32, Usage>,
        host: Option<Host>,
        now: clock::Instant,
    ) -> Vec<(MetricKey, f64)> {
        let mut out = Vec::new();
        let seconds = self.at.replace(now).map_or(0.0, |at| (now - at).as_secs_f64());
        for (service, instance) in instances(status) {
            let mut put = |metric: &str, value: f64| {
                out.push((key(metric, &service.name, &instance.id), value));
            };
            put("restarts", f64::from(instance.restarts));
            if instance.pid.is_some() {
                put("memory", instance.memory_bytes as f64);
            }
            let Some(of) = instance.pid.and_then(|pid| usage.get(&pid)) else { continue };
            put("threads", of.threads as f64);
            if of.files > 0 {
                put("files", of.files as f64);
            }
            let known = instance.pid.and_then(|pid| self.ticks.get(&pid));
            if let Some(ticks) = known.filter(|_| seconds > 0.0) {
                // A process that ended takes its time with it.
                let more = of.cpu_ticks.saturating_sub(*ticks) as f64;
                put("cpu", more / TICKS_PER_SECOND / seconds);
            }
        }
        self.ticks = usage.iter().map(|(pid, of)| (*pid, of.cpu_ticks)).collect();
        if let Some(host) = host {
            let mut put = |metric: &str, value: f64| out.push((key(metric, "", ""), value));
            let all = host.all_ticks.saturating_sub(self.host.all_ticks) as f64;
            if self.host.all_ticks > 0 && all > 0.0 {
                let busy = host.busy_ticks.saturating_sub(self.host.busy_ticks) as f64;
                put("host.cpu", busy / all * host.cores as f64);
            }
            put("host.cores", host.cores as f64);
            put("host.memory", host.memory_total.saturating_sub(host.memory_available) as f64);
            put("host.memory_total", host.memory_total as f64);
            put("host.load", host.load);
            self.host = host;
        }
        out
    }
}

/// What passes into each service, as the gateway counts it; of several series of one service the
/// slowest is told, as quantiles cannot be added.
fn traffic(shared: &Shared, status: &Status) -> Vec<(MetricKey, f64)> {
    // Only what moves is told; the others are known to be quiet.
    let quiet = status.services.iter().map(|of| (of.name.clone(), (0.0, 0.0, 0.0f64)));
    let mut sums: BTreeMap<String, (f64, f64, f64)> = quiet.collect();
    for series in shared.traffic.now().series {
        let Some(callee) = series.callee.filter(|_| series.kind != "archipel") else { continue };
        let of = sums.entry(callee).or_default();
        of.0 += series.rate;
        of.1 += series.failing;
        of.2 = of.2.max(series.p95_ms.unwrap_or(0.0));
    }
    let values = sums.into_iter().flat_map(|(service, (rate, failing, p95))| {
        let slow = (rate > 0.0).then_some(("p95", p95));
        let all = [("requests", rate), ("failing", failing)].into_iter().chain(slow);
        all.map(move |(metric, value)| (key(metric, &service, ""), value)).collect::<Vec<_>>()
    });
    values.collect()
}

/// `GET /v1/metrics`
pub(crate) async fn lines(shared: &Shared, query: &Query) -> Done {
    let until_ms = query.number("until_ms")?.unwrap_or_else(clock::wall_ms);
    let wanted = MetricQuery {
        metrics: query.all("metric").map(str::to_owned).collect(),
        service: query.one("service").map(str::to_owned),
        since_ms: query.number("since_ms")?.unwrap_or(until_ms.saturating_sub(HOUR_MS)),
        until_ms,
        points: query.number("points")?.unwrap_or(POINTS),
    };
    let found = shared.parts.metrics.lines(wanted).await.map_err(|error| {
        let text = format!("the metrics could not be read: {error}");
        problem(StatusCode::INTERNAL_SERVER_ERROR, text, Some(1))
    })?;
    let mut by_metric: BTreeMap<String, Vec<view::MetricLine>> = BTreeMap::new();
    for (key, values) in found.lines {
        let MetricKey { metric, service, instance, labels } = key;
        let line = view::MetricLine { metric: metric.clone(), service, instance, labels, values };
        by_metric.entry(metric).or_default().push(line);
    }
    let mut lines = Vec::new();
    let mut left_out = 0;
    for mut of in by_metric.into_values() {
        let most = |line: &view::MetricLine| {
            line.values.iter().flatten().fold(0.0f32, |most, value| most.max(*value))
        };
        of.sort_by(|a, b| most(b).total_cmp(&most(a)));
        left_out += of.len().saturating_sub(LINES_MAX);
        of.truncate(LINES_MAX);
        lines.extend(of);
    }
    Ok(answer::json(&view::MetricLines {
        schema: view::MetricLines::SCHEMA.to_owned(),
        since_ms: found.since_ms,
        step_ms: found.step_ms,
        lines,
        left_out: left_out as u64,
    }))
}

/// `GET /v1/metrics/received`
pub(crate) fn received(shared: &Shared) -> Answer {
    let metrics = shared.parts.metrics.received().into_iter().map(|of| view::ReceivedMetric {
        metric: of.metric,
        instrument: of.instrument.as_str().to_owned(),
        unit: of.unit,
        description: of.description,
        services: of.services.into_iter().map(|(name, n)| (name, n as u64)).collect(),
        lines: of.lines,
    });
    answer::json(&view::ReceivedMetrics {
        schema: view::ReceivedMetrics::SCHEMA.to_owned(),
        metrics: metrics.collect(),
    })
}
