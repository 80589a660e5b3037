//! `/metrics` for Prometheus: what passed through the data plane, and how instances are.
//!
//! Exact, from counters rather than from spans: what is dropped there is counted here. Every
//! label of ours is a declared name or route, so the number of series never depends on requests;
//! what services send themselves comes after that, within bounds.

use std::fmt::Write;
use std::time::Duration;

use archipel_gateway::{Counters, Histogram, RefusalCount, SeriesCount, SeriesKey};
use archipel_model::{InstanceId, InstanceState};
use archipel_telemetry::export::Exporter;
use archipel_telemetry::otlp::Signal;
use http::StatusCode;
use http::request::Parts;

use crate::answer::{Answer, with};
use crate::guard;
use crate::safeguard_metrics as safeguards;
use crate::server::{DashboardDoor, Shared};
use crate::view::Status;

/// Seconds; those of the semantic conventions.
const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

pub(crate) fn answer(shared: &Shared, request: &Parts, door: &DashboardDoor) -> Answer {
    if let Some(refusal) = guard::refuse_scraper(request, door.key.reveal(), door.port) {
        return refusal;
    }
    let Some(status) = shared.status.borrow().clone() else {
        return with(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "starting");
    };
    let mut out = String::new();
    let counters = shared.parts.gateway.counters();
    requests(&mut out, &counters.series);
    safeguards::write(&mut out, &counters);
    refusals(&mut out, &counters.refusals);
    served(&mut out, &counters.instances);
    instances(&mut out, &status);
    cache(&mut out, &counters);
    let spans = shared.parts.spans.counts();
    for (name, help, value) in [
        ("archipel_gateway_records_dropped", "Hops that left no span.", counters.access_dropped),
        ("archipel_telemetry_spans_stored", "Spans sealed into segments.", spans.stored),
        ("archipel_telemetry_spans_dropped", "Spans that were not stored.", spans.dropped),
        ("archipel_telemetry_lines_dropped", "Log lines not stored.", shared.parts.logs.dropped()),
    ] {
        head(&mut out, &format!("{name}_total"), "counter", help);
        let _ = writeln!(out, "{name}_total {value}");
    }
    let name = "archipel_telemetry_points_refused";
    head(&mut out, &format!("{name}_total"), "counter", "Data points of services not taken.");
    let _ = writeln!(out, "{name}_total {}", shared.parts.metrics.refused());
    let name = "archipel_telemetry_metrics_changed_kind";
    head(&mut out, &format!("{name}_total"), "counter", "Metrics that became another instrument.");
    let _ = writeln!(out, "{name}_total {}", shared.parts.metrics.changed());
    exported(&mut out, &shared.parts.exporter);
    head(&mut out, "archipel_telemetry_spans_disk_bytes", "gauge", "Bytes of spans on disk.");
    let _ = writeln!(out, "archipel_telemetry_spans_disk_bytes {}", shared.parts.spans.bytes());
    shared.parts.metrics.expose(&mut out);
    with(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", out)
}

fn exported(out: &mut String, exporter: &Exporter) {
    let all = [("spans", Signal::Traces), ("lines", Signal::Logs), ("points", Signal::Metrics)];
    let counts = all.map(|(what, signal)| (what, exporter.counts(signal)));
    let name = "archipel_telemetry_exported_total";
    head(out, name, "counter", "Sent to the collector of `telemetry.export`.");
    for (what, count) in counts {
        let _ = writeln!(out, "{name}{{what=\"{what}\"}} {}", count.sent);
    }
    let name = "archipel_telemetry_export_lost_total";
    head(out, name, "counter", "Not sent: no room to wait, or refused by the collector.");
    for (what, count) in counts {
        let _ = writeln!(out, "{name}{{what=\"{what}\"}} {}", count.lost);
    }
}

pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(crate) fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(series: &SeriesCount) -> String {
    labels_of(&series.key)
}

pub(crate) fn labels_of(key: &SeriesKey) -> String {
    let callee = key.callee.as_ref().map(ToString::to_string).unwrap_or_default();
    let route = key.route.as_deref().unwrap_or_default();
    format!(
        "caller=\"{}\",service_name=\"{}\",http_route=\"{}\"",
        escape(&key.caller.to_string()),
        escape(&callee),
        escape(route)
    )
}

fn cache(out: &mut String, counters: &Counters) {
    let name = "archipel_cache_answers_total";
    head(out, name, "counter", "Requests on routes that cache, by where the answer came from.");
    for count in &counters.cache {
        let route = escape(&count.route);
        for (from, number) in [
            ("hit", count.hits),
            ("stale", count.stale),
            ("collapsed", count.collapsed),
            ("miss", count.misses),
        ] {
            let _ = writeln!(out, "{name}{{http_route=\"{route}\",from=\"{from}\"}} {number}");
        }
    }
    let name = "archipel_cache_revalidated_total";
    head(out, name, "counter", "Stored answers that their service said are still good.");
    for count in &counters.cache {
        let route = escape(&count.route);
        let _ = writeln!(out, "{name}{{http_route=\"{route}\"}} {}", count.revalidated);
    }
    head(out, "archipel_cache_bytes", "gauge", "Bytes of stored answers.");
    let _ = writeln!(out, "archipel_cache_bytes {}", counters.cache_bytes);
}

fn requests(out: &mut String, all: &[SeriesCount]) {
    let name = "archipel_requests_total";
    head(out, name, "counter", "Requests through the data plane by class of their status.");
    for series in all {
        for (class, count) in series.by_class.iter().enumerate().filter(|(_, count)| **count > 0) {
            let class = if class == 0 { "none".to_owned() } else { format!("{class}xx") };
            let _ = writeln!(out, "{name}{{{},class=\"{class}\"}} {count}", labels(series));
        }
    }
    for (name, help, read) in [
        (
            "archipel_requests_refused_total",
            "Answers that Archipel made itself.",
            (|s| s.refused) as fn(&SeriesCount) -> u64,
        ),
        ("archipel_request_retries_total", "Further tries.", |s| s.retries),
        ("archipel_responses_broken_total", "Answers that broke off.", |s| s.broken),
        ("archipel_response_bytes_total", "Bytes of answers.", |s| s.bytes),
    ] {
        head(out, name, "counter", help);
        for series in all {
            let _ = writeln!(out, "{name}{{{}}} {}", labels(series), read(series));
        }
    }
    let name = "archipel_requests_in_flight";
    head(out, name, "gauge", "Requests under way.");
    for series in all {
        let _ = writeln!(out, "{name}{{{}}} {}", labels(series), series.inflight);
    }
    let name = "http_server_request_duration_seconds";
    head(out, name, "histogram", "Until the end of the body of the answer.");
    for series in all {
        histogram(out, name, &labels(series), &series.latency);
    }
}

fn histogram(out: &mut String, name: &str, labels: &str, latency: &Histogram) {
    for bound in BOUNDS {
        let limit = Duration::from_secs_f64(bound);
        let buckets = latency.buckets().filter(|(upper, _)| *upper <= limit);
        let count: u64 = buckets.map(|(_, count)| count).sum();
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let total = latency.count();
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", latency.sum.as_secs_f64());
    let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
}

/// By instance, whoever called: one that is slow or fails among others that do not.
fn served(out: &mut String, all: &[(InstanceId, SeriesCount)]) {
    let labels =
        |id: &InstanceId| format!("service_name=\"{}\",service_instance_id=\"{id}\"", id.service);
    let name = "archipel_instance_requests_total";
    head(out, name, "counter", "Requests that an instance took, by class of their status.");
    for (id, series) in all {
        for (class, count) in series.by_class.iter().enumerate().filter(|(_, count)| **count > 0) {
            let class = if class == 0 { "none".to_owned() } else { format!("{class}xx") };
            let _ = writeln!(out, "{name}{{{},class=\"{class}\"}} {count}", labels(id));
        }
    }
    let name = "archipel_instance_request_duration_seconds";
    head(out, name, "histogram", "Until the end of the body of the instance's answer.");
    for (id, series) in all {
        histogram(out, name, &labels(id), &series.latency);
    }
}

/// A rule is a declared line too. What a limit refused stands here by the name of the limit.
fn refusals(out: &mut String, all: &[RefusalCount]) {
    let name = "archipel_refusals_total";
    head(out, name, "counter", "Answers that Archipel made itself, by why and by the rule.");
    for RefusalCount { problem, rule, count } in all {
        let (problem, rule) = (problem.slug(), escape(rule));
        let _ = writeln!(out, "{name}{{problem=\"{problem}\",rule=\"{rule}\"}} {count}");
    }
}

fn instances(out: &mut String, status: &Status) {
    let all = || status.services.iter().flat_map(|of| of.instances.iter().map(move |i| (of, i)));
    type Read = fn(&crate::view::Instance) -> u64;
    let gauges: [(&str, &str, &str, Read); 3] = [
        ("archipel_instance_up", "gauge", "Whether it is ready.", |i| {
            u64::from(i.state == InstanceState::Ready)
        }),
        ("archipel_instance_restarts_total", "counter", "Restarts.", |i| i.restarts.into()),
        ("archipel_instance_memory_bytes", "gauge", "Memory in use.", |i| i.memory_bytes),
    ];
    for (name, kind, help, read) in gauges {
        head(out, name, kind, help);
        for (service, instance) in all() {
            let (service, id) = (escape(&service.name), escape(&instance.id));
            let labels = format!("service_name=\"{service}\",service_instance_id=\"{id}\"");
            let _ = writeln!(out, "{name}{{{labels}}} {}", read(instance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_early() {
        assert_eq!(escape("a\"} 1\n\\"), "a\\\"} 1\\n\\\\");
    }
}
