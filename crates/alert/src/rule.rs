//! Rules, and what was read for them.

use std::collections::{BTreeMap, BTreeSet};

use archipel_model::{AlertRule, Events, Severity, Slo, WatchName};
use archipel_telemetry::{Expr, Op};

use crate::phase::Timing;

/// Of one rule; more are told by number only.
pub const INSTANCES_MAX: usize = 100;

/// What an alert tells of a service, which decides what mutes what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It ends again and again.
    Crashing,
    /// It is not there.
    Down,
    /// Its requests fail or are slow: perhaps for want of another.
    Symptom,
    Other,
}

/// What every rule has.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub class: Class,
    pub severity: Severity,
    pub timing: Timing,
    /// As people read it.
    pub when: String,
    pub description: Option<String>,
    /// `None`: every channel.
    pub notify: Option<BTreeSet<WatchName>>,
    /// It ships with Archipel.
    pub shipped: bool,
}

/// The labels that tell instances of one rule apart.
pub type Labels = BTreeMap<String, String>;

/// What was read for one instance of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) labels: Labels,
    pub(crate) holds: bool,
    pub(crate) value: f64,
    /// One sentence: the value against the limit.
    pub(crate) text: String,
    /// Where the cause can be seen: a path of the console.
    pub(crate) link: String,
    /// Where it differs from the rule's.
    pub(crate) severity: Option<Severity>,
}

impl Reading {
    pub(crate) fn new(labels: Labels, holds: bool, value: f64, text: String, link: String) -> Self {
        Self { labels, holds, value, text, link, severity: None }
    }
}

/// A declared alert, ready to be read.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) rule: Rule,
    pub(crate) of: AlertRule,
    pub(crate) expr: Expr,
    /// The service that the question names, where it names one.
    pub(crate) service: Option<String>,
}

pub(crate) fn declared(name: &WatchName, of: &AlertRule) -> Declared {
    let question = match &of.events {
        Events::Spans(question) | Events::Logs(question) => question.as_str(),
    };
    // What cannot be read was refused with the manifest.
    let expr = Expr::parse(question).unwrap_or_default();
    let service = service_of(&expr);
    let hops = matches!(of.events, Events::Spans(_)) && is_about_hops(&expr);
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let rule = Rule {
        name: name.to_string(),
        class: match of.events {
            Events::Spans(_) => Class::Symptom,
            Events::Logs(_) => Class::Other,
        },
        severity: of.severity,
        timing: Timing { hold_ms: ms(of.hold), resolve_ms: ms(of.resolve_after) },
        when: of.when.clone(),
        description: of.description.clone(),
        notify: of.notify.clone(),
        shipped: false,
    };
    let expr = if hops { only_hops(expr) } else { expr };
    Declared { rule, of: of.clone(), expr, service }
}

/// An objective, ready to be read.
#[derive(Debug, Clone)]
pub(crate) struct Objective {
    pub(crate) rule: Rule,
    pub(crate) of: Slo,
    pub(crate) all: Expr,
    pub(crate) good: Expr,
    pub(crate) service: Option<String>,
}

pub(crate) fn objective(name: &WatchName, of: &Slo) -> Objective {
    let on = Expr::parse(&of.on).unwrap_or_default();
    let good = Expr::parse(&of.good).unwrap_or_default();
    let service = service_of(&on);
    let all = if is_about_hops(&on) { only_hops(on) } else { on };
    let good = Expr::And(vec![all.clone(), good]);
    let rule = Rule {
        name: name.to_string(),
        class: Class::Symptom,
        severity: Severity::Page,
        timing: Timing { hold_ms: 0, resolve_ms: 120_000 },
        when: format!("{}% of requests are good", of.target.as_f64() * 100.0),
        description: of.description.clone(),
        notify: of.notify.clone(),
        shipped: false,
    };
    Objective { rule, of: of.clone(), all, good, service }
}

/// A question in words that every hop has is about requests through the data plane; what SDKs
/// send of the same requests would count them twice. One that asks for more means spans.
fn is_about_hops(expr: &Expr) -> bool {
    match expr {
        Expr::And(all) | Expr::Or(all) => all.iter().all(is_about_hops),
        Expr::Not(inner) => is_about_hops(inner),
        Expr::Text(_) => false,
        Expr::Compare { key, .. } => matches!(
            key.as_str(),
            "service"
                | "instance"
                | "caller"
                | "route"
                | "method"
                | "path"
                | "status"
                | "duration"
                | "dur"
        ),
    }
}

fn only_hops(expr: Expr) -> Expr {
    let hop = Expr::parse("archipel.hop:true").unwrap_or_default();
    Expr::And(vec![expr, hop])
}

pub(crate) fn service_of(expr: &Expr) -> Option<String> {
    let terms = match expr {
        Expr::And(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    terms.iter().find_map(|term| match term {
        Expr::Compare { key, op: Op::Is, operand } if key == "service" && !operand.prefix => {
            Some(operand.text.clone())
        }
        _ => None,
    })
}
