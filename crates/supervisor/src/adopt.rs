//! Takes over what an earlier supervisor left: after its crash, its kill, its own restart.
//!
//! A service is adopted when its record, its start time and its control group agree that it is
//! the one. Everything else that carries our marks is ended: commands whose asker is gone,
//! processes announced on disk by a supervisor that died before it learned their number, members
//! of our groups that no record knows. So after an adoption every process of ours is known.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use archipel_rt::blocking;

use crate::cgroup::{Cgroups, Leaf};
use crate::process::{Process, kill_checked, pids_with_env_prefix};
use crate::record::{Kind, Paths, Record, write_whole};
use crate::supervisor::own_name;
use crate::tree::MARK;

/// A service that lives and that we hold again.
pub(crate) struct Adopted {
    pub(crate) record: Record,
    pub(crate) process: Process,
}

/// What is known of earlier supervisors of one state directory.
pub(crate) struct Inheritance {
    records: Vec<Record>,
    /// Directories of control groups that they used; ours may be others, because it depends on
    /// where a supervisor is started from.
    bases: BTreeSet<PathBuf>,
    name: String,
}

impl Inheritance {
    pub(crate) async fn find(paths: &Paths) -> Self {
        let paths = paths.clone();
        blocking(move || Self {
            records: Record::read_all(&paths.instances()),
            bases: read_bases(&paths.cgroups()),
            name: own_name(&paths.root),
        })
        .await
    }

    /// Remembers, before anything is started, where groups of ours may be.
    pub(crate) fn announce(&self, paths: &Paths, cgroups: &Cgroups) {
        let mut bases = self.bases.clone();
        bases.retain(|base| base.exists());
        bases.extend(cgroups.bases().map(Path::to_path_buf));
        let done = serde_json::to_vec(&bases)
            .map_err(std::io::Error::from)
            .and_then(|bytes| write_whole(&paths.cgroups(), &bytes));
        if let Err(error) = done {
            tracing::warn!(%error, "cannot store where the control groups are");
        }
    }

    /// Takes hold of every service that lives and ends everything else of ours. The number is of
    /// those that were ended.
    pub(crate) async fn take(&self, paths: &Paths) -> (Vec<Adopted>, usize) {
        let mut adopted: Vec<Adopted> = Vec::new();
        let mut ended = 0;
        for record in &self.records {
            let held = record.process.clone().and_then(Process::adopt).filter(|process| {
                !record.tree.leaf.tracks() || record.tree.leaf.pids().contains(&process.pid())
            });
            let is_first = adopted.iter().all(|other| other.record.id != record.id);
            match held {
                Some(process) if record.kind == Kind::Service && is_first => {
                    adopted.push(Adopted { record: record.clone(), process });
                }
                held => {
                    if held.is_some() || !record.tree.pids().is_empty() {
                        ended += 1;
                    }
                    clear_away(paths, record.clone(), held).await;
                }
            }
        }
        ended += self.end_unknown(&adopted).await;
        (adopted, ended)
    }

    /// Ends members of our groups, and bearers of our mark, that belong to none of `adopted`.
    async fn end_unknown(&self, adopted: &[Adopted]) -> usize {
        let known: BTreeSet<PathBuf> = adopted
            .iter()
            .flat_map(|one| one.record.tree.leaf.dirs().map(Path::to_path_buf))
            .collect();
        let marks: Vec<String> =
            adopted.iter().map(|one| format!("{MARK}={}", one.record.tree.mark)).collect();
        let mut ended = 0;
        for base in &self.bases {
            let Ok(entries) = fs::read_dir(base) else { continue };
            let dirs = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
            for dir in dirs.map(|entry| entry.path()).filter(|dir| !known.contains(dir)) {
                // Which kind of group it is only matters for how it is killed: by all ways.
                let leaf = Leaf { v2: Some(dir), ..Leaf::default() };
                let members = leaf.pids();
                if !members.is_empty() {
                    tracing::warn!(?members, "ending processes of ours that no record knows");
                    ended += 1;
                }
                crate::tree::Tree { leaf: leaf.clone(), mark: String::new() }.end(None).await;
                leaf.remove();
            }
        }
        let prefix = format!("{MARK}={}/", self.name);
        ended + blocking(move || kill_unknown_marked(&prefix, &marks)).await
    }

    /// Nothing lives any more: no trace stays either.
    pub(crate) async fn forget(&self, paths: &Paths) {
        let paths = paths.clone();
        let bases = self.bases.clone();
        blocking(move || {
            for base in bases {
                let _ = fs::remove_dir(base);
            }
            let _ = fs::remove_file(paths.cgroups());
            if let Ok(entries) = fs::read_dir(paths.pipes()) {
                for entry in entries.flatten() {
                    let _ = fs::remove_file(entry.path());
                }
            }
        })
        .await;
    }
}

/// Ends a recorded tree and removes its group and its record.
pub(crate) async fn clear_away(paths: &Paths, record: Record, process: Option<Process>) {
    record.tree.clone().end(process).await;
    let dir = paths.instances();
    blocking(move || {
        record.tree.leaf.remove();
        record.remove(&dir);
    })
    .await;
}

fn read_bases(path: &Path) -> BTreeSet<PathBuf> {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Kills who bears a mark that begins with `prefix` and is none of `known`, until none is left
/// or they resist. The supervisor itself bears none.
fn kill_unknown_marked(prefix: &str, known: &[String]) -> usize {
    const ROUNDS: usize = 20;
    let mut ended = BTreeSet::new();
    for _ in 0..ROUNDS {
        let unknown: Vec<i32> = pids_with_env_prefix(prefix)
            .into_iter()
            .filter(|(_, entry)| !known.contains(entry))
            .map(|(pid, _)| pid)
            .collect();
        if unknown.is_empty() {
            break;
        }
        for pid in unknown {
            ended.insert(pid);
            kill_checked(pid, |pid| crate::process::env_entry(pid, prefix).is_some());
        }
    }
    ended.len()
}
