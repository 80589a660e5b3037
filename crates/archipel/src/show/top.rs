//! `archipel top`: what passes and how it goes, the busiest first; and `archipel graph`, the same
//! along the lines over which it passes.

use std::collections::{BTreeMap, BTreeSet};

use archipel_console::view::{Graph, Service, Status, Topics, Traffic, TrafficSeries};
use archipel_model::{Bytes, InstanceState};
use serde::Serialize;

use super::plot;
use super::style::Style;
use super::table::{Cell, Table};

/// Narrower terminals do without the plot and the rarer columns.
const WIDE: usize = 90;
const PLOT: usize = 24;

/// What is told of one service, or of one line between two.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Flow {
    /// Requests a second, over the last ten.
    pub(crate) rate: f64,
    pub(crate) failing: f64,
    /// Of the slowest of what was added up: quantiles cannot be added.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    #[serde(skip)]
    pub(crate) requests: Vec<u64>,
}

impl Flow {
    fn of(series: &[&TrafficSeries]) -> Self {
        let worst = |of: fn(&TrafficSeries) -> Option<f64>| {
            series.iter().filter_map(|s| of(s)).reduce(f64::max)
        };
        Self {
            rate: series.iter().map(|s| s.rate).sum(),
            failing: series.iter().map(|s| s.failing).sum(),
            p50_ms: worst(|s| s.p50_ms),
            p95_ms: worst(|s| s.p95_ms),
            requests: plot::requests(series.iter().map(|s| s.history.as_slice())),
        }
    }
}

/// One line of `top`.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    pub(crate) service: &'a str,
    pub(crate) state: InstanceState,
    #[serde(flatten)]
    pub(crate) flow: Flow,
    pub(crate) memory_bytes: u64,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) restarts: u32,
}

/// Archipel's own calls (deliveries, pulls) are not what people and services ask.
fn asked(traffic: &Traffic) -> impl Iterator<Item = &TrafficSeries> {
    traffic.series.iter().filter(|series| series.kind != "archipel")
}

/// What is not well first, then what is asked most.
pub(crate) fn rows<'a>(status: &'a Status, traffic: &Traffic) -> Vec<Row<'a>> {
    let mut into: BTreeMap<&str, Vec<&TrafficSeries>> = BTreeMap::new();
    for series in asked(traffic) {
        into.entry(series.callee.as_deref().unwrap_or_default()).or_default().push(series);
    }
    let row = |service: &'a Service| Row {
        service: &service.name,
        state: service.state,
        flow: Flow::of(into.get(service.name.as_str()).map_or(&[], Vec::as_slice)),
        memory_bytes: service.memory_bytes,
        memory_limit: service
            .memory_limit
            .map(|limit| limit * service.instances.len().max(1) as u64),
        restarts: service.restarts,
    };
    let mut rows: Vec<Row<'_>> = status.services.iter().map(row).collect();
    let unwell = |row: &Row<'_>| {
        matches!(
            row.state,
            InstanceState::Failed | InstanceState::BackingOff | InstanceState::Degraded
        )
    };
    rows.sort_by(|a, b| {
        let by = |row: &Row<'_>| (unwell(row), row.flow.failing, row.flow.rate, row.memory_bytes);
        by(b).partial_cmp(&by(a)).unwrap_or(std::cmp::Ordering::Equal)
    });
    rows
}

