//! Processes: start, probe, restart, stop, capture output, adopt.
//!
//! One [`Supervisor`] runs the instances of one application. It is told the whole desired set
//! ([`Supervisor::apply`]) and makes it so: what follows from what is decided by pure state
//! machines (`machine`, `order`), one loop owns the state (`engine`), and the edges act:
//! `spawn` makes processes, `tree` ends them with all they forked, `cgroup` limits and counts,
//! `probe` asks, `output` reads what they print.
//!
//! Two rules hold everywhere. A process is never known by its number alone (`process`). And
//! services outlive the supervisor: what is needed to find them again (`record`) is on disk
//! before they run, so that the next one adopts them (`adopt`) and no process is ever forgotten.

#[cfg(not(target_os = "linux"))]
compile_error!("archipel-supervisor needs Linux: pidfd, /proc and control groups");

mod adopt;
mod build;
mod capabilities;
mod cgroup;
mod engine;
mod holder;
mod isolate;
mod machine;
mod memory;
mod once;
mod order;
mod output;
mod ports;
mod probe;
mod process;
mod record;
mod spawn;
mod spec;
mod status;
mod supervisor;
mod sweep;
mod sys;
mod toolchain;
mod tree;

pub use build::{BuildOutcome, BuildSpec};
pub use capabilities::{Capabilities, capabilities};
pub use holder::{Holder, port_holder};
pub use isolate::IsolationKind;
pub use memory::memory_hints;
pub use once::{OnceReport, OnceSpec};
pub use ports::{PortError, Ports, is_free};
pub use spawn::SpawnError;
pub use spec::{Config, InstanceSpec, Isolation, PORT_RANGE};
pub use status::{
    Exit, ExitReport, InstanceStatus, LAST_LINES_MAX, LINE_BYTES_MAX, LogLine, MemoryTier,
    ProbeReport, Stream,
};
pub use supervisor::{Shutdown, StartError, Statuses, Supervisor, UnknownInstances};
pub use sweep::{survivors, sweep};
pub use toolchain::{Toolchain, probe_toolchain};
