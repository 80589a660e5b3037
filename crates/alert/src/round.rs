//! The loop: asks what is due, applies what it says, sends what is to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{Severity, Synthetic, SyntheticStep};
use archipel_rt::{CancellationToken, Receiver, Sender, Tasks, blocking, channel, clock};

use crate::alerts::{Alerts, message_id};
use crate::book::{self, Alert, Delivery, Sent};
use crate::check::{self, Run};
use crate::config::{Config, DOOR};
use crate::facts::{Entrance, Facts};
use crate::measure::{Stores, burn_readings};
use crate::message::{Message, Told};
use crate::phase::{Phase, Timing};
use crate::post::{Candidate, due};
use crate::rule::{Class, Labels, Reading};
use crate::send::{Outcome, deliver};
use crate::shipped::{self, Past};
use crate::step::{certificate, failing, step};

const PACE: Duration = Duration::from_secs(1);
const RULE_EVERY_MS: u64 = 15_000;
const DOOR_EVERY_MS: u64 = 60_000;
/// What is no decision (runs of checks, spent budgets) may be lost for so long.
const SAVE_EVERY_MS: u64 = 60_000;
const BACKOFF_MIN_MS: u64 = 1_000;
const BACKOFF_MAX_MS: u64 = 300_000;
/// What a receiver asks to wait beyond that.
const ASKED_MAX_MS: u64 = 3_600_000;
/// About two hours.
const TRIES_MAX: u32 = 30;

/// What a task of the loop found out.
enum Done {
    Ran(String, Run),
    Door(Result<Option<(String, u64)>, String>, u64),
    /// By channel and message.
    Sent(String, String, Outcome),
}

pub(crate) struct Round {
    alerts: Alerts,
    stores: Stores,
    path: PathBuf,
    tasks: Tasks,
    stop: CancellationToken,
    done: Sender<Done>,
    received: Receiver<Done>,
    past: Past,
    facts_seen: u64,
    /// When what is asked next: rules, objectives and checks by their names.
    next_ms: BTreeMap<String, u64>,
    running: BTreeSet<String>,
    /// Channels with a message under way.
    sending: BTreeSet<String>,
    saved_ms: u64,
}

