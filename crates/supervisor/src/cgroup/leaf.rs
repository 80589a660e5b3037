//! The group of one process tree.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archipel_model::{Bytes, Memory};

use super::{Cgroups, child_names, put};
use crate::process::kill_checked;
use crate::status::Exit;

/// Paths only, so that it can be stored and found again by the next supervisor.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Leaf {
    pub(crate) v2: Option<PathBuf>,
    pub(crate) v2_memory: bool,
    pub(crate) v1_memory: Option<PathBuf>,
    pub(crate) v1_freezer: Option<PathBuf>,
    pub(crate) limit: Option<u64>,
}

impl Leaf {
    /// Makes the group and sets its limits, before any process is in it.
    pub(crate) fn create(base: &Cgroups, name: &str, memory: Option<&Memory>) -> io::Result<Self> {
        let leaf = Self::at(base, name, memory.map(|memory| memory.limit.0));
        for dir in leaf.dirs() {
            match fs::create_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Somebody has tidied up while nothing ran: ours can be made anew.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    base.restore()?;
                    fs::create_dir(dir)?;
                }
                done => done?,
            }
        }
        if let Some(memory) = memory {
            leaf.set_limits(memory)?;
        }
        Ok(leaf)
    }

    /// The group of that name, existing or not.
    pub(crate) fn at(base: &Cgroups, name: &str, limit: Option<u64>) -> Self {
        Self {
            v2: base.v2.as_ref().map(|dir| dir.join(name)),
            v2_memory: base.v2_memory,
            v1_memory: base.v1_memory.as_ref().map(|dir| dir.join(name)),
            v1_freezer: base.v1_freezer.as_ref().map(|dir| dir.join(name)),
            limit,
        }
    }

    fn set_limits(&self, memory: &Memory) -> io::Result<()> {
        let limit = memory.limit.0.to_string();
        if self.v2_memory
            && let Some(dir) = &self.v2
        {
            put(dir.join("memory.max"), &limit)?;
            if let Some(high) = memory.high {
                put(dir.join("memory.high"), high.0.to_string())?;
            }
            let swap = memory.swap.map_or(0, |swap| swap.0);
            // Absent without swap accounting.
            let _ = put(dir.join("memory.swap.max"), swap.to_string());
            let _ = put(dir.join("memory.oom.group"), "1");
        } else if let Some(dir) = &self.v1_memory {
            put(dir.join("memory.limit_in_bytes"), &limit)?;
            let both = memory.limit.0.saturating_add(memory.swap.map_or(0, |swap| swap.0));
            let _ = put(dir.join("memory.memsw.limit_in_bytes"), both.to_string());
        }
        Ok(())
    }

    pub(crate) fn dirs(&self) -> impl Iterator<Item = &Path> {
        [&self.v2, &self.v1_memory, &self.v1_freezer].into_iter().flatten().map(PathBuf::as_path)
    }

    /// The kernel holds the tree for us.
    pub(crate) fn tracks(&self) -> bool {
        self.dirs().next().is_some()
    }

    pub(crate) fn limited_by_kernel(&self) -> bool {
        self.v2_memory || self.v1_memory.is_some()
    }

    /// For the fork that starts inside it.
    pub(crate) fn v2_fd(&self) -> io::Result<Option<OwnedFd>> {
        let Some(dir) = &self.v2 else { return Ok(None) };
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Some(rustix::fs::open(dir, flags, Mode::empty())?))
    }

    /// For the child, which enters these by itself.
    pub(crate) fn v1_procs(&self) -> io::Result<Vec<OwnedFd>> {
        let dirs = [&self.v1_memory, &self.v1_freezer].into_iter().flatten();
        dirs.map(|dir| {
            let file = fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"))?;
            Ok(file.into())
        })
        .collect()
    }

    /// Everyone in it, also in groups that a service made below its own.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for dir in self.dirs() {
            collect_pids(dir, 0, &mut pids);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Sends SIGKILL to all at once. Returns before they are gone.
    pub(crate) fn kill(&self) {
        if let Some(dir) = &self.v2
            && put(dir.join("cgroup.kill"), "1").is_ok()
        {
            // One that left for another hierarchy's group is still in v1's list.
            if self.v1_memory.is_none() {
                return;
            }
        }
        let frozen = self.freeze();
        for pid in self.pids() {
            kill_checked(pid, |pid| self.pids().contains(&pid));
        }
        if frozen && let Some(dir) = &self.v1_freezer {
            let _ = put(dir.join("freezer.state"), "THAWED");
        }
    }

    fn freeze(&self) -> bool {
        let Some(dir) = &self.v1_freezer else { return false };
        let file = dir.join("freezer.state");
        if put(&file, "FROZEN").is_err() {
            return false;
        }
        // Freezing takes a moment; a tree that resists is killed unfrozen, again and again.
        for _ in 0..20 {
            if fs::read_to_string(&file).is_ok_and(|state| state.trim() == "FROZEN") {
                break;
            }
            pause(Duration::from_millis(2));
        }
        true
    }

    /// What the tree itself occupies: page cache is charged to the group too, but is given back.
    pub(crate) fn memory(&self) -> Option<u64> {
        if self.v2_memory {
            let stat = fs::read_to_string(self.v2.as_ref()?.join("memory.stat")).ok()?;
            let kernel = field(&stat, "kernel").unwrap_or_else(|| {
                ["kernel_stack", "pagetables", "slab"]
                    .iter()
                    .filter_map(|name| field(&stat, name))
                    .sum()
            });
            return Some(field(&stat, "anon")? + kernel);
        }
        let dir = self.v1_memory.as_ref()?;
        let stat = fs::read_to_string(dir.join("memory.stat")).ok()?;
        let kernel = number(&dir.join("memory.kmem.usage_in_bytes")).unwrap_or(0);
        Some(field(&stat, "total_rss")? + kernel)
    }

    /// How often the kernel has killed in here for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if self.v2_memory {
            self.v2.as_ref().map(|dir| dir.join("memory.events"))
        } else {
            self.v1_memory.as_ref().map(|dir| dir.join("memory.oom_control"))
        };
        let Some(text) = file.and_then(|file| fs::read_to_string(file).ok()) else { return 0 };
        field(&text, "oom_kill").unwrap_or(0)
    }

    /// The most it ever occupied, page cache included: that is what met the limit.
    pub(crate) fn peak(&self) -> Option<Bytes> {
        let peak = if self.v2_memory {
            number(&self.v2.as_ref()?.join("memory.peak"))
        } else {
            number(&self.v1_memory.as_ref()?.join("memory.max_usage_in_bytes"))
        };
        peak.or(self.limit).map(Bytes)
    }

    /// A kill for want of memory looks like any other, or like a shell's 137, from outside.
    /// `by_us`: the peak, if we have ended it for its memory.
    pub(crate) fn true_exit(&self, exit: Exit, by_us: Option<Bytes>) -> Exit {
        let Some(limit) = self.limit.map(Bytes) else { return exit };
        if let Some(peak) = by_us.filter(|_| !self.limited_by_kernel()) {
            return Exit::OomKilled { limit, peak };
        }
        if self.oom_kills() > 0 && !exit.is_success() {
            return Exit::OomKilled { limit, peak: self.peak().unwrap_or(limit) };
        }
        exit
    }

    /// Takes the group away. `false`: somebody is still in it.
    pub(crate) fn remove(&self) -> bool {
        self.dirs().all(|dir| remove_tree(dir, 0))
    }
}

const DEPTH_MAX: u32 = 8;

fn collect_pids(dir: &Path, depth: u32, into: &mut Vec<i32>) {
    if let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) {
        into.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    if depth < DEPTH_MAX {
        for name in child_names(dir) {
            collect_pids(&dir.join(name), depth + 1, into);
        }
    }
}

fn remove_tree(dir: &Path, depth: u32) -> bool {
    if depth < DEPTH_MAX {
        for name in child_names(dir) {
            remove_tree(&dir.join(name), depth + 1);
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name { value.trim().parse().ok() } else { None }
    })
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "on a blocking thread, while a tree freezes")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
