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

impl Capabilities {
    /// One line each for people: what, whether it is as good as it can be, and how it is.
    pub fn findings(&self) -> Vec<(&'static str, bool, String)> {
        let because = |why: &str| if why.is_empty() { String::new() } else { format!(" ({why})") };
        let memory = match self.memory {
            MemoryTier::V2 => "limits are kept by the kernel (cgroup v2)".to_owned(),
            MemoryTier::V1 => "limits are kept by the kernel (cgroup v1)".to_owned(),
            MemoryTier::Poll | MemoryTier::None => format!(
                "limits are soft: Archipel looks twice a second{}",
                because(&self.memory_why)
            ),
        };
        let tracking = if self.tracks_processes {
            "the kernel holds each service's processes together".to_owned()
        } else {
            "processes are found by a mark in their environment".to_owned()
        };
        let isolation = match self.isolation {
            IsolationKind::Sealed => "services cannot see each other's data".to_owned(),
            IsolationKind::UserNamespace => {
                "services cannot see each other's data (user namespaces)".to_owned()
            }
            IsolationKind::MountNamespace => format!(
                "services cannot see each other's data, unless one that runs as root breaks out{}",
                because(&self.isolation_why)
            ),
            IsolationKind::None => {
                format!("services can read each other's data{}", because(&self.isolation_why))
            }
        };
        let exits = if self.adopted_exit_status {
            "exit codes of adopted services are known".to_owned()
        } else {
            "exit codes of adopted services are unknown before Linux 6.15".to_owned()
        };
        vec![
            ("kernel", true, format!("Linux {}; {exits}", self.kernel)),
            ("memory", matches!(self.memory, MemoryTier::V1 | MemoryTier::V2), memory),
            ("processes", true, tracking),
            ("isolation", self.isolation != IsolationKind::None, isolation),
        ]
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
