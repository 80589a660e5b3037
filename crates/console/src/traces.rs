//! Traces in the admin API: lists, one whole trace, counts over time and by value.

use std::io;
use std::sync::Arc;

use archipel_model::TraceId;
use archipel_telemetry::{
    Answer as Found, Durations, Expr, Extra, Filter, Resource, Span, SpanQuery, Tally, TraceSummary,
};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::admin::{Done, Query, log_line};
use crate::answer::{self, Answer, bad, problem};
use crate::server::Shared;
use crate::view::{self, Timing};

const LIMIT: u64 = 50;
const LIMIT_MAX: u64 = 1000;
/// A chart has no more places than this.
const BUCKETS_MAX: u64 = 2000;
const LOGS_MAX: usize = 5000;
/// A trace and its logs are asked for when it has ended, or a little before.
const AROUND_MS: u64 = 60_000;

pub(crate) fn expr(query: &Query) -> Result<Expr, Answer> {
    Expr::parse(query.one("query").unwrap_or_default()).map_err(|error| bad(error.to_string()))
}

fn span_query(query: &Query) -> Result<SpanQuery, Answer> {
    let ns = |ms: Option<u64>| ms.map(|ms| ms.saturating_mul(1_000_000));
    Ok(SpanQuery {
        expr: expr(query)?,
        since_ns: ns(query.number("since_ms")?),
        until_ns: ns(query.number("until_ms")?),
    })
}

