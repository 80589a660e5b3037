//! What must survive a restart: which alerts fire and who was told, silences, what is still to be
//! sent, what was spent of objectives.
//!
//! One small file, written as a whole. A message is in it before it is sent, under the name that
//! it keeps for every try, so that a receiver can tell a second copy of one that was delivered
//! just before a crash.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use archipel_model::Severity;
use serde::{Deserialize, Serialize};

use crate::burn::Ledger;
use crate::check::Run;
use crate::message::Message;
use crate::mute::Silence;
use crate::phase::Phase;
use crate::rule::{Class, Labels};

pub(crate) const HISTORY_MAX: usize = 1_000;
pub(crate) const OUTBOX_MAX: usize = 200;
pub(crate) const SENT_MAX: usize = 100;
pub(crate) const SILENCES_MAX: usize = 100;
pub(crate) const RUNS_MAX: usize = 90;
/// Alerts of all rules together.
pub(crate) const ALERTS_MAX: usize = 5_000;

/// One alert: an instance of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub rule: String,
    pub labels: Labels,
    pub severity: Severity,
    pub class: Class,
    pub phase: Phase,
    /// When it was over, if it is and somebody has yet to be told.
    #[serde(default)]
    pub resolved_ms: Option<u64>,
    pub value: f64,
    pub text: String,
    pub link: String,
    /// Channel → when it was told that this fires.
    #[serde(default)]
    pub told: BTreeMap<String, u64>,
}

/// That an alert began or was over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    pub at_ms: u64,
    pub rule: String,
    pub labels: Labels,
    pub firing: bool,
    pub text: String,
}

/// A message on its way, or how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name in every try.
    pub id: String,
    pub channel: String,
    pub at_ms: u64,
    pub message: Message,
    pub tries: u32,
    /// When it is tried next.
    pub next_ms: u64,
    #[serde(default)]
    pub why: Option<String>,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub id: String,
    pub channel: String,
    pub at_ms: u64,
    pub title: String,
    pub tries: u32,
    /// `None`: it was taken.
    pub why: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    version: u32,
    #[serde(default)]
    /// By rule.
    pub(crate) alerts: BTreeMap<String, Vec<Alert>>,
    #[serde(default)]
    pub(crate) history: VecDeque<Happened>,
    #[serde(default)]
    pub(crate) silences: Vec<Silence>,
    #[serde(default)]
    pub(crate) outbox: VecDeque<Delivery>,
    #[serde(default)]
    pub(crate) sent: VecDeque<Sent>,
    #[serde(default)]
    pub(crate) ledgers: BTreeMap<String, Ledger>,
    /// The question that a ledger was counted by.
    #[serde(default)]
    pub(crate) ledger_of: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) runs: BTreeMap<String, VecDeque<Run>>,
}

impl Book {
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let book: Self = serde_json::from_slice(&std::fs::read(path)?)?;
        match book.version {
            1 => Ok(book),
            other => Err(io::Error::other(format!("version {other} of it is not known"))),
        }
    }

    pub(crate) fn bytes(&mut self) -> serde_json::Result<Vec<u8>> {
        self.version = 1;
        serde_json::to_vec(self)
    }

    pub(crate) fn happened(&mut self, happened: Happened) {
        self.history.push_back(happened);
        while self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
    }

    pub(crate) fn sent(&mut self, sent: Sent) {
        self.sent.push_back(sent);
        while self.sent.len() > SENT_MAX {
            self.sent.pop_front();
        }
    }

    /// Puts a message in line; the oldest goes when there are too many, and that is told.
    pub(crate) fn enqueue(&mut self, delivery: Delivery) {
        if self.outbox.len() >= OUTBOX_MAX
            && let Some(old) = self.outbox.pop_front()
        {
            let why = Some("given up: too many messages wait".to_owned());
            self.sent(Sent {
                id: old.id,
                channel: old.channel,
                at_ms: delivery.at_ms,
                title: old.message.title(),
                tries: old.tries,
                why,
            });
        }
        self.outbox.push_back(delivery);
    }

    pub(crate) fn ran(&mut self, check: &str, run: Run) {
        let runs = self.runs.entry(check.to_owned()).or_default();
        runs.push_back(run);
        while runs.len() > RUNS_MAX {
            runs.pop_front();
        }
    }
}

/// Written beside and put in its place, so that a crash leaves the old or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fresh = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.json");
        let mut book = Book { version: 1, ..Book::default() };
        book.alerts.entry("error-rate".into()).or_default().push(Alert {
            rule: "error-rate".into(),
            labels: Labels::from([("service".into(), "web".into())]),
            severity: Severity::Page,
            class: Class::Symptom,
            phase: Phase::Firing { since_ms: 1, held_ms: 2 },
            resolved_ms: None,
            value: 0.5,
            text: "t".into(),
            link: "/".into(),
            told: BTreeMap::from([("ops".into(), 3)]),
        });
        book.silences.push(Silence {
            id: "s".into(),
            rule: None,
            labels: Labels::new(),
            from_ms: 0,
            until_ms: 9,
            reason: "r".into(),
        });
        write(&path, &book.bytes().unwrap()).unwrap();
        assert_eq!(Book::read(&path).unwrap(), book);
        std::fs::write(&path, "{\"version\":7}").unwrap();
        assert!(Book::read(&path).is_err());
    }

    #[test]
    fn the_outbox_is_bounded_and_says_what_it_gave_up() {
        let mut book = Book::default();
        for n in 0..OUTBOX_MAX + 3 {
            book.enqueue(Delivery {
                id: format!("m{n}"),
                channel: "ops".into(),
                at_ms: 0,
                message: crate::message::test("a", 0),
                tries: 0,
                next_ms: 0,
                why: None,
            });
        }
        assert_eq!(book.outbox.len(), OUTBOX_MAX);
        assert_eq!(book.outbox[0].id, "m3");
        assert_eq!(book.sent.len(), 3);
    }
}
