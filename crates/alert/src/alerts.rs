//! The alerts as others hold them, and the loop behind them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_model::{Watch, WatchName};
use archipel_rt::{Tasks, clock, random};

use crate::book::{Book, SILENCES_MAX};
use crate::config::Config;
use crate::facts::Facts;
use crate::measure::Stores;
use crate::mute::{Explains, Silence};
use crate::phase::Phase;
use crate::quiet::Quiet;
use crate::round::Round;
use crate::rule::Labels;
use crate::send::{Outcome, Secrets, deliver};
use crate::snapshot::Snapshot;

/// Longer is no silence but the end of the rule.
const SILENCE_MAX: Duration = Duration::from_secs(365 * 86_400);

/// They stand in the file of alerts, which is written as a whole.
const SILENCE_LABELS_MAX: usize = 16;
const SILENCE_LABEL_BYTES_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    #[error("there is no rule `{0}`")]
    UnknownRule(String),
    #[error("a silence lasts from a second to a year")]
    Length,
    #[error("{SILENCES_MAX} silences are in force already")]
    TooMany,
    #[error(
        "a silence names at most {SILENCE_LABELS_MAX} labels of {SILENCE_LABEL_BYTES_MAX} bytes"
    )]
    Labels,
}

/// A silence that somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub rule: Option<String>,
    pub labels: Labels,
    pub lasts: Duration,
    pub reason: String,
}

/// What the loop and everybody who asks share.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) book: Book,
    /// Must be on the disk before anything is sent.
    pub(crate) urgent: bool,
    pub(crate) config: Option<Arc<Config>>,
    pub(crate) facts: Option<Arc<Facts>>,
    /// Counts what was told.
    pub(crate) facts_told: u64,
    pub(crate) quiet: Quiet,
    /// Why a rule could not be read.
    pub(crate) problems: BTreeMap<String, String>,
    pub(crate) left_out: BTreeMap<String, usize>,
    /// Why the file cannot be written.
    pub(crate) unsaved: Option<String>,
}

