//! What the loop knows of one instance.

use std::sync::Arc;
use std::time::Duration;

use archipel_model::{InstanceId, InstanceState};
use archipel_rt::CancellationToken;
use archipel_rt::clock::{self, Instant};

use crate::machine::{Machine, Phase, Policy, Why};
use crate::order::{Place, Standing};
use crate::output::Output;
use crate::process::Process;
use crate::record::Record;
use crate::spec::InstanceSpec;
use crate::status::{Exit, ExitReport, InstanceStatus, MemoryTier, ProbeReport};
use crate::tree::Tree;

/// The process that runs now.
pub(super) struct Run {
    /// `None`: adopted, and nobody has applied a specification yet.
    pub(super) spec: Option<Arc<InstanceSpec>>,
    pub(super) process: Process,
    pub(super) tree: Tree,
    pub(super) record: Record,
    pub(super) adopted: bool,
    pub(super) started: Instant,
    /// Ends what was started beside it: probes.
    pub(super) stop: CancellationToken,
}

pub(super) struct Cell {
    id: InstanceId,
    /// What should run; `None`: adopted and not applied yet.
    pub(super) spec: Option<Arc<InstanceSpec>>,
    pub(super) spec_hash: String,
    pub(super) machine: Machine,
    pub(super) run: Option<Run>,
    pub(super) run_no: u64,
    pub(super) output: Option<Output>,
    pub(super) probe_last: Option<ProbeReport>,
    /// For whom or what it waits: for its start, or to be replaced.
    pub(super) waits: String,
    /// It is to be ended and started anew, when its turn comes.
    pub(super) again: Option<Why>,
    pub(super) dirty: bool,
    level: u32,
    started_at_ms: Option<u64>,
    ready_since_ms: Option<u64>,
    /// The first process has ended; how, is known for sure when the rest has.
    ending: Option<ExitReport>,
    last_exit: Option<ExitReport>,
    memory_bytes: Option<u64>,
    memory_peak: u64,
    published: Option<Arc<InstanceStatus>>,
}

pub(super) fn policy(spec: &InstanceSpec) -> Policy {
    Policy {
        restart: spec.restart,
        drain: if spec.port.is_some() { spec.stop.drain } else { Duration::ZERO },
        grace: spec.stop.grace,
        startup_within: spec.health.startup.within,
    }
}

impl Cell {
    pub(super) fn new(spec: Arc<InstanceSpec>, seed: u64, now: Instant) -> Self {
        let machine = Machine::new(policy(&spec), seed, now);
        let mut cell = Self::with(spec.id.clone(), machine);
        cell.spec_hash.clone_from(&spec.spec_hash);
        cell.level = spec.level;
        cell.spec = Some(spec);
        cell
    }

    pub(super) fn adopted(record: &Record, seed: u64, now: Instant) -> Self {
        let policy = Policy {
            restart: archipel_model::Restart::default(),
            drain: Duration::ZERO,
            grace: Duration::from_millis(record.grace_ms),
            startup_within: archipel_model::Health::default().startup.within,
        };
        let machine = Machine::adopted(policy, seed, record.ready, record.restarts, now);
        let mut cell = Self::with(record.id.clone(), machine);
        cell.spec_hash.clone_from(&record.spec_hash);
        cell.level = record.level;
        cell.run_no = record.run;
        cell.started_at_ms = Some(record.started_at_ms);
        cell.ready_since_ms = record.ready.then_some(record.started_at_ms);
        cell
    }

    fn with(id: InstanceId, machine: Machine) -> Self {
        Self {
            id,
            spec: None,
            spec_hash: String::new(),
            machine,
            run: None,
            run_no: 0,
            output: None,
            probe_last: None,
            waits: String::new(),
            again: None,
            dirty: true,
            level: 0,
            started_at_ms: None,
            ready_since_ms: None,
            ending: None,
            last_exit: None,
            memory_bytes: None,
            memory_peak: 0,
            published: None,
        }
    }

    /// `None`: it cannot be started, because what it should be is not known yet.
    pub(super) fn place(&self) -> Option<Place> {
        let spec = self.spec.as_ref()?;
        let first = self.machine.attempt == 0;
        let standing = match *self.machine.phase() {
            Phase::Pending { since } => Standing::Pending { since, first },
            Phase::Spawning => Standing::Starting { since: clock::now(), first },
            Phase::Starting { since, .. } => Standing::Starting { since, first },
            _ => Standing::Settled,
        };
        Some(Place { level: spec.level, standing })
    }

    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// The next start: what it is given, and the number of its process.
    pub(super) fn begin_run(&mut self) -> Option<(Arc<InstanceSpec>, u64)> {
        let spec = self.spec.clone()?;
        self.run_no = clock::wall_ms().max(self.run_no + 1);
        self.again = None;
        self.level = spec.level;
        self.machine.set_policy(policy(&spec));
        self.probe_last = None;
        self.memory_peak = 0;
        Some((spec, self.run_no))
    }

