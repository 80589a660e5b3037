//! Groups of errors, and all of one key, in a terminal.

use archipel_console::view::{ErrorGroup, Found};
use archipel_rt::clock;

use super::style::Style;
use super::table::{Cell, Table, age};
use super::{log, trace};

/// Of the title of an error in a list.
const TITLE_CHARS_MAX: usize = 90;

pub(crate) fn errors(groups: &[ErrorGroup], style: Style) -> Table {
    let now = clock::wall_ms();
    let mut table = Table::new(&["ERROR", "COUNT", "LAST", "FIRST", "SERVICE", "WHAT", "WHERE"]);
    for of in groups {
        let title: String = trace::plain(&of.title).chars().take(TITLE_CHARS_MAX).collect();
        table.row(vec![
            of.id.as_str().into(),
            of.count.to_string().into(),
            age(now.saturating_sub(of.last_ms)).into(),
            age(now.saturating_sub(of.first_ms)).into(),
            Cell::painted(trace::plain(&of.service), |text| style.service(text)),
            Cell::painted(title, |text| style.red(text)),
            trace::plain(&of.place).into(),
        ]);
    }
    table
}

pub(crate) fn error(of: &ErrorGroup, style: Style) -> Vec<String> {
    let now = clock::wall_ms();
    let ago = |ms: u64| age(now.saturating_sub(ms));
    let mut lines = vec![
        format!("{} {}", style.service(&of.service), style.red(&trace::plain(&of.title))),
        style.dim(&format!(
            "{} times, last {} ago, first {} ago",
            of.count,
            ago(of.last_ms),
            ago(of.first_ms)
        )),
    ];
    for (what, names) in [("instances", &of.instances), ("releases", &of.releases)] {
        if !names.is_empty() {
            lines.push(format!("{what} {}", trace::plain(&names.join(", "))));
        }
    }
    if let Some(id) = &of.trace_id {
        lines.push(format!("archipel trace {id}"));
    }
    lines.push(String::new());
    lines.extend(of.example.lines().map(trace::plain));
    lines
}

/// Everything in the order of time.
pub(crate) fn found(of: &Found, style: Style) -> Vec<String> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for one in &of.traces {
        let name = match (&one.path, one.name.split_once(' ')) {
            (Some(path), Some((method, _))) => format!("{method} {path}"),
            _ => one.name.clone(),
        };
        let failed = match one.errors {
            0 => String::new(),
            errors => style.red(&format!(" {errors} failed")),
        };
        let text = format!(
            "{} request {} {} {}{failed}",
            trace::time_of(one.start_us),
            style.service(&trace::plain(&one.service)),
            style.bold(&trace::plain(&name)),
            style.dim(&format!(
                "{}, {} spans, trace {}",
                trace::duration(one.duration_us as f64),
                one.spans,
                one.trace_id
            )),
        );
        lines.push((one.start_us, text));
    }
    for one in &of.workflows {
        let at_us = one.created_at_ms.unwrap_or_default() * 1000;
        let text = format!(
            "{} workflow {} {} {}",
            trace::time_of(at_us),
            style.service(&trace::plain(&one.service)),
            style.bold(&trace::plain(&one.name)),
            style.dim(&format!("{}, {}", trace::plain(&one.id), one.status))
        );
        lines.push((at_us, text));
    }
    for one in &of.events {
        let id = one.event.get("id").and_then(|id| id.as_str());
        let mut text = format!(
            "{} event {} {}",
            trace::time_of(one.at_ms * 1000),
            style.bold(&one.topic),
            style.dim(&format!("number {}", one.seq))
        );
        for letter in
            of.dead.iter().filter(|letter| id.is_some() && letter.event_id.as_deref() == id)
        {
            let why = format!(" dead for {}: {}", letter.subscriber, trace::plain(&letter.reason));
            text.push_str(&style.red(&why));
        }
        lines.push((one.at_ms * 1000, text));
    }
    let names = of.logs.iter().map(|line| line.instance.chars().count()).max().unwrap_or(0);
    for line in &of.logs {
        let at = trace::time_of(line.at_ms * 1000);
        let text = format!("{at} {}", log::line(line, names, false, style));
        lines.push((line.at_ms * 1000, text));
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, text)| text).collect()
}
