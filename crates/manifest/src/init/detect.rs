//! Looks for services in a tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::foreign::{self, Compose};
use super::{Candidate, Detected, free_name, languages};

/// Services lie near the top. Deeper, and beyond this many directories, lie other people's.
const DEPTH_MAX: usize = 4;
const DIRECTORIES_MAX: usize = 2_000;

const SKIPPED: [&str; 12] = [
    "node_modules",
    "target",
    "dist",
    "build",
    "out",
    "vendor",
    "venv",
    "__pycache__",
    "bin",
    "obj",
    "test-data",
    "testdata",
];

/// One directory and what it holds.
pub(super) struct Directory<'a> {
    pub(super) root: &'a Path,
    /// Relative to the root.
    pub(super) path: PathBuf,
    pub(super) files: BTreeSet<String>,
}

/// What a directory is.
pub(super) enum Finding {
    Nothing,
    Service(Candidate),
    /// Several programs, as in a Go module or a Cargo package.
    Services(Vec<Candidate>),
    /// It has the marker of a language and no way to start was found.
    Unclear(String),
}

impl Directory<'_> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains(name)
    }

    /// At most a mebibyte; what is larger, unreadable or no text is as if it were not there.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        use crate::files::{Disk, FILE_BYTES_MAX, Files as _};
        let bytes = Disk.read(&self.root.join(&self.path).join(name)).ok()?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return None;
        }
        String::from_utf8(bytes).ok()
    }

    /// Its own name; for the root, that of the directory on the disk.
    pub(super) fn name(&self) -> String {
        let own = self.path.file_name().or_else(|| self.root.file_name());
        own.map_or_else(|| "app".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    pub(super) fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

/// Looks into `root` and below for programs that could be services. Never fails: what cannot be
/// read is not there.
pub fn detect(root: &Path) -> Detected {
    // A relative root such as `.` has no name of its own.
    let root = &std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let mut detected = Detected::default();
    let mut compose = Compose::default();
    let mut taken = BTreeSet::new();
    for directory in directories(root) {
        if directory.path.as_os_str().is_empty() {
            compose = foreign::compose(&directory);
            let from_procfile = foreign::procfile(&directory, &mut detected.notes);
            if !from_procfile.is_empty() {
                add(from_procfile, &compose, &mut taken, &mut detected);
                continue;
            }
        }
        for look in languages::ALL {
            match look(&directory) {
                Finding::Nothing => continue,
                Finding::Service(service) => {
                    add(vec![service], &compose, &mut taken, &mut detected);
                }
                Finding::Services(services) => add(services, &compose, &mut taken, &mut detected),
                Finding::Unclear(note) => detected.notes.push(note),
            }
            break;
        }
    }
    detected.backing = compose.backing;
    detected
}

fn add(
    services: Vec<Candidate>,
    compose: &Compose,
    taken: &mut BTreeSet<String>,
    detected: &mut Detected,
) {
    for mut service in services {
        // The name people already use for what lies in this directory.
        let known = compose.built.iter().find(|(_, path)| *path == service.path);
        let wanted = known.map_or(service.name.as_str(), |(name, _)| name.as_str());
        service.name = free_name(wanted, taken);
        detected.services.push(service);
    }
}

/// The root and what is below it, in an order that does not depend on the file system.
fn directories(root: &Path) -> Vec<Directory<'_>> {
    let mut found = Vec::new();
    let mut waiting = vec![(PathBuf::new(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        if found.len() >= DIRECTORIES_MAX {
            break;
        }
        let Ok(entries) = std::fs::read_dir(root.join(&path)) else { continue };
        let mut files = BTreeSet::new();
        let mut below = BTreeSet::new();
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Links are not followed: they may lead in circles, or out of the tree.
            match entry.file_type() {
                Ok(kind) if kind.is_file() => {
                    files.insert(name);
                }
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX && !is_skipped(&name) => {
                    below.insert(name);
                }
                _ => {}
            }
        }
        waiting.extend(below.into_iter().rev().map(|name| (path.join(name), depth + 1)));
        found.push(Directory { root, path, files });
    }
    found
}

fn is_skipped(name: &str) -> bool {
    name.starts_with('.') || SKIPPED.contains(&name)
}
