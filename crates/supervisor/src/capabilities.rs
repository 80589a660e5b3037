//! What this machine lets us do: found out by trying, shown by `doctor` and `ps`.

use std::path::Path;

use crate::cgroup::Cgroups;
use crate::isolate::{IsolationKind, Isolator};
use crate::process;
use crate::status::MemoryTier;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Capabilities {
    /// Who keeps a memory limit.
    pub memory: MemoryTier,
    /// Why it is no better than that; empty when it is the best.
    pub memory_why: String,
    /// The kernel holds every process of an instance together, so none can slip away.
    pub tracks_processes: bool,
    pub isolation: IsolationKind,
    pub isolation_why: String,
    /// The exit status of adopted instances is known (Linux 6.15 and later).
    pub adopted_exit_status: bool,
    pub kernel: String,
}

impl Capabilities {
    pub(crate) fn new(cgroups: &Cgroups, isolator: &Isolator) -> Self {
        Self {
            memory: cgroups.tier(),
            memory_why: cgroups.why.clone(),
            tracks_processes: cgroups.tracks(),
            isolation: isolator.kind(),
            isolation_why: isolator.why().to_owned(),
            adopted_exit_status: process::kernel_tells_exits(),
            kernel: process::kernel_release(),
        }
    }
}

/// The same without a supervisor. Blocks for some milliseconds: it tries things out, and takes
/// away again what it made.
///
/// `scratch` is an existing directory.
pub fn capabilities(scratch: &Path) -> Capabilities {
    let name = format!("archipel-probe-{}", std::process::id());
    let cgroups = crate::cgroup::detect(Path::new("/sys/fs/cgroup"), &name);
    let found = Capabilities::new(&cgroups, &Isolator::detect(scratch));
    cgroups.remove_if_empty();
    found
}
