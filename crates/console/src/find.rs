//! All that is known of one business key: the number of an order, of a customer, of an event.
//! Its traces, lines and events, of all services, by the time at which they happened.

use std::collections::BTreeSet;
use std::time::Duration;

use archipel_broker::DeadFilter;
use archipel_rt::clock;
use archipel_storage::Seq;
use archipel_telemetry::{Expr, Filter, Level, LogRecord, Op, Operand, SpanQuery};

use crate::admin::{Done, Query, log_line, shown};
use crate::answer::{self, bad, problem};
use crate::server::Shared;
use crate::{traces, view, workflows};

/// Shorter ones are in everything.
const KEY_CHARS_MIN: usize = 3;
const TRACES_MAX: usize = 100;
const LINES_MAX: usize = 1_000;
const EVENTS_MAX: usize = 500;
const FLOWS_MAX: usize = 50;
/// A person waits for the answer: what is not found by then is said to be cut.
const PATIENCE: Duration = Duration::from_millis(150);
/// Of each topic, so many of the newest events are looked through.
const LOOKED_MAX: u64 = 20_000;

pub(crate) async fn find(shared: &Shared, query: &Query) -> Done {
    let key = query.one("key").unwrap_or_default().trim();
    if key.chars().count() < KEY_CHARS_MIN {
        return Err(bad(format!("a key to look for has at least {KEY_CHARS_MIN} characters")));
    }
    let (since_ms, until_ms) = (query.number("since_ms")?, query.number("until_ms")?);
    let named = Expr::Text(Operand::phrase(key));
    let filter = Filter { since_ms, until_ms, expr: named.clone(), ..Filter::default() };
    let spans = SpanQuery {
        expr: named,
        since_ns: since_ms.map(|ms| ms.saturating_mul(1_000_000)),
        until_ns: until_ms.map(|ms| ms.saturating_mul(1_000_000)),
    };
    let (lines, found, events, flows) = futures_util::join!(
        shared.parts.logs.last(&filter, LINES_MAX),
        shared.parts.spans.traces(spans.clone(), TRACES_MAX),
        events(shared, key, since_ms, until_ms),
        flows(shared, key),
    );
    let mut lines = lines.map_err(|error| unreadable(&error))?;
    let mut found = found.map_err(|error| unreadable(&error))?;
    let (events, cut) = events?;
    let (workflows, more_flows) = flows?;
    // A line may name the key in a trace whose spans do not.
    let known: BTreeSet<String> = found.found.iter().map(|of| of.trace.to_string()).collect();
    let named: BTreeSet<String> = lines.iter().filter_map(|line| line.trace_id.clone()).collect();
    let more: Vec<&String> = named.difference(&known).take(TRACES_MAX).collect();
    if !more.is_empty() {
        let query = SpanQuery { expr: of_traces(more.iter().map(|id| id.as_str())), ..spans };
        let more = shared.parts.spans.traces(query, TRACES_MAX).await;
        found.found.extend(more.map_err(|error| unreadable(&error))?.found);
    }
    // What went wrong in these traces belongs to the story, whether or not it names the key.
    let ids: Vec<String> = found.found.iter().map(|of| of.trace.to_string()).collect();
    if !ids.is_empty() {
        let first = found.found.iter().map(|of| of.start_ns / 1_000_000).min();
        let filter = Filter {
            since_ms: first.map(|ms| ms.saturating_sub(60_000)),
            until_ms,
            level: Some(Level::Warn),
            expr: of_traces(ids.iter().map(String::as_str)),
            ..Filter::default()
        };
        let wrong = shared.parts.logs.last(&filter, LINES_MAX).await;
        let wrong = wrong.map_err(|error| unreadable(&error))?;
        let new: Vec<LogRecord> = wrong.into_iter().filter(|line| !lines.contains(line)).collect();
        lines.extend(new);
    }
    let dead = dead(shared, &events).await?;
    Ok(answer::json(&view::Found {
        schema: view::Found::SCHEMA.to_owned(),
        key: key.to_owned(),
        traces: found.found.into_iter().map(traces::summary).collect(),
        logs: lines.iter().map(log_line).collect(),
        events,
        dead,
        workflows,
        cut: cut || more_flows || found.cut_at_ns.is_some(),
    }))
}

