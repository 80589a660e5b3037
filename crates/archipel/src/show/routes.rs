//! Public routes in a terminal: a list, and what two systems answer differently.

use archipel_console::view::{RouteCompare, RouteTraffic, Routes};

use super::style::Style;
use super::table::{Cell, Table};

pub(crate) fn list(all: &Routes, style: Style) -> Table {
    let mut table =
        Table::new(&["ROUTE", "TO", "REQUESTS", "FAILED", "EXTERNAL", "FELL BACK", "DIFFERING"]);
    for route in &all.routes {
        let failed = route.failed.to_string();
        let compared = route.compare.as_ref();
        let differing = compared.map_or_else(String::new, |compare| {
            format!("{} of {}", compare.differing, compare.copies.done)
        });
        let is_differing = compared.is_some_and(|compare| compare.differing > 0);
        let fell_back = route.fallback.as_ref().map(|fallback| fallback.requests.to_string());
        table.row(vec![
            plain(&route.route).into(),
            plain(&leads(route)).into(),
            route.requests.to_string().into(),
            Cell::painted(
                failed,
                |text| if route.failed > 0 { style.red(text) } else { text.into() },
            ),
            share(route.external, route.requests).into(),
            fell_back.unwrap_or_default().into(),
            Cell::painted(
                differing,
                |text| if is_differing { style.red(text) } else { text.into() },
            ),
        ]);
    }
    table
}

/// `orders 20%, legacy 80% (sticky), else legacy, compared with legacy`
fn leads(route: &RouteTraffic) -> String {
    let one = |target: &archipel_console::view::RouteTarget| match target.share {
        Some(share) => format!("{} {share}%", target.name),
        None => target.name.clone(),
    };
    let mut leads = match &route.own {
        Some(own) => format!("{} {own}", route.kind),
        None => route.to.iter().map(one).collect::<Vec<_>>().join(", "),
    };
    if route.sticky.is_some() {
        leads.push_str(" (sticky)");
    }
    for (word, to) in [
        ("else", route.fallback.as_ref().map(|fallback| &fallback.to)),
        ("compared with", route.compare.as_ref().map(|compare| &compare.copies.to)),
        ("mirrored to", route.mirror.as_ref().map(|mirror| &mirror.to)),
    ] {
        if let Some(to) = to {
            leads.push_str(&format!(", {word} {to}"));
        }
    }
    leads
}

/// How much of the traffic is not ours yet.
pub(crate) fn still_external(all: &Routes) -> String {
    match all.requests {
        0 => "no request has come in yet".to_owned(),
        requests => format!(
            "{} of {requests} requests ({}) were answered by externals",
            all.external,
            share(all.external, requests)
        ),
    }
}

fn share(part: u64, whole: u64) -> String {
    match (part, whole) {
        (_, 0) | (0, _) => "0%".to_owned(),
        // Neither a rest nor a whole is rounded away: it says whether one is done.
        (part, whole) => {
            let percent = part as f64 * 100.0 / whole as f64;
            let shown = if part < whole { percent.clamp(0.1, 99.9) } else { 100.0 };
            if (1.0..99.0).contains(&shown) || part >= whole {
                format!("{shown:.0}%")
            } else {
                format!("{shown:.1}%")
            }
        }
    }
}

pub(crate) fn differences(route: &str, compare: &RouteCompare, style: Style) -> Vec<String> {
    let copies = &compare.copies;
    let mut lines = vec![format!(
        "{}: {} of {} compared answers differ from those of {}",
        style.bold(&plain(route)),
        compare.differing,
        copies.done,
        copies.to
    )];
    if !copies.skipped.is_empty() {
        let each = copies.skipped.iter().map(|(why, count)| format!("{count} {why}"));
        lines.push(style.dim(&format!("not compared: {}", each.collect::<Vec<_>>().join(", "))));
    }
    for example in compare.examples.iter().rev() {
        lines.push(String::new());
        lines.push(format!(
            "{}  {} / {}  {}",
            plain(&example.request),
            example.status,
            example.status_other,
            style.dim(&format!("trace {}", example.trace_id))
        ));
        let mut table = Table::new(&["  WHERE", "CALLER GOT", "OTHER SAID"]);
        for found in &example.differences {
            table.row(vec![
                format!("  {}", plain(&found.at)).into(),
                plain(&found.main).into(),
                plain(&found.other).into(),
            ]);
        }
        lines.extend(table.lines());
        if example.more {
            lines.push("  and more".to_owned());
        }
    }
    lines
}

/// Texts come from services: what moves a cursor is not printed.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_never_rounded_away() {
        for (part, whole, expected) in [
            (0, 10, "0%"),
            (1, 10_000, "0.1%"),
            (80, 100, "80%"),
            (9_999, 10_000, "99.9%"),
            (10, 10, "100%"),
            (0, 0, "0%"),
        ] {
            assert_eq!(share(part, whole), expected);
        }
    }
}