impl Round {
    pub(crate) fn new(alerts: Alerts, stores: Stores, path: PathBuf, tasks: &Tasks) -> Self {
        let (done, received) = channel("alert.done", 256);
        Self {
            alerts,
            stores,
            path,
            tasks: tasks.clone(),
            stop: tasks.stop_token(),
            done,
            received,
            past: Past::default(),
            facts_seen: 0,
            next_ms: BTreeMap::new(),
            running: BTreeSet::new(),
            sending: BTreeSet::new(),
            saved_ms: clock::wall_ms(),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                done = self.received.recv() => done,
                _ = pace.tick() => None,
            };
            let Some(config) = self.alerts.with(|state| state.config.clone()) else { continue };
            match done {
                Some(done) => self.take(&config, done),
                None => self.look(&config).await,
            }
            self.tell(&config);
            self.save(false).await;
            self.send(&config);
        }
        self.save(true).await;
    }

    /// Whether something is due, and when it is next.
    fn is_due(&mut self, name: &str, every_ms: u64, now_ms: u64) -> bool {
        let at = self.next_ms.entry(name.to_owned()).or_insert(0);
        // A clock that was put back must not hold things up.
        let due = now_ms >= *at || *at - now_ms > every_ms;
        if due {
            *at = now_ms + every_ms;
        }
        due
    }

    async fn look(&mut self, config: &Arc<Config>) {
        let now_ms = clock::wall_ms();
        let (facts, told) = self.alerts.with(|state| (state.facts.clone(), state.facts_told));
        if let Some(facts) = facts.as_ref().filter(|_| told != self.facts_seen) {
            self.facts_seen = told;
            for (rule, readings) in self.past.read(facts, now_ms) {
                self.apply(config, rule, readings, now_ms);
            }
        }
        for of in &config.declared {
            let window_ms = u64::try_from(of.of.window.as_millis()).unwrap_or(u64::MAX);
            let every_ms = (window_ms / 4).clamp(1_000, RULE_EVERY_MS);
            if !self.is_due(&of.rule.name, every_ms, now_ms) {
                continue;
            }
            match self.stores.read(of, now_ms).await {
                Ok((readings, left_out)) => {
                    self.problem(&of.rule.name, None, left_out);
                    self.apply(config, &of.rule.name, readings, now_ms);
                }
                Err(error) => self.problem(&of.rule.name, Some(error.to_string()), 0),
            }
        }
        for of in &config.objectives {
            if self.is_due(&of.rule.name, RULE_EVERY_MS, now_ms) {
                self.objective(config, of, now_ms).await;
            }
        }
        self.forget(config, now_ms);
        self.checks_gone(config, facts.as_deref(), now_ms);
        self.start_checks(config, facts.as_deref(), now_ms);
    }

    async fn objective(&mut self, config: &Config, of: &crate::rule::Objective, now_ms: u64) {
        let name = &of.rule.name;
        let question = format!("{} | {}", of.of.on, of.of.good);
        let mut ledger = self.alerts.with(|state| {
            // Counted by another question, the past says nothing.
            if state
                .book
                .ledger_of
                .insert(name.clone(), question.clone())
                .is_some_and(|q| q != question)
            {
                state.book.ledgers.remove(name);
            }
            state.book.ledgers.get(name).cloned().unwrap_or_default()
        });
        match self.stores.count(of, &mut ledger, now_ms).await {
            Ok(true) => self.alerts.with(|state| {
                state.book.ledgers.insert(name.clone(), ledger.clone());
            }),
            Ok(false) => {}
            Err(error) => return self.problem(name, Some(error.to_string()), 0),
        }
        self.problem(name, None, 0);
        self.apply(config, name, burn_readings(of, &ledger), now_ms);
    }

    fn problem(&self, rule: &str, why: Option<String>, left_out: usize) {
        self.alerts.with(|state| {
            match why {
                Some(why) => drop(state.problems.insert(rule.to_owned(), why)),
                None => drop(state.problems.remove(rule)),
            }
            match left_out {
                0 => drop(state.left_out.remove(rule)),
                count => drop(state.left_out.insert(rule.to_owned(), count)),
            }
        });
    }

    /// Alerts of rules that are no more are over.
    fn forget(&mut self, config: &Config, now_ms: u64) {
        let gone: Vec<String> = self.alerts.with(|state| {
            let known = |rule: &String| config.rule(rule).is_some();
            state.book.alerts.keys().filter(|rule| !known(rule)).cloned().collect()
        });
        let at_once = Timing { hold_ms: 0, resolve_ms: 0 };
        for rule in gone {
            self.alerts.with(|state| {
                step(state, &rule, Severity::Ticket, Class::Other, at_once, Vec::new(), now_ms);
            });
        }
    }

    /// What was found by checks that are no more is over: nobody else would look again.
    fn checks_gone(&self, config: &Config, facts: Option<&Facts>, now_ms: u64) {
        let no_door = facts.is_some_and(|facts| facts.gateway.is_none() && !facts.gateway_declared);
        let readings = self.alerts.with(|state| {
            if no_door {
                state.book.runs.remove(DOOR);
            }
            failing(state, config)
        });
        self.apply(config, shipped::CHECK_FAILING, readings, now_ms);
        if no_door {
            self.apply(config, shipped::CERTIFICATE, Vec::new(), now_ms);
        }
    }

    fn apply(&self, config: &Config, rule: &str, readings: Vec<Reading>, now_ms: u64) {
        // It may have been switched off, or have the place of one that was declared.
        let Some(of) = config.rule(rule) else { return };
        self.alerts.with(|state| {
            step(state, rule, of.severity, config.class(rule), of.timing, readings, now_ms);
        });
    }

    fn start_checks(&mut self, config: &Arc<Config>, facts: Option<&Facts>, now_ms: u64) {
        let entrance: Option<Entrance> = facts.and_then(|facts| facts.gateway.clone());
        for (name, of) in &config.checks {
            let every_ms = u64::try_from(of.every.as_millis()).unwrap_or(u64::MAX);
            // Before the door is there, its silence says nothing.
            if entrance.is_none() && asks_the_door(of) {
                continue;
            }
            let key = format!("check {name}");
            if self.running.contains(&key) || !self.is_due(&key, every_ms, now_ms) {
                continue;
            }
            self.running.insert(key);
            let (name, of, secrets) = (name.clone(), of.clone(), config.secrets.clone());
            let (entrance, done, stop) = (entrance.clone(), self.done.clone(), self.stop.clone());
            self.tasks.spawn("alert.check", async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    run = check::run(&of, entrance.as_ref(), &secrets) => {
                        let _ = done.send(Done::Ran(name, run)).await;
                    }
                }
            });
        }
        let Some(entrance) = entrance else { return };
        if !self.running.contains(DOOR) && self.is_due(DOOR, DOOR_EVERY_MS, now_ms) {
            self.running.insert(DOOR.to_owned());
            let (done, stop) = (self.done.clone(), self.stop.clone());
            self.tasks.spawn("alert.door", async move {
                let began = clock::now();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    found = check::door(&entrance) => {
                        let took = u64::try_from((clock::now() - began).as_millis());
                        let _ = done.send(Done::Door(found, took.unwrap_or(u64::MAX))).await;
                    }
                }
            });
        }
    }

    fn take(&mut self, config: &Arc<Config>, done: Done) {
        let now_ms = clock::wall_ms();
        match done {
            Done::Ran(name, run) => {
                self.running.remove(&format!("check {name}"));
                // It may have left the manifest while it ran.
                if config.checks.contains_key(&name) {
                    self.alerts.with(|state| state.book.ran(&name, run));
                }
            }
            Done::Door(found, took_ms) => {
                self.running.remove(DOOR);
                let (why, first) = match found {
                    Ok(found) => (None, found),
                    Err(why) => (Some(why), None),
                };
                let ends = first.as_ref().map(|(_, ends)| *ends);
                let ok = why.is_none();
                let run = Run { at_ms: now_ms, ok, took_ms, why, certificate_ends_ms: ends };
                self.alerts.with(|state| state.book.ran(DOOR, run));
                if ok {
                    let readings = first.map(|(host, ends)| certificate(host, ends, now_ms));
                    self.apply(
                        config,
                        shipped::CERTIFICATE,
                        readings.into_iter().collect(),
                        now_ms,
                    );
                }
            }
            Done::Sent(channel, id, outcome) => {
                self.sending.remove(&channel);
                return self.sent(&id, outcome, now_ms);
            }
        }
        let readings = self.alerts.with(|state| failing(state, config));
        self.apply(config, shipped::CHECK_FAILING, readings, now_ms);
    }

    fn sent(&mut self, id: &str, outcome: Outcome, now_ms: u64) {
        self.alerts.with(|state| {
            let Some(at) = state.book.outbox.iter().position(|delivery| delivery.id == id) else {
                return;
            };
            let Some(mut delivery) = state.book.outbox.remove(at) else { return };
            delivery.tries += 1;
            let why = match outcome {
                Outcome::Delivered => None,
                Outcome::Refused(why) => Some(why),
                Outcome::Later(why, after) if delivery.tries < TRIES_MAX => {
                    let wait = BACKOFF_MIN_MS << (delivery.tries - 1).min(9);
                    let asked =
                        after.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(0));
                    delivery.next_ms =
                        now_ms + wait.min(BACKOFF_MAX_MS).max(asked.min(ASKED_MAX_MS));
                    delivery.why = Some(why);
                    // Those behind it wait: what is told first is to arrive first.
                    state.book.outbox.insert(at, delivery);
                    state.urgent = true;
                    return;
                }
                Outcome::Later(why, _) => Some(format!("given up after {TRIES_MAX} tries: {why}")),
            };
            if let Some(why) = &why {
                tracing::warn!(
                    channel = delivery.channel,
                    why,
                    "a message about alerts was not taken"
                );
            }
            state.book.sent(Sent {
                title: delivery.message.title(),
                id: delivery.id,
                channel: delivery.channel,
                at_ms: now_ms,
                tries: delivery.tries,
                why,
            });
            state.urgent = true;
        });
    }

    /// Puts in line what is due.
    fn tell(&mut self, config: &Config) {
        let now_ms = clock::wall_ms();
        self.alerts.with(|state| {
            if state.book.alerts.is_empty() {
                return;
            }
            let explains = state.explains();
            let book = &mut state.book;
            book.silences.retain(|silence| silence.until_ms > now_ms);
            let all: Vec<&Alert> = book.alerts.values().flatten().collect();
            let candidates: Vec<Candidate<'_>> = all
                .iter()
                .filter_map(|alert| candidate(alert, config, book, &explains, now_ms))
                .collect();
            let places: Vec<(String, Labels)> = all
                .iter()
                .filter(|alert| alert.phase.is_firing() || alert.resolved_ms.is_some())
                .map(|alert| (alert.rule.clone(), alert.labels.clone()))
                .collect();
            let mut messages = Vec::new();
            for (name, channel) in &config.channels {
                if config.missing.contains_key(name) {
                    continue;
                }
                if let Some(due) = due(&candidates, name, channel.least, &config.pace, now_ms) {
                    messages.push((name.to_string(), due));
                }
            }
            drop(candidates);
            for (name, due) in messages {
                let mut told = Vec::new();
                for (at, firing) in due
                    .firing
                    .iter()
                    .map(|at| (*at, true))
                    .chain(due.resolved.iter().map(|at| (*at, false)))
                {
                    let (rule, labels) = &places[at];
                    let of = book.alerts.get_mut(rule).into_iter().flatten();
                    let Some(alert) = of.into_iter().find(|alert| alert.labels == *labels) else {
                        continue;
                    };
                    told.push(said(alert, firing, config));
                    match firing {
                        true => drop(alert.told.insert(name.clone(), now_ms)),
                        false => drop(alert.told.remove(&name)),
                    }
                }
                let message = Message::new(&config.app, now_ms, told);
                book.enqueue(Delivery {
                    id: message_id(),
                    channel: name,
                    at_ms: now_ms,
                    message,
                    tries: 0,
                    next_ms: now_ms,
                    why: None,
                });
                state.urgent = true;
            }
            for alerts in book.alerts.values_mut() {
                alerts.retain(|alert| alert.phase != Phase::Ok || !alert.told.is_empty());
            }
            book.alerts.retain(|_, alerts| !alerts.is_empty());
        });
    }

    async fn save(&mut self, last: bool) {
        let now_ms = clock::wall_ms();
        let old = now_ms.saturating_sub(self.saved_ms) >= SAVE_EVERY_MS;
        let bytes = self.alerts.with(|state| {
            let wanted = std::mem::take(&mut state.urgent) || old || last;
            wanted.then(|| state.book.bytes())
        });
        let Some(bytes) = bytes else { return };
        self.saved_ms = now_ms;
        let path = self.path.clone();
        let written = match bytes {
            Ok(bytes) => blocking(move || book::write(&path, &bytes)).await,
            Err(error) => Err(error.into()),
        };
        self.alerts.with(|state| {
            if let Err(error) = written {
                if state.unsaved.is_none() {
                    tracing::warn!(path = %self.path.display(), %error, "the state of alerts could not be saved");
                }
                state.unsaved = Some(error.to_string());
            } else {
                state.unsaved = None;
            }
        });
    }

    /// The oldest message of each channel whose time has come.
    fn send(&mut self, config: &Arc<Config>) {
        let now_ms = clock::wall_ms();
        let told = self.alerts.with(|state| {
            // Before the first facts nobody knows where the console is, to which messages lead.
            let console = state.facts.as_ref()?.console.clone();
            let mut first: BTreeMap<String, Delivery> = BTreeMap::new();
            for delivery in &state.book.outbox {
                first.entry(delivery.channel.clone()).or_insert_with(|| delivery.clone());
            }
            Some((first, console))
        });
        let Some((ready, console)) = told else { return };
        for (name, delivery) in ready {
            let Some(channel) = config.channels.get(name.as_str()) else { continue };
            // Further away than it can be, the clock was put back.
            let due = delivery.next_ms <= now_ms || delivery.next_ms > now_ms + ASKED_MAX_MS;
            if !due || self.sending.contains(&name) {
                continue;
            }
            self.sending.insert(name);
            let (channel, config, console) = (channel.clone(), Arc::clone(config), console.clone());
            let (done, stop) = (self.done.clone(), self.stop.clone());
            self.tasks.spawn("alert.send", async move {
                let message = &delivery.message;
                let sent = deliver(
                    &channel,
                    &config.secrets,
                    message,
                    &delivery.id,
                    now_ms,
                    console.as_deref(),
                );
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    outcome = sent => {
                        let _ = done.send(Done::Sent(delivery.channel, delivery.id, outcome)).await;
                    }
                }
            });
        }
    }
}

