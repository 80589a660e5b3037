//! The people in the store: `store-load`, and what it tells of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What people want, and the pages that this takes.
pub(crate) const ACTS: [(&str, &[&str]); 7] = [
    ("browse", &["home", "list", "product"]),
    ("search", &["search"]),
    ("cart", &["basket"]),
    ("sign in", &["register", "account", "sign in"]),
    ("check out", &["checkout", "address", "delivery", "card page", "card", "review again"]),
    ("submit", &["submit", "submit twice"]),
    ("see the order", &["order", "bank", "bank answer"]),
];

/// People who look around and people who buy, side by side.
pub(crate) struct Load {
    children: Vec<(Child, PathBuf)>,
}

/// Attempts, failures, and how long each took.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) tried: u64,
    pub(crate) failed: u64,
    pub(crate) ms: Vec<u64>,
}

/// What people did in one third, by [`ACTS`].
pub(crate) type Third = [Tally; ACTS.len()];

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) thirds: [Third; 3],
    pub(crate) promised: Vec<String>,
}

impl Load {
    pub(crate) fn start(bin: &Path, url: &str, third: Duration, seed: u64, dir: &Path) -> Self {
        let seconds = third.as_secs();
        let windows = format!("{seconds},{}", 2 * seconds);
        let child = |name: &str, rate: &str, more: &[&str]| {
            let accepted = dir.join(format!("{name}-{seed}"));
            let child = Command::new(bin)
                .args(["--url", url, "--rate", rate, "--for", &(3 * seconds).to_string()])
                .args(["--windows", &windows, "--seed", &seed.to_string(), "--json"])
                .arg("--accepted")
                .arg(&accepted)
                .args(more)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn();
            (child.expect("store-load has been built"), accepted)
        };
        let lookers = child("lookers", "2", &[]);
        let buyers = child("buyers", "1", &["--buyers-only"]);
        Self { children: vec![lookers, buyers] }
    }

    pub(crate) fn finish(self) -> Seen {
        let mut seen = Seen::default();
        for (child, accepted) in self.children {
            let output = child.wait_with_output().expect("it ends");
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            seen.add(&report);
            let text = std::fs::read_to_string(accepted).unwrap_or_default();
            seen.promised.extend(text.lines().map(str::to_owned));
        }
        seen
    }
}

impl Seen {
    fn add(&mut self, report: &Value) {
        for (name, step) in report["steps"].as_object().into_iter().flatten() {
            let Some(act) = ACTS.iter().position(|(_, steps)| steps.contains(&name.as_str()))
            else {
                panic!("store-load tells of `{name}`, which belongs to nothing that people want");
            };
            for (at, third) in self.thirds.iter_mut().enumerate() {
                let (tally, window) = (&mut third[act], &step["windows"][at]);
                tally.tried += window["count"].as_u64().unwrap_or_default();
                tally.failed += window["failed"].as_u64().unwrap_or_default();
                let times = window["ms"].as_array().into_iter().flatten();
                tally.ms.extend(times.filter_map(Value::as_u64));
            }
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.tried += other.tried;
        self.failed += other.failed;
        self.ms.extend(&other.ms);
    }

    /// The slowest of a hundred.
    pub(crate) fn p99(&self) -> Option<Duration> {
        let mut sorted = self.ms.clone();
        sorted.sort_unstable();
        let at = (sorted.len().checked_sub(1)? as f64 * 0.99).round() as usize;
        Some(Duration::from_millis(sorted[at]))
    }
}
