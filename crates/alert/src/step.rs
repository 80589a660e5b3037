//! From readings to alerts: takes what was read of one rule into the alerts that it has.

use std::collections::BTreeMap;

use archipel_model::Severity;

use crate::alerts::State;
use crate::book::{ALERTS_MAX, Alert, Happened};
use crate::config::{Config, DOOR};
use crate::phase::{Phase, Timing};
use crate::rule::{Class, Labels, Reading};

const DOOR_FAILURES: u32 = 3;
const CERTIFICATE_MS: u64 = 14 * 86_400_000;

/// What the first certificate to end says.
pub(crate) fn certificate(host: String, ends_ms: u64, now_ms: u64) -> Reading {
    let left_ms = ends_ms.saturating_sub(now_ms);
    let days = left_ms / 86_400_000;
    let text = format!("the certificate of {host} ends in {days} days");
    let labels = Labels::from([("host".to_owned(), host)]);
    Reading::new(labels, left_ms < CERTIFICATE_MS, days as f64, text, "/gateway".to_owned())
}

/// Checks whose last runs failed, as often in a row as they say.
pub(crate) fn failing(state: &State, config: &Config) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (name, runs) in &state.book.runs {
        let (failures, severity) = match config.checks.get(name) {
            Some(check) => (check.failures, check.severity),
            None if name == DOOR => (DOOR_FAILURES, Severity::Page),
            None => continue,
        };
        let failed = runs.iter().rev().take_while(|run| !run.ok).count();
        let why = runs.back().and_then(|run| run.why.clone());
        let text = why.unwrap_or_else(|| "it answers as it should".to_owned());
        let labels = Labels::from([("check".to_owned(), name.clone())]);
        let link = format!("/alerts?check={name}");
        let holds = failed >= failures as usize;
        let mut reading = Reading::new(labels, holds, failed as f64, text, link);
        reading.severity = Some(severity);
        readings.push(reading);
    }
    readings
}

/// Takes the readings of one rule into its alerts.
pub(crate) fn step(
    state: &mut State,
    rule: &str,
    severity: Severity,
    class: Class,
    timing: Timing,
    readings: Vec<Reading>,
    now_ms: u64,
) {
    let quiet = state.quiet.until(now_ms).is_some();
    let count: usize = state.book.alerts.values().map(Vec::len).sum();
    let mut room = ALERTS_MAX.saturating_sub(count);
    let mut alerts = state.book.alerts.remove(rule).unwrap_or_default();
    let mut read = vec![false; alerts.len()];
    for reading in readings {
        match alerts.iter().position(|alert| alert.labels == reading.labels) {
            Some(at) => {
                if let Some(read) = read.get_mut(at) {
                    *read = true;
                }
                advance(state, &mut alerts[at], Some(reading), quiet, timing, now_ms);
            }
            None if !reading.holds || room == 0 => {}
            None => {
                room -= 1;
                let mut alert = Alert {
                    rule: rule.to_owned(),
                    labels: reading.labels.clone(),
                    severity: reading.severity.unwrap_or(severity),
                    class,
                    phase: Phase::Ok,
                    resolved_ms: None,
                    value: reading.value,
                    text: String::new(),
                    link: String::new(),
                    told: BTreeMap::new(),
                };
                advance(state, &mut alert, Some(reading), quiet, timing, now_ms);
                alerts.push(alert);
            }
        }
    }
    // Nothing was read of what is not there any more.
    for (at, read) in read.into_iter().enumerate().filter(|(_, read)| !read) {
        let _ = read;
        advance(state, &mut alerts[at], None, quiet, timing, now_ms);
    }
    alerts.retain(|alert| alert.phase != Phase::Ok || !alert.told.is_empty());
    if !alerts.is_empty() {
        state.book.alerts.insert(rule.to_owned(), alerts);
    }
}

fn advance(
    state: &mut State,
    alert: &mut Alert,
    reading: Option<Reading>,
    quiet: bool,
    timing: Timing,
    now_ms: u64,
) {
    let holds = reading.as_ref().is_some_and(|reading| reading.holds);
    let before = alert.phase;
    alert.phase = before.next(holds, quiet, timing, now_ms);
    if let Some(reading) = reading {
        alert.value = reading.value;
        alert.text = reading.text;
        alert.link = reading.link;
        alert.severity = reading.severity.unwrap_or(alert.severity);
    }
    let (was, is) = (before.is_firing(), alert.phase.is_firing());
    if was == is {
        return;
    }
    alert.resolved_ms = (!is).then_some(now_ms);
    state.urgent = true;
    state.book.happened(Happened {
        at_ms: now_ms,
        rule: alert.rule.clone(),
        labels: alert.labels.clone(),
        firing: is,
        text: alert.text.clone(),
    });
}
