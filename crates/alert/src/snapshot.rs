//! Everything that people may want to know of alerts, at one moment.

use std::collections::VecDeque;
use std::sync::Arc;

use archipel_model::{Severity, Synthetic};

use crate::alerts::State;
use crate::book::{Alert, Delivery, Happened, Sent};
use crate::check::Run;
use crate::config::DOOR;
use crate::mute::Silence;
use crate::phase::Phase;
use crate::rule::Rule;

#[derive(Debug, Clone)]
pub struct AlertState {
    pub alert: Alert,
    /// The silence that covers it.
    pub silence: Option<String>,
    /// What explains it.
    pub explained: Option<String>,
}

#[derive(Debug, Clone)]
pub struct RuleState {
    pub rule: Rule,
    /// Why it could not be read.
    pub problem: Option<String>,
    /// Instances beyond the most that are looked at.
    pub left_out: usize,
}

#[derive(Debug, Clone)]
pub struct SloState {
    pub name: String,
    pub target: f64,
    pub window_ms: u64,
    /// Requests of the window, and the bad ones among them.
    pub all: u64,
    pub bad: u64,
    /// Share of the budget that is left.
    pub left: f64,
    /// Burn of each of the last 24 hours.
    pub day: Vec<f64>,
    pub on: String,
    pub good: String,
}

#[derive(Debug, Clone)]
pub struct CheckState {
    pub name: String,
    /// `None`: the one of the gateway, which is on by itself.
    pub of: Option<Synthetic>,
    pub runs: VecDeque<Run>,
}

#[derive(Debug, Clone)]
pub struct ChannelState {
    pub name: String,
    pub kind: &'static str,
    pub least: Severity,
    /// Why nothing can be sent.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Firing first, then by when they began.
    pub alerts: Vec<AlertState>,
    pub rules: Vec<RuleState>,
    pub slos: Vec<SloState>,
    pub checks: Vec<CheckState>,
    pub channels: Vec<ChannelState>,
    pub silences: Vec<Silence>,
    /// Newest first.
    pub history: Vec<Happened>,
    pub waiting: Vec<Delivery>,
    /// Newest first.
    pub sent: Vec<Sent>,
    /// Nothing new fires before.
    pub quiet_until_ms: Option<u64>,
    pub unsaved: Option<String>,
}

impl Snapshot {
    pub(crate) fn of(state: &State, now_ms: u64) -> Self {
        let Some(config) = state.config.as_ref().map(Arc::clone) else { return Self::default() };
        let book = &state.book;
        let explains = state.explains();
        let silences: Vec<Silence> =
            book.silences.iter().filter(|silence| silence.until_ms > now_ms).cloned().collect();
        let shown = book.alerts.values().flatten().filter(|alert| alert.phase != Phase::Ok);
        let mut alerts: Vec<AlertState> = shown
            .map(|alert| AlertState {
                silence: silences
                    .iter()
                    .find(|silence| silence.covers(&alert.rule, &alert.labels, now_ms))
                    .map(|silence| silence.id.clone()),
                explained: explains.why(alert.class, &alert.labels),
                alert: alert.clone(),
            })
            .collect();
        alerts.sort_by_key(|of| {
            let hidden = of.silence.is_some() || of.explained.is_some();
            let phase = of.alert.phase;
            (!phase.is_firing(), hidden, std::cmp::Reverse(of.alert.severity), phase.since_ms())
        });
        let rules = config.rules.iter().map(|rule| RuleState {
            rule: rule.clone(),
            problem: state.problems.get(&rule.name).cloned(),
            left_out: state.left_out.get(&rule.name).copied().unwrap_or(0),
        });
        let slos = config.objectives.iter().map(|of| {
            let ledger = book.ledgers.get(&of.rule.name).cloned().unwrap_or_default();
            let target = of.of.target.as_f64();
            let window_ms = u64::try_from(of.of.window.as_millis()).unwrap_or(u64::MAX);
            let spent = ledger.within(window_ms);
            SloState {
                name: of.rule.name.clone(),
                target,
                window_ms,
                all: spent.all,
                bad: spent.bad,
                left: ledger.left(target, window_ms),
                day: ledger.day(target),
                on: of.of.on.clone(),
                good: of.of.good.clone(),
            }
        });
        let runs = |name: &str| book.runs.get(name).cloned().unwrap_or_default();
        let door = book.runs.contains_key(DOOR) && !config.checks.contains_key(DOOR);
        let door = door.then(|| CheckState { name: DOOR.to_owned(), of: None, runs: runs(DOOR) });
        let own = config.checks.iter().map(|(name, of)| CheckState {
            name: name.clone(),
            of: Some(of.clone()),
            runs: runs(name),
        });
        let channels = config.channels.iter().map(|(name, channel)| ChannelState {
            name: name.to_string(),
            kind: channel.to.word(),
            least: channel.least,
            problem: config.missing.get(name).cloned(),
        });
        Self {
            alerts,
            rules: rules.collect(),
            slos: slos.collect(),
            checks: door.into_iter().chain(own).collect(),
            channels: channels.collect(),
            silences,
            history: book.history.iter().rev().cloned().collect(),
            waiting: book.outbox.iter().cloned().collect(),
            sent: book.sent.iter().rev().cloned().collect(),
            quiet_until_ms: state.quiet.until(now_ms),
            unsaved: state.unsaved.clone(),
        }
    }
}