fn asks_the_door(of: &Synthetic) -> bool {
    of.steps.iter().any(|step| match step {
        SyntheticStep::Http(step) => step.url.starts_with('/'),
        SyntheticStep::Tcp(_) => false,
    })
}

fn candidate<'a>(
    alert: &'a Alert,
    config: &'a Config,
    book: &book::Book,
    explains: &crate::mute::Explains,
    now_ms: u64,
) -> Option<Candidate<'a>> {
    let firing = alert.phase.is_firing();
    if !firing && alert.resolved_ms.is_none() {
        return None;
    }
    let silenced = || book.silences.iter().any(|s| s.covers(&alert.rule, &alert.labels, now_ms));
    Some(Candidate {
        firing,
        since_ms: alert.resolved_ms.unwrap_or(alert.phase.since_ms()),
        severity: alert.severity,
        notify: config.notify(&alert.rule, &alert.labels),
        muted: firing && (silenced() || explains.why(alert.class, &alert.labels).is_some()),
        told: &alert.told,
    })
}

fn said(alert: &Alert, firing: bool, config: &Config) -> Told {
    Told {
        rule: alert.rule.clone(),
        labels: alert.labels.clone(),
        severity: alert.severity,
        state: if firing { "firing" } else { "resolved" }.to_owned(),
        since_ms: alert.resolved_ms.unwrap_or(alert.phase.since_ms()),
        summary: alert.text.clone(),
        description: config.rule(&alert.rule).and_then(|rule| rule.description.clone()),
        link: alert.link.clone(),
    }
}

#[cfg(test)]
mod tests;