pub(crate) fn table(rows: &[Row<'_>], width: usize, style: Style) -> Vec<String> {
    let wide = width >= WIDE;
    let mut header = vec!["SERVICE", "STATE", "RATE", "FAILING", "P95", "MEMORY"];
    if wide {
        header = vec![
            "SERVICE",
            "STATE",
            "RATE",
            "LAST 5 MIN",
            "FAILING",
            "P50",
            "P95",
            "MEMORY",
            "LIMIT",
            "RESTARTS",
        ];
    }
    let mut table = Table::new(&header);
    for row in rows {
        let flow = &row.flow;
        let mut cells = vec![
            Cell::painted(row.service, |text| style.service(text)),
            Cell::painted(row.state.as_str(), |text| style.state(row.state, text)),
            rate(flow.rate).into(),
        ];
        let p95 = ms(flow.p95_ms).into();
        let full = row.memory_limit.is_some_and(|limit| row.memory_bytes > limit / 10 * 9);
        let memory = Cell::painted(memory(row.memory_bytes), |text| {
            if full { style.red(text) } else { text.to_owned() }
        });
        if wide {
            cells.push(format!("{:PLOT$}", plot::spark(&flow.requests, PLOT)).into());
            cells.extend([failing(flow, style), ms(flow.p50_ms).into(), p95, memory]);
            cells.push(
                row.memory_limit.map(|limit| Bytes(limit).to_string()).unwrap_or_default().into(),
            );
            cells.push(row.restarts.to_string().into());
        } else {
            cells.extend([failing(flow, style), p95, memory]);
        }
        table.row(cells);
    }
    table.lines()
}

/// `12 services, 84.2/s from outside, 1.2% failing`
pub(crate) fn summary(status: &Status, traffic: &Traffic, style: Style) -> String {
    let outside: Vec<&TrafficSeries> = asked(traffic).filter(|s| s.kind == "outside").collect();
    let flow = Flow::of(&outside);
    let well = status.services.iter().filter(|service| service.settled).count();
    let all = status.services.len();
    let services = match well == all {
        true => super::count(all, "service"),
        false => style.red(&format!("{well} of {all} services are well")),
    };
    let fails = match flow.failing > 0.0 {
        true => style.red(&format!("{} failing", share(flow.failing, flow.rate))),
        false => "none failing".to_owned(),
    };
    let rate = match flow.rate > 0.0 {
        true => rate(flow.rate),
        false => "nothing".to_owned(),
    };
    format!("{}  {services}, {rate} from outside, {fails}", style.bold(&status.app))
}

/// The lines out of each part: whom it calls, with what passes now, and whom its events reach.
pub(crate) fn graph(
    graph: &Graph,
    topics: &Topics,
    traffic: &Traffic,
    only: Option<&str>,
    width: usize,
    style: Style,
) -> Vec<String> {
    let mut lines: BTreeMap<(&str, &str), Vec<&TrafficSeries>> = BTreeMap::new();
    for series in asked(traffic) {
        let from = if series.kind == "outside" {
            OUTSIDE
        } else {
            series.caller.as_deref().unwrap_or_default()
        };
        lines.entry((from, series.callee.as_deref().unwrap_or_default())).or_default().push(series);
    }
    let mut out = Vec::new();
    for (from, to) in calls(graph) {
        let to: Vec<&str> = to
            .into_iter()
            .filter(|to| only.is_none_or(|only| only == from || only == *to))
            .collect();
        let reached: Vec<_> = topics
            .topics
            .iter()
            .filter(|topic| topic.publisher.as_deref() == Some(from))
            .filter(|topic| {
                only.is_none_or(|only| {
                    only == from || topic.subscribers.iter().any(|s| s.service == only)
                })
            })
            .collect();
        if to.is_empty() && reached.is_empty() {
            continue;
        }
        out.push(if from == OUTSIDE { style.bold(from) } else { style.service(from) });
        let longest = to.iter().map(|to| to.chars().count()).max().unwrap_or(0);
        for to in to {
            let flow = Flow::of(lines.get(&(from, to)).map_or(&[], Vec::as_slice));
            let plot = if width >= WIDE {
                format!(" {:PLOT$}", plot::spark(&flow.requests, PLOT))
            } else {
                String::new()
            };
            let pad = " ".repeat(longest - to.chars().count());
            let passes = match flow.rate > 0.0 {
                true => format!("{:>8}{plot} p95 {:>7}", rate(flow.rate), ms(flow.p95_ms)),
                false => style.dim(&format!("{:>8}{plot}", "quiet")),
            };
            let fails = match flow.failing > 0.0 {
                true => style.red(&format!("  {} failing", share(flow.failing, flow.rate))),
                false => String::new(),
            };
            out.push(format!("  → {to}{pad} {passes}{fails}").trim_end().to_owned());
        }
        for topic in reached {
            let each = topic.subscribers.iter().map(|s| match (s.dead, s.lag) {
                (0, 0) => s.service.clone(),
                (0, lag) => format!("{} ({lag} behind)", s.service),
                (dead, _) => style.red(&format!("{} ({dead} dead)", s.service)),
            });
            let each: Vec<String> = each.collect();
            let to = if each.is_empty() { style.dim("nobody") } else { each.join(", ") };
            out.push(format!("  ⇢ {} ⇢ {to}", topic.name));
        }
    }
    if let Some(only) = only {
        let hit = noticing(graph, only);
        let text = match hit.is_empty() {
            true => format!("if {only} stops, no other service will notice"),
            false => format!(
                "if {only} stops, {} will notice",
                hit.into_iter().collect::<Vec<_>>().join(", ")
            ),
        };
        out.push(text);
    }
    out
}

const OUTSIDE: &str = "outside";

/// The entrance first, then services by name.
fn calls(graph: &Graph) -> Vec<(&str, Vec<&str>)> {
    let entrance: BTreeSet<&str> =
        graph.routes.iter().flat_map(|route| &route.targets).map(String::as_str).collect();
    let mut calls = vec![(OUTSIDE, entrance.into_iter().collect::<Vec<_>>())];
    calls.extend(
        graph
            .services
            .iter()
            .map(|of| (of.name.as_str(), of.calls.iter().map(String::as_str).collect())),
    );
    calls
}

/// Who calls it, by way of others too.
fn noticing<'a>(graph: &'a Graph, stopped: &'a str) -> BTreeSet<&'a str> {
    let mut hit = BTreeSet::new();
    let mut next = vec![stopped];
    while let Some(gone) = next.pop() {
        for of in graph.services.iter().filter(|of| of.calls.iter().any(|to| to == gone)) {
            if of.name != stopped && hit.insert(of.name.as_str()) {
                next.push(&of.name);
            }
        }
    }
    hit
}

fn failing(flow: &Flow, style: Style) -> Cell {
    if flow.rate <= 0.0 {
        return "".into();
    }
    let text = share(flow.failing, flow.rate);
    Cell::painted(text, |text| if flow.failing > 0.0 { style.red(text) } else { style.dim(text) })
}

fn share(part: f64, all: f64) -> String {
    match part / all * 100.0 {
        percent if part <= 0.0 || percent.is_nan() => "0%".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

fn rate(rate: f64) -> String {
    match rate {
        rate if rate <= 0.0 => String::new(),
        rate if rate < 100.0 => format!("{rate:.1}/s"),
        rate if rate < 10_000.0 => format!("{rate:.0}/s"),
        rate => format!("{:.1}k/s", rate / 1000.0),
    }
}

fn ms(ms: Option<f64>) -> String {
    ms.map(|ms| super::trace::duration(ms * 1000.0)).unwrap_or_default()
}

fn memory(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { Bytes(bytes).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (Status, Traffic, Graph, Topics) {
        let service = |name: &str, state: &str| {
            serde_json::json!({
                "name": name, "state": state, "desired": 1, "ready": u8::from(state == "ready"),
                "settled": state == "ready", "needs_a_person": false, "reason": null, "last_lines": [],
                "restarts": 2, "memory_bytes": 95 << 20, "memory_limit": 100 << 20, "memory_tier": "none", "instances": [],
            })
        };
        let series = |kind: &str, caller: Option<&str>, callee: &str, rate: f64, failing: f64| {
            serde_json::json!({
                "kind": kind, "caller": caller, "callee": callee, "route": null, "requests": 9, "by_class": [0, 0, 9, 0, 0, 0],
                "refused": 0, "retries": 0, "broken": 0, "bytes": 0, "inflight": 0, "rate": rate, "failing": failing,
                "p50_ms": 1.0, "p95_ms": 12.0, "p99_ms": 20.0, "point": [1, 0, 1], "history": [[0, 0, 0], [1, 0, 1], [8, 0, 1]],
            })
        };
        let status = serde_json::json!({
            "schema": Status::SCHEMA, "app": "shop", "version": "0", "manifest": "", "pid": 1,
            "started_at_ms": 0, "generation": 1, "problems": [], "services": [service("web", "ready"), service("cart", "failed")],
        });
        let traffic = serde_json::json!({
            "schema": Traffic::SCHEMA, "at_ms": 0, "step_ms": 2000, "connections": 1,
            "series": [series("outside", None, "web", 20.0, 0.0), series("service", Some("web"), "cart", 4.0, 1.0), series("archipel", None, "cart", 999.0, 0.0)],
        });
        let graph = serde_json::json!({
            "schema": Graph::SCHEMA, "generation": 1, "listen": null, "hosts": [], "externals": [], "topics": [],
            "routes": [{ "label": "/**", "path": "/**", "to": "web", "targets": ["web"] }],
            "services": [
                { "name": "cart", "protocol": "http", "calls": [], "labels": {} },
                { "name": "web", "protocol": "http", "calls": ["cart"], "labels": {} },
            ],
        });
        let topics = serde_json::json!({
            "schema": Topics::SCHEMA,
            "topics": [{ "name": "cart.full", "publisher": "cart", "events": 1, "bytes": 1, "subscribers": [
                { "service": "web", "lag": 3, "oldest_age_ms": 1, "inflight": 0, "parked": 0, "dead": 0 },
            ] }],
        });
        (
            serde_json::from_value(status).expect("status"),
            serde_json::from_value(traffic).expect("traffic"),
            serde_json::from_value(graph).expect("graph"),
            serde_json::from_value(topics).expect("topics"),
        )
    }

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn what_is_not_well_stands_first_and_a_narrow_terminal_gets_fewer_columns() {
        let (status, traffic, ..) = world();
        let rows = rows(&status, &traffic);
        let wide = table(&rows, 120, PLAIN);
        assert!(wide[1].starts_with("cart"), "{wide:?}");
        assert!(wide[1].contains("25%") && wide[1].contains("▁█"), "{wide:?}");
        assert!(wide[2].contains("20.0/s") && !wide[2].contains("999"), "{wide:?}");
        let narrow = table(&rows, 60, PLAIN);
        assert!(narrow.iter().all(|line| line.chars().count() <= 60), "{narrow:?}");
        let said = summary(&status, &traffic, PLAIN);
        assert_eq!(said, "shop  1 of 2 services are well, 20.0/s from outside, none failing");
        assert!(!wide.concat().contains('\x1b'));
    }

    #[test]
    fn lines_are_drawn_from_each_part_with_what_passes() {
        let (_, traffic, of, topics) = world();
        let all = graph(&of, &topics, &traffic, None, 60, PLAIN);
        assert_eq!(
            all,
            [
                "outside",
                "  → web   20.0/s p95  12.0ms",
                "cart",
                "  ⇢ cart.full ⇢ web (3 behind)",
                "web",
                "  → cart    4.0/s p95  12.0ms  25% failing"
            ]
        );
        let one = graph(&of, &topics, &traffic, Some("cart"), 60, PLAIN);
        assert_eq!(one.last().map(String::as_str), Some("if cart stops, web will notice"));
        assert!(!one.contains(&"outside".to_owned()), "{one:?}");
    }
}
