//! Control groups: how a tree of processes is held together, limited, measured and ended.
//!
//! Version 2 does all of it and ends a whole tree by one write. Version 1 limits memory, each
//! kind of control in a hierarchy of its own; machines often mount both ("hybrid"), and then
//! version 1 limits while version 2 holds and kills. Which of them we may use is found out once,
//! at the start, by trying (`detect`), and is always shown: a limit that nobody keeps must not
//! look like one.

mod detect;
mod leaf;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::status::MemoryTier;

pub(crate) use detect::detect;
pub(crate) use leaf::Leaf;

/// The directories of ours in which each instance gets one of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroups {
    pub(crate) v2: Option<PathBuf>,
    /// Groups below `v2` have memory control.
    pub(crate) v2_memory: bool,
    pub(crate) v1_memory: Option<PathBuf>,
    /// Only where `v2` is absent: to stop a tree from forking while it is being killed.
    pub(crate) v1_freezer: Option<PathBuf>,
    /// Why the tier is no better; shown by `doctor`.
    pub(crate) why: String,
}

impl Cgroups {
    /// Who keeps a memory limit.
    pub(crate) fn tier(&self) -> MemoryTier {
        if self.v2_memory {
            MemoryTier::V2
        } else if self.v1_memory.is_some() {
            MemoryTier::V1
        } else {
            MemoryTier::Poll
        }
    }

    /// Every hierarchy that holds a whole tree, whatever it forks.
    pub(crate) fn tracks(&self) -> bool {
        self.v2.is_some() || self.v1_memory.is_some() || self.v1_freezer.is_some()
    }

    pub(crate) fn bases(&self) -> impl Iterator<Item = &Path> {
        [&self.v2, &self.v1_memory, &self.v1_freezer].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Makes our own directories again.
    fn restore(&self) -> io::Result<()> {
        for base in self.bases() {
            match fs::create_dir(base) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => done?,
            }
        }
        match &self.v2 {
            Some(base) if self.v2_memory => put(base.join("cgroup.subtree_control"), "+memory"),
            _ => Ok(()),
        }
    }

    /// Removes our own directories when nothing is left in them.
    pub(crate) fn remove_if_empty(&self) {
        for base in self.bases() {
            let _ = fs::remove_dir(base);
        }
    }
}

/// Writes a control file. Unlike `fs::write` it makes none: where the kernel does not offer a
/// control, that must be an error.
fn put(file: impl AsRef<Path>, text: impl AsRef<[u8]>) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_ref())
}

fn child_names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