impl State {
    pub(crate) fn explains(&self) -> Explains {
        use crate::rule::Class;
        let mut explains = Explains::default();
        for service in self.facts.iter().flat_map(|facts| &facts.services) {
            explains.calls.insert(service.name.clone(), service.calls.clone());
        }
        for alert in self.book.alerts.values().flatten() {
            // What is about to be told as down explains already what comes of it.
            let (false, Some(service)) = (alert.phase == Phase::Ok, alert.labels.get("service"))
            else {
                continue;
            };
            match alert.class {
                Class::Crashing => drop(explains.crashing.insert(service.clone())),
                Class::Down => drop(explains.down.insert(service.clone())),
                Class::Symptom | Class::Other => {}
            }
        }
        explains
    }
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Alerts {
    state: Arc<Mutex<State>>,
}

impl Alerts {
    /// Reads what was known, and starts the loop in `tasks`. It does nothing before the first
    /// [`Self::apply`]. A file that cannot be read is put aside: what fires is found again.
    pub fn open(path: PathBuf, stores: Stores, tasks: &Tasks) -> Self {
        let mut book = Book::read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the alerts known so far could not be read; who was told may be told again");
                let _ = std::fs::rename(&path, path.with_extension("unread"));
            }
            Book::default()
        });
        let now_ms = clock::wall_ms();
        // While nobody looked nothing was over: it has its whole time to show itself again.
        for alert in book.alerts.values_mut().flatten() {
            if let Phase::Firing { held_ms, .. } = &mut alert.phase {
                *held_ms = (*held_ms).max(now_ms);
            }
        }
        let state = Arc::new(Mutex::new(State { book, ..State::default() }));
        let alerts = Self { state };
        let round = Round::new(alerts.clone(), stores, path, tasks);
        tasks.spawn("alert.loop", round.run());
        alerts
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The wishes of a manifest, new or changed: services may restart now, so it is quiet for a
    /// while.
    pub fn apply(&self, app: &str, watch: &Watch, secrets: Secrets) {
        let config = Config::new(app, watch, secrets);
        let grace = u64::try_from(watch.pace.grace.as_millis()).unwrap_or(u64::MAX);
        self.with(|state| {
            state.quiet = Quiet::default();
            state.quiet.ask(clock::wall_ms(), grace);
            let known = |channel: &String| config.channels.contains_key(channel.as_str());
            for alert in state.book.alerts.values_mut().flatten() {
                alert.told.retain(|channel, _| known(channel));
            }
            state.book.outbox.retain(|delivery| known(&delivery.channel));
            state
                .book
                .runs
                .retain(|name, _| name == crate::config::DOOR || config.checks.contains_key(name));
            let objective =
                |name: &String| config.objectives.iter().any(|of| of.rule.name == *name);
            state.book.ledgers.retain(|name, _| objective(name));
            state.config = Some(Arc::new(config));
            state.urgent = true;
        });
    }

    /// Services are about to be stopped: nothing of what follows is looked at any more.
    pub fn rest(&self) {
        self.with(|state| state.config = None);
    }

    /// What is known now of services, queues and the machine.
    pub fn tell(&self, facts: Facts) {
        self.with(|state| {
            if let Some(config) = &state.config {
                let grace = u64::try_from(config.pace.grace.as_millis()).unwrap_or(u64::MAX);
                state.quiet.tell(facts.preparing, clock::wall_ms(), grace);
            }
            state.facts = Some(Arc::new(facts));
            state.facts_told += 1;
        });
    }

    pub fn snapshot(&self) -> Snapshot {
        let now_ms = clock::wall_ms();
        self.with(|state| Snapshot::of(state, now_ms))
    }

    /// How many fire that nobody silenced.
    pub fn firing(&self) -> usize {
        let snapshot = self.snapshot();
        let count = snapshot.alerts.iter().filter(|of| {
            of.alert.phase.is_firing() && of.silence.is_none() && of.explained.is_none()
        });
        count.count()
    }

    /// # Errors
    /// [`SilenceError`] when it would cover nothing, or for ever.
    pub fn silence(&self, wanted: Wanted) -> Result<Silence, SilenceError> {
        let now_ms = clock::wall_ms();
        if wanted.lasts < Duration::from_secs(1) || wanted.lasts > SILENCE_MAX {
            return Err(SilenceError::Length);
        }
        let long = |(key, value): (&String, &String)| key.len() + value.len();
        if wanted.labels.len() > SILENCE_LABELS_MAX
            || wanted.labels.iter().any(|label| long(label) > SILENCE_LABEL_BYTES_MAX)
        {
            return Err(SilenceError::Labels);
        }
        self.with(|state| {
            if let (Some(rule), Some(config)) = (&wanted.rule, &state.config)
                && config.rule(rule).is_none()
            {
                return Err(SilenceError::UnknownRule(rule.clone()));
            }
            let silences = &mut state.book.silences;
            silences.retain(|silence| silence.until_ms > now_ms);
            if silences.len() >= SILENCES_MAX {
                return Err(SilenceError::TooMany);
            }
            let lasts_ms = u64::try_from(wanted.lasts.as_millis()).unwrap_or(u64::MAX);
            let silence = Silence {
                id: format!("sil_{:08x}", random::u64() as u32),
                rule: wanted.rule,
                labels: wanted.labels,
                from_ms: now_ms,
                until_ms: now_ms.saturating_add(lasts_ms),
                reason: wanted.reason,
            };
            silences.push(silence.clone());
            state.urgent = true;
            Ok(silence)
        })
    }

    /// Whether there was one.
    pub fn end_silence(&self, id: &str) -> bool {
        self.with(|state| {
            let before = state.book.silences.len();
            state.book.silences.retain(|silence| silence.id != id);
            state.urgent = true;
            state.book.silences.len() < before
        })
    }

    /// Sends a test to one channel, once.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub async fn test(&self, channel: &str) -> Result<(), String> {
        let (config, console) = self.with(|state| {
            let console = state.facts.as_ref().and_then(|facts| facts.console.clone());
            (state.config.clone(), console)
        });
        let config = config.ok_or("Archipel is just starting")?;
        let Some(of) = config.channels.get(channel) else {
            let known = config.channels.keys().map(WatchName::as_str);
            let known = archipel_model::suggest::there_are(channel, known);
            return Err(match config.channels.is_empty() {
                true => "no channel is declared: add [notify.ops] with a webhook".to_owned(),
                false => format!("there is no channel `{channel}`; {known}"),
            });
        };
        let now_ms = clock::wall_ms();
        let message = crate::message::test(&config.app, now_ms);
        let id = message_id();
        match deliver(of, &config.secrets, &message, &id, now_ms, console.as_deref()).await {
            Outcome::Delivered => Ok(()),
            Outcome::Later(why, _) | Outcome::Refused(why) => Err(why),
        }
    }
}

pub(crate) fn message_id() -> String {
    format!("msg_{:016x}{:08x}", random::u64(), random::u64() as u32)
}