fn limit(query: &Query) -> Result<usize, Answer> {
    let limit = query.number("limit")?.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn unreadable(error: &io::Error) -> Answer {
    let text = format!("the traces could not be read: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, text, Some(1))
}

fn cut_ms<T>(found: &Found<T>) -> Option<u64> {
    found.cut_at_ns.map(|ns| ns / 1_000_000)
}

pub(crate) async fn list(shared: &Shared, query: &Query) -> Done {
    let (wanted, limit) = (span_query(query)?, limit(query)?);
    let spans = &shared.parts.spans;
    let found = match query.one("sort") {
        None | Some("start") => spans.traces(wanted, limit).await,
        Some("duration") => spans.slowest(wanted, limit).await,
        Some(other) => {
            return Err(bad(format!("traces are sorted by `start` or `duration`, not `{other}`")));
        }
    };
    let found = found.map_err(|error| unreadable(&error))?;
    let cut_at_ms = cut_ms(&found);
    let traces = found.found.into_iter().map(summary).collect();
    let schema = view::Traces::SCHEMA.to_owned();
    Ok(answer::json(&view::Traces { schema, traces, cut_at_ms }))
}

pub(crate) fn summary(of: TraceSummary) -> view::TraceSummary {
    view::TraceSummary {
        trace_id: of.trace.to_string(),
        service: of.root_service,
        name: of.root_name,
        path: of.root_path,
        start_us: of.start_ns / 1000,
        duration_us: of.duration_ns / 1000,
        spans: of.spans,
        errors: of.errors,
        services: of.services,
    }
}

/// One trace, with its logs.
pub(crate) async fn one(shared: &Arc<Shared>, id: &str) -> Done {
    let trace = id.to_ascii_lowercase().parse::<TraceId>();
    let trace = trace.map_err(|error| bad(format!("`{id}` is no trace: {error}")))?;
    let spans = shared.parts.spans.trace(trace).await.map_err(|error| unreadable(&error))?;
    let filter = Filter { trace_id: Some(trace.to_string()), ..Filter::default() };
    let around = |ns: u64| ns / 1_000_000;
    let filter = match spans.first() {
        // Where it lies in time is known: older and newer files need not be read.
        Some(first) => Filter {
            since_ms: Some(around(first.start_ns).saturating_sub(AROUND_MS)),
            until_ms: spans.iter().map(|s| around(s.end_ns()) + AROUND_MS).max(),
            ..filter
        },
        None => filter,
    };
    let logs = shared.parts.logs.last(&filter, LOGS_MAX).await;
    let logs = logs.map_err(|error| unreadable(&error))?;
    if spans.is_empty() && logs.is_empty() {
        let text = format!("there is no trace {trace}: it was not recorded, or is too old");
        return Err(problem(StatusCode::NOT_FOUND, text, Some(2)));
    }
    Ok(answer::json(&view::Trace {
        schema: view::Trace::SCHEMA.to_owned(),
        trace_id: trace.to_string(),
        spans: spans.iter().map(span).collect(),
        logs: logs.iter().map(log_line).collect(),
    }))
}

/// Single spans that match, newest first.
pub(crate) async fn spans(shared: &Shared, query: &Query) -> Done {
    let found = shared.parts.spans.spans(span_query(query)?, limit(query)?).await;
    let found = found.map_err(|error| unreadable(&error))?;
    let cut_at_ms = cut_ms(&found);
    let spans = found.found.iter().map(span).collect();
    Ok(answer::json(&view::Spans { schema: view::Spans::SCHEMA.to_owned(), spans, cut_at_ms }))
}

fn span(of: &Span) -> view::Span {
    let Resource { service, instance, attributes: resource } = &*of.resource;
    let attributes: Map<String, Value> =
        of.attributes.iter().map(|(key, value)| (key.to_string(), value.to_json())).collect();
    let (mut events, mut links) = (Vec::new(), Vec::new());
    for extra in &of.extras {
        match extra {
            Extra::Event { name, at_ns, attributes } => {
                events
                    .push(json!({ "name": name, "at_us": at_ns / 1000, "attributes": attributes }));
            }
            Extra::Link { trace, span, attributes } => {
                links.push(json!({ "trace_id": trace, "span_id": span, "attributes": attributes }));
            }
        }
    }
    view::Span {
        trace_id: of.trace.to_string(),
        span_id: of.span.to_string(),
        parent_id: of.parent.map(|parent| parent.to_string()),
        service: service.clone(),
        instance: (!instance.is_empty()).then(|| instance.clone()),
        name: of.name.to_string(),
        kind: of.kind.as_str().to_owned(),
        status: of.status.as_str().to_owned(),
        start_us: of.start_ns / 1000,
        duration_us: of.duration_ns as f64 / 1000.0,
        attributes,
        resource: resource.clone(),
        events,
        links,
    }
}

/// Spans over time.
pub(crate) async fn histogram(shared: &Shared, query: &Query) -> Done {
    let until = query.number("until_ms")?.unwrap_or_else(archipel_rt::clock::wall_ms);
    let since = query.number("since_ms")?.unwrap_or(until.saturating_sub(3_600_000));
    let range = until.saturating_sub(since).max(1);
    let step_ms = query.number("step_ms")?.unwrap_or(range / 60).max(range / BUCKETS_MAX).max(1);
    let mut wanted = span_query(query)?;
    wanted.since_ns = Some(since.saturating_mul(1_000_000));
    wanted.until_ns = Some(until.saturating_mul(1_000_000));
    let found = shared.parts.spans.histogram(wanted, step_ms.saturating_mul(1_000_000)).await;
    let found = found.map_err(|error| unreadable(&error))?;
    let cut_at_ms = cut_ms(&found);
    let bucket = |of: archipel_telemetry::Bucket| view::TraceBucket {
        at_ms: of.start_ns / 1_000_000,
        timing: timing(of.count, of.errors, &of.durations),
        classes: of.durations.classes().map(|(ns, count)| (ns / 1000, count)).collect(),
    };
    Ok(answer::json(&view::TraceHistogram {
        schema: view::TraceHistogram::SCHEMA.to_owned(),
        since_ms: since,
        until_ms: until,
        step_ms,
        buckets: found.found.into_iter().map(bucket).collect(),
        cut_at_ms,
    }))
}

fn timing(count: u64, errors: u64, durations: &Durations) -> Timing {
    let us = |q: f64| durations.quantile(q) / 1000;
    Timing { count, errors, p50_us: us(0.5), p95_us: us(0.95), p99_us: us(0.99) }
}

/// Spans by the values of the keys in `by`.
pub(crate) async fn by(shared: &Shared, query: &Query) -> Done {
    let keys: Vec<String> = query.all("by").map(str::to_owned).collect();
    if keys.is_empty() || keys.len() > 4 {
        return Err(bad("`by` names one to four keys, for example by=service&by=route"));
    }
    tallied(shared, span_query(query)?, keys, limit(query)?).await
}

/// Who calls whom, how often and how well, by the data plane's own spans.
pub(crate) async fn edges(shared: &Shared, query: &Query) -> Done {
    let mut wanted = span_query(query)?;
    let hop = Expr::parse("archipel.hop:true").map_err(|error| bad(error.to_string()))?;
    wanted.expr = Expr::And(vec![hop, wanted.expr]);
    let keys = ["caller", "service"].map(str::to_owned);
    tallied(shared, wanted, keys.into(), usize::MAX).await
}

async fn tallied(shared: &Shared, query: SpanQuery, keys: Vec<String>, limit: usize) -> Done {
    let found = shared.parts.spans.tally(query, keys.clone()).await;
    let found = found.map_err(|error| unreadable(&error))?;
    let cut_at_ms = cut_ms(&found);
    let row = |of: Tally| view::TallyRow {
        timing: timing(of.count, of.errors, &of.durations),
        values: of.values,
    };
    Ok(answer::json(&view::Tallies {
        schema: view::Tallies::SCHEMA.to_owned(),
        keys,
        rows: found.found.into_iter().take(limit).map(row).collect(),
        cut_at_ms,
    }))
}
