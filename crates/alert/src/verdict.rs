//! From counts to a verdict: pure, so that every figure in it can be tested.

use archipel_model::{Aggregate, AlertRule};

use crate::rule::{Declared, Labels, Reading};

/// What a window held.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) errors: u64,
    /// The quantile that was asked for, in seconds.
    pub(crate) quantile: Option<f64>,
    /// The mean of a metric.
    pub(crate) metric: Option<f64>,
}

pub(crate) fn reading(of: &Declared, mut labels: Labels, counts: Counts) -> Reading {
    let rule = &of.of;
    if let Some(service) = &of.service {
        labels.entry("service".to_owned()).or_insert_with(|| service.clone());
    }
    let limit = rule.limit.as_f64();
    let compares = |value: f64| rule.comparison.holds(value, limit);
    let seconds = rule.window.as_secs_f64();
    let window = archipel_model::show_duration(rule.window);
    let enough = counts.events >= rule.min_events;
    let Counts { events, errors, .. } = counts;
    let (value, holds, text) = match &rule.aggregate {
        Aggregate::ErrorRate => {
            let share = if events > 0 { errors as f64 / events as f64 } else { 0.0 };
            let text =
                format!("{} of {events} requests failed in {window} ({errors})", percent(share));
            (share, events > 0 && errors >= rule.min_events && compares(share), text)
        }
        Aggregate::Rate => {
            let rate = events as f64 / seconds;
            (rate, enough && compares(rate), format!("{rate:.2} a second over {window}"))
        }
        Aggregate::Quantile(percent) => {
            let value = counts.quantile.unwrap_or_default();
            let text = format!("{percent}% within {} of {events} in {window}", time(value));
            (value, counts.quantile.is_some() && enough && compares(value), text)
        }
        Aggregate::Count => {
            let text = format!("{events} in {window}");
            (events as f64, enough && compares(events as f64), text)
        }
        Aggregate::Absent => (events as f64, events == 0, format!("{events} in {window}")),
        Aggregate::Metric(name) => {
            let value = counts.metric.unwrap_or_default();
            let text = format!("{name} is {} over {window}", number(value));
            (value, counts.metric.is_some_and(compares), text)
        }
    };
    let text = format!("{text}; the limit is {}", rule.when);
    Reading::new(labels.clone(), holds, value, text, link(rule, &labels))
}

/// The filtered page that shows the cause.
fn link(rule: &AlertRule, labels: &Labels) -> String {
    use archipel_model::Events;
    let (page, question) = match &rule.events {
        Events::Spans(question) => ("traces", question),
        Events::Logs(question) => ("logs", question),
    };
    if let Aggregate::Metric(_) = rule.aggregate {
        return match labels.get("service") {
            Some(service) => format!("/services/{service}"),
            None => "/measures".to_owned(),
        };
    }
    let mut terms = question.clone();
    for (key, value) in labels {
        if !question.contains(&format!("{key}:")) {
            terms.push_str(&format!(" {key}:\"{}\"", value.replace('"', "\\\"")));
        }
    }
    match rule.aggregate {
        Aggregate::ErrorRate => terms.push_str(" status:error"),
        Aggregate::Quantile(_) => {
            terms.push_str(&format!(" duration>{}ms", rule.limit.0 / 1_000));
        }
        _ => {}
    }
    question_link(page, terms.trim())
}

pub(crate) fn question_link(page: &str, question: &str) -> String {
    let mut path = format!("/{page}?range=1h&q=");
    for byte in question.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                path.push(char::from(byte));
            }
            byte => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 || percent == 0.0 {
        format!("{percent:.0}%")
    } else {
        format!("{percent:.1}%")
    }
}

pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

pub(crate) fn bytes(value: u64) -> String {
    match value {
        v if v >= 1 << 30 => format!("{:.1} GiB", v as f64 / f64::from(1 << 30)),
        v if v >= 1 << 20 => format!("{:.0} MiB", v as f64 / f64::from(1 << 20)),
        v => format!("{v} B"),
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1e6 { bytes(value as u64) } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use archipel_model::{Comparison, Events, Millionths, Severity, WatchName};
    use std::time::Duration;

    use super::*;

    fn rule(aggregate: Aggregate, comparison: Comparison, limit: f64, min_events: u64) -> Declared {
        let of = AlertRule {
            events: Events::Spans("service:orders".to_owned()),
            aggregate,
            comparison,
            limit: Millionths::of(limit),
            when: "it".to_owned(),
            window: Duration::from_secs(60),
            hold: Duration::ZERO,
            resolve_after: Duration::ZERO,
            min_events,
            severity: Severity::Page,
            by: Vec::new(),
            notify: None,
            description: None,
        };
        crate::rule::declared(&WatchName::new("x").unwrap(), &of)
    }

    fn holds(of: &Declared, counts: Counts) -> bool {
        reading(of, Labels::new(), counts).holds
    }

    #[test]
    fn a_share_of_little_is_no_error_rate() {
        let of = rule(Aggregate::ErrorRate, Comparison::Above, 0.05, 20);
        assert!(!holds(&of, Counts { events: 10, errors: 10, ..Counts::default() }));
        assert!(holds(&of, Counts { events: 399, errors: 20, ..Counts::default() }));
        assert!(!holds(&of, Counts { events: 400, errors: 20, ..Counts::default() }), "just 5%");
        assert!(!holds(&of, Counts::default()));
        let read =
            reading(&of, Labels::new(), Counts { events: 200, errors: 20, ..Counts::default() });
        assert_eq!(read.labels["service"], "orders");
        assert_eq!(read.text, "10% of 200 requests failed in 1m (20); the limit is it");
        assert_eq!(read.link, "/traces?range=1h&q=service:orders%20status:error");
    }

    #[test]
    fn every_aggregate_is_compared() {
        let counts = Counts { events: 120, errors: 0, quantile: Some(0.4), metric: Some(7.0) };
        assert!(holds(&rule(Aggregate::Rate, Comparison::AtLeast, 2.0, 0), counts));
        assert!(!holds(&rule(Aggregate::Rate, Comparison::Below, 2.0, 0), counts));
        assert!(holds(&rule(Aggregate::Quantile(95), Comparison::Above, 0.3, 120), counts));
        assert!(!holds(&rule(Aggregate::Quantile(95), Comparison::Above, 0.3, 121), counts));
        assert!(holds(&rule(Aggregate::Count, Comparison::Above, 119.0, 0), counts));
        assert!(!holds(&rule(Aggregate::Absent, Comparison::AtMost, 0.0, 0), counts));
        assert!(holds(&rule(Aggregate::Absent, Comparison::AtMost, 0.0, 0), Counts::default()));
        let metric = rule(Aggregate::Metric("lag".into()), Comparison::Above, 6.0, 0);
        assert!(holds(&metric, counts));
        assert!(!holds(&metric, Counts::default()), "nothing known is nothing concluded");
    }
}
