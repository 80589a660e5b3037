//! Traces in a terminal: a list, and the waterfall of one.

use std::collections::{BTreeMap, BTreeSet};

use archipel_console::view::{LogLine, Span, Trace, TraceSummary};

use super::style::Style;
use super::table::{Cell, Table};

/// Of the bars.
const BAR_MIN: usize = 10;
/// Deeper ones are not moved further to the right.
const INDENT_MAX: usize = 12;

pub(crate) fn list(traces: &[TraceSummary], style: Style) -> Table {
    let mut table =
        Table::new(&["TRACE", "START", "DURATION", "SPANS", "ERRORS", "SERVICE", "NAME"]);
    for of in traces {
        let errors = of.errors.to_string();
        table.row(vec![
            of.trace_id.as_str().into(),
            time_of(of.start_us).into(),
            duration(of.duration_us as f64).into(),
            of.spans.to_string().into(),
            Cell::painted(errors, |text| if of.errors > 0 { style.red(text) } else { text.into() }),
            Cell::painted(plain(&of.service), |text| style.service(text)),
            plain(&of.name).into(),
        ]);
    }
    table
}

/// `12:30:05.123`, in UTC.
pub(crate) fn time_of(us: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000);
    let format = time::macros::format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
    at.ok().and_then(|at| at.format(format).ok()).unwrap_or_default()
}

pub(crate) fn duration(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0}us"),
        us if us < 100_000.0 => format!("{:.1}ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0}ms", us / 1e3),
        us => format!("{:.2}s", us / 1e6),
    }
}

/// Names come from services: what moves a cursor is not printed.
pub(crate) fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// One line a span, in the order of a tree, and the logs at their places.
pub(crate) fn waterfall(trace: &Trace, width: usize, style: Style) -> Vec<String> {
    let start = trace.spans.iter().map(|span| span.start_us).min().unwrap_or(0);
    let end = |span: &Span| (span.start_us - start) as f64 + span.duration_us;
    let total = trace.spans.iter().map(end).fold(1.0, f64::max);
    let rows = tree(&trace.spans);
    let label = |depth: usize, span: &Span| {
        let indent = "  ".repeat(depth.min(INDENT_MAX));
        format!("{indent}{} {}", plain(&span.service), plain(&span.name))
    };
    let widest = rows.iter().map(|(depth, at)| label(*depth, &trace.spans[*at]).chars().count());
    let names = widest.max().unwrap_or(0).min(width / 2);
    let bars = width.saturating_sub(names + 12).max(BAR_MIN);
    let services: BTreeSet<&str> = trace.spans.iter().map(|span| span.service.as_str()).collect();
    let mut lines = vec![style.dim(&format!(
        "trace {} · {} · {} spans · {} services · {}",
        trace.trace_id,
        time_of(start),
        trace.spans.len(),
        services.len(),
        duration(total)
    ))];
    let mut logs: BTreeMap<&str, Vec<&LogLine>> = BTreeMap::new();
    let mut loose = Vec::new();
    let known: BTreeSet<&str> = trace.spans.iter().map(|span| span.span_id.as_str()).collect();
    for line in &trace.logs {
        match line.span_id.as_deref().filter(|id| known.contains(id)) {
            Some(id) => logs.entry(id).or_default().push(line),
            None => loose.push(line),
        }
    }
    for (depth, at) in rows {
        let span = &trace.spans[at];
        let text: String = label(depth, span).chars().take(names).collect();
        let pad = " ".repeat(names - text.chars().count());
        let bar = bar((span.start_us - start) as f64 / total, span.duration_us / total, bars);
        let failed = span.status == "error";
        let (text, bar) = match failed {
            true => (style.red(&text), style.red(&bar)),
            false => (text, style.paint("36", &bar)),
        };
        lines.push(format!("{text}{pad} {bar} {}", duration(span.duration_us)).trim_end().into());
        let indent = "  ".repeat(depth.min(INDENT_MAX) + 1);
        lines.extend(reason(span).map(|why| format!("{indent}{}", style.red(&why))));
        let of_span = logs.remove(span.span_id.as_str()).unwrap_or_default();
        lines.extend(of_span.into_iter().map(|line| format!("{indent}{}", said(line, style))));
    }
    lines.extend(loose.into_iter().map(|line| said(line, style)));
    lines
}

