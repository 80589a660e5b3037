//! What the supervisor is told: where it lives, and what is to run.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use archipel_model::{AppName, Health, InstanceId, Memory, Protocol, Restart, Stop};

/// Where ports come from unless told otherwise: outside the range from which the kernel takes
/// the ports of outgoing connections, so that no client can be sitting on one.
pub const PORT_RANGE: RangeInclusive<u16> = 21_000..=28_999;

/// One supervisor: one application, one directory of state.
#[derive(Debug, Clone)]
pub struct Config {
    pub app: AppName,
    /// Made with mode 0700 when missing. Records, log pipes, ports and the lock live in it.
    pub state_dir: PathBuf,
    /// Instances in their start at once; nine JVMs that start together all miss their deadline.
    pub starts_max: usize,
    pub port_range: RangeInclusive<u16>,
    /// `false`: services may see each other's data even where that could be prevented.
    pub isolation: bool,
    /// Seeds the jitter of restarts; `None`: from process and time.
    pub seed: Option<u64>,
    /// Where control groups are looked for; a test puts a made-up tree here.
    pub cgroup_root: PathBuf,
}

impl Config {
    pub fn new(app: AppName, state_dir: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            app,
            state_dir,
            starts_max: cores,
            port_range: PORT_RANGE,
            isolation: true,
            seed: None,
            cgroup_root: PathBuf::from("/sys/fs/cgroup"),
        }
    }
}

/// One instance as it should run.
#[derive(Clone)]
pub struct InstanceSpec {
    pub id: InstanceId,
    /// Program and arguments, variables filled in.
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    /// The complete environment; nothing is inherited. Holds secrets: never logged or stored.
    pub env: BTreeMap<String, String>,
    /// Where it listens; `None`: it takes no requests, so it has no drain and no default probe.
    pub port: Option<u16>,
    pub protocol: Protocol,
    pub health: Health,
    pub memory: Option<Memory>,
    pub stop: Stop,
    pub restart: Restart,
    pub isolate: Isolation,
    /// Whoever changes it wants the process replaced.
    pub spec_hash: String,
    /// Order of start: lower first, reversed when stopping.
    pub level: u32,
}

impl fmt::Debug for InstanceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceSpec")
            .field("id", &self.id)
            .field("argv", &self.argv.first())
            .field("cwd", &self.cwd)
            .field("port", &self.port)
            .field("spec_hash", &self.spec_hash)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// Which part of the file system a process must not see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Directories to cover: the root of all data, Archipel's own state.
    pub hide: Vec<PathBuf>,
    /// Inside those, what stays visible and writable: the instance's own directory.
    pub keep: Vec<PathBuf>,
}
