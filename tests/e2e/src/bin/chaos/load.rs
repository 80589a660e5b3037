//! The people in the store: `store-load`, and what it tells of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// People who look around and people who buy, side by side.
pub(crate) struct Load {
    children: Vec<(Child, PathBuf)>,
}

/// Attempts and failures.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) tried: u64,
    pub(crate) failed: u64,
}

/// What people did in one third, by what they wanted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Third {
    pub(crate) browse: Tally,
    pub(crate) checkout: Tally,
    pub(crate) submit: Tally,
    pub(crate) order: Tally,
}

#[derive(Debug, Default)]
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
        let steps = report["steps"].as_object().cloned().unwrap_or_default();
        for (name, step) in &steps {
            for (at, third) in self.thirds.iter_mut().enumerate() {
                let group = match name.as_str() {
                    "home" | "list" | "search" | "product" | "basket" => &mut third.browse,
                    "submit" | "submit twice" => &mut third.submit,
                    "order" => &mut third.order,
                    _ => &mut third.checkout,
                };
                let number = |n: usize| step["windows"][at][n].as_u64().unwrap_or_default();
                group.tried += number(0);
                group.failed += number(1);
            }
        }
    }
}
