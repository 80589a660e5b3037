//! All processes that one start has brought forth, however they hide.
//!
//! Where the kernel tracks them in a control group, that is the whole truth. Elsewhere two things
//! find them: the process group of the first one, as long as it lives, and an entry in the
//! environment, which children inherit and would have to clear on purpose.

use std::time::Duration;

use archipel_rt::{blocking, clock};

use crate::cgroup::Leaf;
use crate::process::{self, Process, kill_checked};

/// The name of the mark in the environment.
pub(crate) const MARK: &str = "ARCHIPEL_RUN";

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tree {
    pub(crate) leaf: Leaf,
    /// The value of [`MARK`], unique to one start.
    pub(crate) mark: String,
}

impl Tree {
    pub(crate) fn pids(&self) -> Vec<i32> {
        if self.leaf.tracks() { self.leaf.pids() } else { self.pids_by_mark() }
    }

    fn entry(&self) -> String {
        format!("{MARK}={}", self.mark)
    }

    fn pids_by_mark(&self) -> Vec<i32> {
        let entry = self.entry();
        let found = process::pids_with_env_prefix(&entry);
        found.into_iter().filter(|(_, found)| *found == entry).map(|(pid, _)| pid).collect()
    }

    pub(crate) fn kill(&self) {
        if self.leaf.tracks() {
            self.leaf.kill();
            return;
        }
        let entry = self.entry();
        for pid in self.pids_by_mark() {
            kill_checked(pid, |pid| {
                process::env_entry(pid, &entry).is_some_and(|found| found == entry)
            });
        }
    }

    /// Kills and waits until nobody is left, however long that takes: a process in an
    /// uninterruptible wait must not be joined by its successor.
    pub(crate) async fn end(self, first: Option<Process>) {
        let mut pause = Duration::from_millis(1);
        let started = clock::now();
        let mut told = false;
        loop {
            let tree = self.clone();
            let first = first.clone();
            let gone = blocking(move || {
                if let Some(first) = first.filter(Process::is_alive) {
                    first.kill();
                }
                tree.pids().is_empty() || {
                    tree.kill();
                    tree.pids().is_empty()
                }
            })
            .await;
            if gone {
                return;
            }
            if !told && started.elapsed() > Duration::from_secs(10) {
                told = true;
                tracing::warn!(mark = %self.mark, "processes resist SIGKILL; waiting for them");
            }
            clock::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }
}
