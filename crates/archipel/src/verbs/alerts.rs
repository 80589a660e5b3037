//! `archipel alerts`: what fires, what is watched, who was told.

use std::collections::BTreeMap;

use archipel_console::view;
use archipel_rt::clock;

use super::{Query, connect, print_json};
use crate::cli::{Alerts, AlertsVerb, Global};
use crate::client::Client;
use crate::exit::Failure;
use crate::show::style::Style;
use crate::show::table::{Cell, Table, age};

pub(crate) async fn run(global: &Global, of: &Alerts) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    match &of.verb {
        Some(AlertsVerb::Silence { rule, labels, lasts, reason }) => {
            let wanted = view::SilenceWanted {
                rule: rule.clone(),
                labels: labels.iter().cloned().collect(),
                for_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
                reason: reason.clone(),
            };
            let body = serde_json::to_value(wanted)?;
            let made: view::Silence = client.post("/v1/alerts/silences", &body).await?;
            match global.json {
                true => print_json(&made)?,
                false => outln!("{}", made.id),
            }
        }
        Some(AlertsVerb::Unsilence { id }) => {
            let path = named("/v1/alerts/silences/", id) + "/end";
            let _: view::Alerts = client.post(&path, &serde_json::json!({})).await?;
        }
        Some(AlertsVerb::Test { channel }) => {
            let path = named("/v1/alerts/test/", channel);
            let _: view::Accepted = client.post(&path, &serde_json::json!({})).await?;
            eprintln!("`{channel}` took it");
        }
        Some(AlertsVerb::Checks) => checks(global, &client).await?,
        verb => list(global, &client, verb.as_ref()).await?,
    }
    Ok(0)
}

fn named(path: &str, name: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    format!("{path}{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

async fn list(global: &Global, client: &Client, verb: Option<&AlertsVerb>) -> Result<(), Failure> {
    let all: view::Alerts = client.get(Query::new("/v1/alerts").as_str()).await?;
    if global.json {
        return print_json(&all);
    }
    let style = Style::stdout(global.no_color);
    let now = clock::wall_ms();
    let ago = |ms: u64| age(now.saturating_sub(ms));
    match verb {
        Some(AlertsVerb::Rules) => rules(&all, style),
        Some(AlertsVerb::Slos) => slos(&all),
        Some(AlertsVerb::History) => {
            let mut table = Table::new(&["AGO", "STATE", "RULE", "OF", "WHAT"]);
            for event in all.history.iter().take(100) {
                table.row(vec![
                    ago(event.at_ms).into(),
                    state(&event.state, style),
                    event.rule.as_str().into(),
                    labels(&event.labels).into(),
                    event.summary.as_str().into(),
                ]);
            }
            shown(&table, all.history.is_empty(), "no alert has fired yet");
        }
        Some(AlertsVerb::Deliveries) => {
            let mut table = Table::new(&["AGO", "CHANNEL", "STATE", "TRIES", "MESSAGE", "PROBLEM"]);
            for of in &all.deliveries {
                table.row(vec![
                    ago(of.at_ms).into(),
                    of.channel.as_str().into(),
                    state(&of.state, style),
                    of.tries.to_string().into(),
                    of.title.as_str().into(),
                    of.problem.as_deref().unwrap_or("").into(),
                ]);
            }
            shown(&table, all.deliveries.is_empty(), "no message was sent yet");
        }
        _ => {
            let mut table = Table::new(&["STATE", "RULE", "OF", "SINCE", "WHAT", ""]);
            for alert in &all.alerts {
                let note = match (&alert.silence, &alert.explained) {
                    (Some(id), _) => format!("silenced by {id}"),
                    (None, Some(why)) => format!("not told: {why}"),
                    _ => String::new(),
                };
                table.row(vec![
                    state(&alert.state, style),
                    alert.rule.as_str().into(),
                    labels(&alert.labels).into(),
                    ago(alert.since_ms).into(),
                    alert.summary.as_str().into(),
                    note.into(),
                ]);
            }
            shown(&table, all.alerts.is_empty(), "nothing fires");
            let off: Vec<&view::AlertChannel> =
                all.channels.iter().filter(|channel| channel.problem.is_some()).collect();
            for channel in off {
                let why = channel.problem.as_deref().unwrap_or_default();
                eprintln!("channel {} is off: {why}", channel.name);
            }
            if all.channels.is_empty() && !all.alerts.is_empty() {
                eprintln!("nobody is told: [notify] names no channel");
            }
        }
    }
    Ok(())
}

fn shown(table: &Table, is_empty: bool, otherwise: &str) {
    match is_empty {
        true => eprintln!("{otherwise}"),
        false => table.print(),
    }
}

fn labels(of: &BTreeMap<String, String>) -> String {
    of.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn state(word: &str, style: Style) -> Cell {
    Cell::painted(word, |text| match word {
        "firing" | "failed" | "failing" => style.red(text),
        _ => style.dim(text),
    })
}

fn rules(all: &view::Alerts, style: Style) {
    let mut table = Table::new(&["RULE", "WHEN", "SEVERITY", "FIRING", "FROM", "PROBLEM"]);
    for rule in &all.rules {
        let firing = rule.firing.to_string();
        let firing = match rule.firing {
            0 => firing.into(),
            _ => Cell::painted(firing, |text| style.red(text)),
        };
        table.row(vec![
            rule.name.as_str().into(),
            rule.when.as_str().into(),
            rule.severity.as_str().into(),
            firing,
            if rule.shipped { "archipel" } else { "manifest" }.into(),
            rule.problem.as_deref().unwrap_or("").into(),
        ]);
    }
    table.print();
}

fn slos(all: &view::Alerts) {
    let mut table =
        Table::new(&["OBJECTIVE", "TARGET", "WINDOW", "REQUESTS", "BAD", "BUDGET LEFT"]);
    for slo in &all.slos {
        table.row(vec![
            slo.name.as_str().into(),
            format!("{}%", slo.target * 100.0).into(),
            age(slo.window_ms).into(),
            slo.requests.to_string().into(),
            slo.bad.to_string().into(),
            format!("{:.1}%", slo.budget_left * 100.0).into(),
        ]);
    }
    shown(&table, all.slos.is_empty(), "no objective is declared: [slos.checkout]");
}

async fn checks(global: &Global, client: &Client) -> Result<(), Failure> {
    let all: view::Checks = client.get("/v1/checks").await?;
    if global.json {
        return print_json(&all);
    }
    let style = Style::stdout(global.no_color);
    let mut table = Table::new(&["CHECK", "STATE", "RUNS", "OK", "TOOK", "CERTIFICATE", "PROBLEM"]);
    for check in &all.checks {
        let ok = check.runs.iter().filter(|run| run.ok).count();
        let ends = check.certificate_ends_ms.map(|ends| ends.saturating_sub(clock::wall_ms()));
        table.row(vec![
            check.name.as_str().into(),
            state(&check.state, style),
            check.runs.len().to_string().into(),
            ok.to_string().into(),
            check.runs.last().map_or(String::new(), |run| format!("{} ms", run.took_ms)).into(),
            ends.map_or(String::new(), |left| format!("{} d", left / 86_400_000)).into(),
            check.problem.as_deref().unwrap_or("").into(),
        ]);
    }
    shown(
        &table,
        all.checks.is_empty(),
        "nothing is checked from outside: there is no gateway yet",
    );
    Ok(())
}