/// Why it failed, as far as the span says.
fn reason(span: &Span) -> Option<String> {
    if span.status != "error" {
        return None;
    }
    let keys = ["otel.status_description", "error.type", "http.response.status_code"];
    let event = span.events.iter().find_map(|event| event["attributes"].get("exception.message"));
    let value = event.or_else(|| keys.iter().find_map(|key| span.attributes.get(*key)))?;
    Some(plain(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

fn said(line: &LogLine, style: Style) -> String {
    let first = plain(line.message.lines().next().unwrap_or_default());
    let level = line.level.as_deref().unwrap_or("-");
    style.dim(&format!("{} {level} {first}", line.instance))
}

fn bar(offset: f64, length: f64, width: usize) -> String {
    let at = ((offset * width as f64) as usize).min(width - 1);
    let length = ((length * width as f64).round() as usize).clamp(1, width - at);
    format!("{}{}{}", " ".repeat(at), "█".repeat(length), " ".repeat(width - at - length))
}

/// (depth, span) so that children follow their parents. A span whose parent is not here is a
/// root; so is one of a circle, which only a broken SDK can make.
fn tree(spans: &[Span]) -> Vec<(usize, usize)> {
    let by_id: BTreeMap<&str, usize> =
        spans.iter().enumerate().map(|(at, span)| (span.span_id.as_str(), at)).collect();
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut waiting: Vec<(usize, usize)> = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        match span.parent_id.as_deref().and_then(|parent| by_id.get(parent)) {
            Some(parent) if *parent != at => children.entry(*parent).or_default().push(at),
            _ => waiting.push((0, at)),
        }
    }
    waiting.reverse();
    let (mut rows, mut seen) = (Vec::new(), vec![false; spans.len()]);
    let mut rest = 0..spans.len();
    loop {
        while let Some((depth, at)) = waiting.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            rows.push((depth, at));
            let below = children.get(&at).into_iter().flatten().rev();
            waiting.extend(below.map(|child| (depth + 1, *child)));
        }
        match rest.find(|at| !seen[*at]) {
            Some(at) => waiting.push((0, at)),
            None => return rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn span(id: &str, parent: Option<&str>, start_us: u64, duration_us: f64) -> Span {
        Span {
            trace_id: "t".into(),
            span_id: id.into(),
            parent_id: parent.map(str::to_owned),
            service: "orders".into(),
            instance: None,
            name: id.into(),
            kind: "server".into(),
            status: "unset".into(),
            start_us,
            duration_us,
            attributes: Map::new(),
            resource: Map::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    fn shown(spans: Vec<Span>, logs: Vec<LogLine>) -> String {
        let trace = Trace { schema: String::new(), trace_id: "t".into(), spans, logs };
        waterfall(&trace, 48, Style { colour: false }).join("\n")
    }

    #[test]
    fn children_stand_below_their_parents_at_their_time() {
        let mut failed = span("c", Some("b"), 1_050_000, 50_000.0);
        failed.status = "error".into();
        failed.attributes.insert("error.type".into(), "timeout".into());
        let log = LogLine {
            at_ms: 1,
            service: "orders".into(),
            instance: "orders-0".into(),
            stream: "stdout".into(),
            level: Some("warn".into()),
            message: "slow\nindeed".into(),
            trace_id: None,
            span_id: Some("b".into()),
            fields: None,
        };
        let spans = vec![
            span("a", None, 1_000_000, 100_000.0),
            failed,
            span("b", Some("a"), 1_000_000, 50_000.0),
        ];
        let expected = "\
trace t · 00:00:01.000 · 3 spans · 1 services · 100ms
orders a     ████████████████████████ 100ms
  orders b   ████████████             50.0ms
    orders-0 warn slow
    orders c             ████████████ 50.0ms
      timeout";
        assert_eq!(shown(spans, vec![log]), expected);
    }

    #[test]
    fn a_circle_and_an_orphan_are_shown_once() {
        let spans = vec![
            span("a", Some("b"), 1, 1.0),
            span("b", Some("a"), 1, 1.0),
            span("c", Some("gone"), 1, 1.0),
            span("d", Some("d"), 1, 1.0),
        ];
        let rows = tree(&spans);
        let names: BTreeSet<usize> = rows.iter().map(|(_, at)| *at).collect();
        assert_eq!((rows.len(), names.len()), (4, 4));
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        let mut evil = span("a", None, 1, 1.0);
        evil.name = "\x1b[2Jgone".into();
        assert!(!shown(vec![evil], Vec::new()).contains('\x1b'));
    }
}