    pub(super) fn started(&mut self, run: Run) {
        self.started_at_ms = Some(run.record.started_at_ms);
        self.run = Some(run);
    }

    /// The state has just changed to `state`.
    pub(super) fn entered(&mut self, state: InstanceState) {
        match state {
            InstanceState::Ready => self.ready_since_ms = Some(clock::wall_ms()),
            _ => self.ready_since_ms = None,
        }
    }

    /// The first process ended; the rest of the tree may still live.
    pub(super) fn note_exit(&mut self, exit: Exit) {
        let Some(run) = &self.run else { return };
        run.stop.cancel();
        self.ending = Some(ExitReport {
            exit,
            at_ms: clock::wall_ms(),
            ran: run.started.elapsed(),
            was_ready: self.machine.was_ready(),
            ended_by: self.machine.ended_by(),
        });
    }

    /// Nothing of the process is left. Returns what is to be said about it.
    pub(super) fn finish_run(&mut self, exit: Exit) -> String {
        if let Some(report) = self.ending.take() {
            self.last_exit = Some(ExitReport { exit, ..report });
        }
        self.run = None;
        self.memory_bytes = None;
        self.started_at_ms = None;
        match &self.last_exit {
            Some(report) => report.to_string(),
            None => exit.to_string(),
        }
    }

    pub(super) fn measured(&mut self, bytes: Option<u64>) {
        self.memory_peak = self.memory_peak.max(bytes.unwrap_or(0));
        if self.memory_bytes != bytes {
            self.memory_bytes = bytes;
            self.dirty = true;
        }
        // Lines arrive without an event; a look now and then keeps the last ones current.
        if self.machine.state() != InstanceState::Ready {
            self.dirty = true;
        }
    }

    /// How the first process ended, as its parent saw it.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.ending.as_ref().map(|report| report.exit)
    }

    pub(super) fn memory_peak(&self) -> u64 {
        self.memory_peak
    }

    pub(super) fn memory_limit(&self) -> Option<u64> {
        match &self.run {
            Some(run) => run.tree.leaf.limit,
            None => Some(self.spec.as_ref()?.memory?.limit.0),
        }
    }

    pub(super) fn remove_output(mut self) {
        if let Some(output) = self.output.take() {
            output.remove();
        }
    }

    /// The status as it is now; the one published before, if nothing has changed.
    pub(super) fn status(&mut self, tier: MemoryTier) -> Arc<InstanceStatus> {
        if !self.dirty
            && let Some(published) = &self.published
        {
            return published.clone();
        }
        self.dirty = false;
        let state = self.machine.state();
        let next_start_at_ms = match *self.machine.phase() {
            Phase::BackingOff { until } => {
                let wait = until.saturating_duration_since(clock::now());
                Some(clock::wall_ms() + u64::try_from(wait.as_millis()).unwrap_or(0))
            }
            _ => None,
        };
        let last_lines = match (&self.output, state) {
            (None, _) | (_, InstanceState::Ready) => Vec::new(),
            (Some(output), _) => output.shared.last_lines(),
        };
        let running = self.run.as_ref();
        let memory_limit = self.memory_limit();
        let status = Arc::new(InstanceStatus {
            id: self.id.clone(),
            state,
            pid: running.map(|run| run.process.pid()),
            port: match running {
                Some(run) => run.record.port,
                None => self.spec.as_ref().and_then(|spec| spec.port),
            },
            spec_hash: match running {
                Some(run) => run.record.spec_hash.clone(),
                None => self.spec_hash.clone(),
            },
            run: self.run_no,
            started_at_ms: self.started_at_ms,
            ready_since_ms: self.ready_since_ms,
            restarts: self.machine.restarts,
            attempt: self.machine.attempt,
            next_start_at_ms,
            last_exit: self.last_exit.clone(),
            probe_last: self.probe_last.clone(),
            memory_bytes: self.memory_bytes,
            memory_limit,
            memory_tier: if memory_limit.is_some() { tier } else { MemoryTier::None },
            adopted: running.is_some_and(|run| run.adopted),
            reason: match state {
                InstanceState::Pending if self.machine.attempt == 0 && !self.waits.is_empty() => {
                    Some(self.waits.clone())
                }
                InstanceState::Ready if self.again.is_some() => Some(self.waits.clone()),
                _ => self.machine.reason(),
            },
            last_lines,
        });
        self.published = Some(status.clone());
        status
    }
}