fn unreadable(error: &std::io::Error) -> answer::Answer {
    let text = format!("the telemetry could not be read: {error}");
    problem(http::StatusCode::INTERNAL_SERVER_ERROR, text, Some(1))
}

fn of_traces<'a>(ids: impl Iterator<Item = &'a str>) -> Expr {
    let one = |id| Expr::Compare { key: "trace".into(), op: Op::Is, operand: Operand::phrase(id) };
    Expr::Or(ids.map(one).collect())
}

/// Events that hold the key, and whether some were not looked at.
async fn events(
    shared: &Shared,
    key: &str,
    since_ms: Option<u64>,
    until_ms: Option<u64>,
) -> Result<(Vec<view::Event>, bool), answer::Answer> {
    let broker = &shared.parts.broker;
    let until = clock::now() + PATIENCE;
    let (mut found, mut cut) = (Vec::new(), false);
    for topic in broker.topics() {
        let start = topic.first.0.max(topic.next.0.saturating_sub(LOOKED_MAX));
        cut |= start > topic.first.0;
        if start >= topic.next.0 {
            continue; // nothing is in it
        }
        let Ok(mut tail) = broker.tail(&topic.name, Some(Seq(start))) else { continue };
        let mut next = start;
        while next < topic.next.0 {
            if clock::now() > until || found.len() >= EVENTS_MAX {
                return Ok((found, true));
            }
            let batch = tail.next().await.map_err(|error| {
                let text = format!("the events of {} could not be read: {error}", topic.name);
                problem(http::StatusCode::INTERNAL_SERVER_ERROR, text, Some(1))
            })?;
            let Some(batch) = batch else { break };
            next = batch.last().map_or(topic.next.0, |last| last.seq.0 + 1);
            for stored in batch.iter().filter(|stored| contains(&stored.bytes, key)) {
                let within = since_ms.is_none_or(|since| stored.at_ms >= since)
                    && until_ms.is_none_or(|until| stored.at_ms <= until);
                if within {
                    found.push(view::Event {
                        topic: topic.name.to_string(),
                        seq: stored.seq.0,
                        at_ms: stored.at_ms,
                        event: serde_json::from_slice(&stored.bytes).unwrap_or_default(),
                    });
                }
            }
        }
    }
    found.sort_by_key(|event| event.at_ms);
    Ok((found, cut))
}

/// Workflows whose id holds the key, and whether there may be more.
async fn flows(shared: &Shared, key: &str) -> Result<(Vec<view::Workflow>, bool), answer::Answer> {
    let filter = archipel_workflow::Filter { id: Some(key.to_owned()), ..Default::default() };
    let found = shared.parts.engine.find(None, &filter, FLOWS_MAX);
    let Ok(found) = clock::timeout(PATIENCE, found).await else { return Ok((Vec::new(), true)) };
    let found = found.map_err(|error| {
        let text = format!("the workflows could not be read: {error}");
        problem(http::StatusCode::INTERNAL_SERVER_ERROR, text, Some(1))
    })?;
    Ok((found.instances.into_iter().map(workflows::shown).collect(), found.more))
}

fn contains(bytes: &[u8], key: &str) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains(key))
}

/// Which of these events could not be delivered.
async fn dead(
    shared: &Shared,
    events: &[view::Event],
) -> Result<Vec<view::DeadLetter>, answer::Answer> {
    let ids: BTreeSet<&str> =
        events.iter().filter_map(|event| event.event.get("id")?.as_str()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let letters = shared.parts.broker.dead_letters(&DeadFilter::default()).await;
    let letters = letters.map_err(|error| {
        let text = format!("the dead letters could not be read: {error}");
        problem(http::StatusCode::INTERNAL_SERVER_ERROR, text, Some(1))
    })?;
    let of = |id: &Option<String>| id.as_deref().is_some_and(|id| ids.contains(id));
    Ok(letters.into_iter().filter(|letter| of(&letter.event_id)).map(shown).collect())
}
