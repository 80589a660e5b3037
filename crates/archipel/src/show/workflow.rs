//! Workflows on a terminal.

use archipel_console::view::{Workflow, WorkflowEvent, WorkflowHistory, WorkflowWhole, Workflows};
use archipel_rt::clock;

use super::table::{Table, age};

/// SDKs wait «for ever» with a timer in a far century.
const FOREVER_MS: u64 = 100 * 365 * 86_400 * 1_000;
/// Of a payload in a line.
const PAYLOAD_CHARS: usize = 60;

pub(crate) fn list(found: &Workflows) {
    if found.counts.is_empty() {
        eprintln!("there are no such workflows");
        return;
    }
    let now = clock::wall_ms();
    let mut table = Table::new(&["SERVICE", "NAME", "ID", "STATUS", "AGE", "TOOK"]);
    for of in &found.instances {
        table.row(vec![
            of.service.as_str().into(),
            of.name.as_str().into(),
            of.id.as_str().into(),
            of.status.as_str().into(),
            of.created_at_ms.map(|at| age(now.saturating_sub(at))).unwrap_or_default().into(),
            took(of).into(),
        ]);
    }
    table.print();
    for of in found.instances.iter().filter(|of| of.parked.is_some()) {
        let why = of.parked.as_deref().unwrap_or_default();
        eprintln!("{} of {} was given up: {why}", of.id, of.service);
    }
    let counts = found.counts.iter().map(|(state, count)| format!("{count} {state}"));
    eprintln!("{}", counts.collect::<Vec<_>>().join(", "));
    if found.more {
        eprintln!("older ones are not shown; --limit shows more, filters show which");
    }
}

fn took(of: &Workflow) -> String {
    match (of.created_at_ms, of.ended_at_ms) {
        (Some(from), Some(to)) => age(to.saturating_sub(from)),
        _ => String::new(),
    }
}

pub(crate) fn describe(whole: &WorkflowWhole) {
    let of = &whole.workflow;
    let now = clock::wall_ms();
    let ago = |at: Option<u64>| at.map(|at| format!("{} ago", age(now.saturating_sub(at))));
    let scheduled = of.scheduled_at_ms.filter(|at| *at > now);
    let failure = whole.failure.as_ref().map(|failure| match failure.kind.is_empty() {
        true => failure.message.clone(),
        false => format!("{}: {}", failure.kind, failure.message),
    });
    let parent = of.parent.as_ref().map(|parent| format!("{} {}", parent.service, parent.id));
    let tags = of.tags.iter().map(|(name, value)| format!("{name}={value}"));
    let tags = Some(tags.collect::<Vec<_>>().join(", ")).filter(|tags| !tags.is_empty());
    let lines = [
        ("service", Some(of.service.clone())),
        ("id", Some(of.id.clone())),
        ("name", Some(of.name.clone())),
        ("version", of.version.clone().filter(|version| !version.is_empty())),
        ("status", Some(of.status.clone())),
        ("waits for", whole.waits.clone()),
        ("begins in", scheduled.map(|at| age(at - now))),
        ("created", ago(of.created_at_ms)),
        ("updated", ago(of.updated_at_ms)),
        ("ended", ago(of.ended_at_ms)),
        ("took", Some(took(of)).filter(|took| !took.is_empty())),
        ("child of", parent),
        ("tags", tags),
        ("own status", of.custom_status.clone().filter(|text| !text.is_empty())),
        ("input", whole.input.clone()),
        ("output", whole.output.clone()),
        ("failure", failure),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            outln!("{name:<11} {value}");
        }
    }
    if let Some(stack) = whole.failure.as_ref().and_then(|failure| failure.stack.as_ref()) {
        outln!("\n{stack}");
    }
    for open in &whole.activities {
        let how = if open.running { "running" } else { "waiting" };
        let lost = match open.lost {
            0 => String::new(),
            lost => format!(", {lost} workers lost on it"),
        };
        outln!("activity {:<3} {} in {}: {how}{lost}", open.event_id, open.name, open.service);
    }
    for timer in &whole.timers {
        let left = timer.fires_at_ms.saturating_sub(now);
        let left = (left < FOREVER_MS).then(|| format!("in {}", age(left)));
        let event = timer.event.as_ref().map(|event| format!("waiting for event {event}"));
        let what = [event, left].into_iter().flatten().collect::<Vec<_>>().join(", at most ");
        outln!("timer {:<6} {what}", timer.event_id);
    }
    for child in &whole.children {
        outln!("child {:<6} {} in {}", child.event_id, child.id, child.service);
    }
}

pub(crate) fn history(history: &WorkflowHistory, wide: bool) {
    let first = history.events.first().map_or(0, |event| event.at_ms);
    let mut table = Table::new(&["EVENT", "AFTER", "WHAT", "NAME", "DETAIL"]);
    for event in &history.events {
        // Where a turn begins and nothing else: for machines.
        if event.kind == "turn" && !wide {
            continue;
        }
        let id = if event.event_id < 0 { String::new() } else { event.event_id.to_string() };
        table.row(vec![
            id.into(),
            age(event.at_ms.saturating_sub(first)).into(),
            event.kind.as_str().into(),
            event.name.clone().unwrap_or_default().into(),
            detail(event, wide).into(),
        ]);
    }
    table.print();
}

fn detail(event: &WorkflowEvent, wide: bool) -> String {
    let mut parts = Vec::new();
    parts.extend(event.of.map(|of| format!("of {of}")));
    parts.extend(event.service.as_ref().map(|service| format!("in {service}")));
    match (&event.about, event.kind.as_str()) {
        (Some(at), "timer created") => {
            let at = at.parse().unwrap_or(event.at_ms);
            let wait = at.saturating_sub(event.at_ms);
            parts.extend((wait < FOREVER_MS).then(|| format!("after {}", age(wait))));
        }
        (about, _) => parts.extend(about.clone()),
    }
    parts.extend(event.failure.as_ref().map(|text| short(text, wide)));
    parts.extend(event.payload.as_ref().map(|text| short(text, wide)));
    parts.join(" ")
}

fn short(text: &str, wide: bool) -> String {
    if wide {
        return text.to_owned();
    }
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(PAYLOAD_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < text.len() => format!("{line}…"),
        None => line.to_owned(),
    }
}
