//! Has effects done: each by a task that reports back to the loop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{Bytes, Check, InstanceId};
use archipel_rt::{blocking, clock};
use regex::Regex;

use super::cell::{Cell, Run, policy};
use super::start::{Started, beside, start};
use super::{Engine, Happened, Measured, RunKey};
use crate::adopt::Adopted;
use crate::machine::{Effect, Event, Why};
use crate::output::{Output, pipe_bytes};
use crate::probe::{Asker, NotifySocket, Prober, Subject};
use crate::process::Process;
use crate::record::Record;
use crate::spawn::SpawnError;
use crate::spec::InstanceSpec;
use crate::status::{Exit, MemoryTier};
use crate::supervisor::Common;
use crate::tree::Tree;

/// The last lines are worth waiting for, but not for ever.
const FLUSH_MAX: Duration = Duration::from_secs(5);

impl Engine {
    pub(super) fn act(&mut self, id: &InstanceId, effect: &Effect) {
        match effect {
            Effect::Spawn => self.spawn(id),
            Effect::Ask => self.ask(id),
            Effect::Kill => self.kill(id),
            Effect::Clear => self.clear(id),
            Effect::Remember => self.remember(id),
            Effect::Forget => {
                if let Some(cell) = self.cells.remove(id) {
                    cell.remove_output();
                }
            }
        }
    }

    fn spawn(&mut self, id: &InstanceId) {
        let instances = self.cells.len();
        let Some(cell) = self.cells.get_mut(id) else { return };
        let Some((spec, run_no)) = cell.begin_run() else { return };
        let key = (id.clone(), run_no);
        let pattern = match &spec.health.startup.check {
            Check::Log { pattern } => Regex::new(pattern).ok(),
            _ => None,
        };
        if cell.output.is_none() {
            match self.common.open_output(id, instances) {
                Ok(output) => cell.output = Some(output),
                Err(error) => {
                    let text = format!("cannot open its output pipes: {error}");
                    self.step(id, Event::SpawnFailed { is_final: false, text });
                    return;
                }
            }
        }
        let Some(output) = &cell.output else { return };
        output.shared.restart(pattern);
        let ends = output.ends();
        let restarts = cell.machine.restarts;
        let common = self.common.clone();
        let happened = self.happened_tx.clone();
        self.common.tasks.spawn("supervisor.spawn", async move {
            let result = blocking(move || {
                reported(|| {
                    let ends =
                        ends.map_err(|error| SpawnError::system("open its output", &error))?;
                    start(&common, &spec, run_no, restarts, ends)
                })
            })
            .await;
            let _ = happened.send(Happened::Spawned { key, result }).await;
        });
    }

    pub(super) fn on_spawned(
        &mut self,
        key: &RunKey,
        result: Result<Box<Started>, (bool, String)>,
    ) {
        let Some(cell) = self.current(key) else { return };
        match result {
            Err((is_final, text)) => {
                self.say(&key.0, text.clone());
                self.step(&key.0, Event::SpawnFailed { is_final, text });
            }
            Ok(started) => {
                let started = *started;
                let spec = cell.spec.clone();
                let said = match started.record.port {
                    Some(port) => format!("process {} on port {port}", started.process.pid()),
                    None => format!("process {}", started.process.pid()),
                };
                let run = self.new_run(key, spec, started.process, started.record, false);
                if let Some(cell) = self.current(key) {
                    cell.started(run);
                }
                self.say(&key.0, said);
                self.step(&key.0, Event::Spawned);
                self.probe(&key.0, started.notify);
            }
        }
    }

    /// Takes hold of a process that an earlier supervisor has started.
    pub(super) fn take_over(&mut self, adopted: Adopted) {
        let Adopted { record, process } = adopted;
        let id = record.id.clone();
        let key = (id.clone(), record.run);
        let mut cell = Cell::adopted(&record, self.seed(&id), clock::now());
        match self.common.open_output(&id, 1) {
            Ok(output) => cell.output = Some(output),
            Err(error) => tracing::warn!(instance = %id, %error, "cannot open its output pipes"),
        }
        let said = format!("adopted process {}", process.pid());
        let run = self.new_run(&key, None, process, record, true);
        cell.started(run);
        self.cells.insert(id.clone(), cell);
        self.say(&id, said);
    }

    /// An adopted process whose specification has arrived and is the same: probe it.
    pub(super) fn resume(&mut self, id: &InstanceId) {
        let Some(cell) = self.cells.get_mut(id) else { return };
        let Some(spec) = cell.spec.clone() else { return };
        cell.machine.set_policy(policy(&spec));
        let Some(run) = &mut cell.run else { return };
        run.spec = Some(spec);
        let notify = run.record.notify.as_deref().filter(|_| !run.record.ready);
        let notify = notify.and_then(|name| NotifySocket::bind(name).ok());
        self.probe(id, notify);
    }

    fn new_run(
        &self,
        key: &RunKey,
        spec: Option<Arc<InstanceSpec>>,
        process: Process,
        record: Record,
        adopted: bool,
    ) -> Run {
        let happened = self.happened_tx.clone();
        let watched = process.clone();
        let watched_key = key.clone();
        let stop = self.common.tasks.stop_token().child_token();
        let ending = self.common.tasks.stop_token();
        self.common.tasks.spawn("supervisor.watch", async move {
            tokio::select! {
                biased;
                () = ending.cancelled() => {}
                exit = watched.exited() => {
                    let _ = happened.send(Happened::Exited { key: watched_key, exit }).await;
                }
            }
        });
        let tree = record.tree.clone();
        let age = Duration::from_millis(clock::wall_ms().saturating_sub(record.started_at_ms));
        let now = clock::now();
        let started = now.checked_sub(age).unwrap_or(now);
        Run { spec, process, tree, record, adopted, started, stop }
    }

    fn probe(&self, id: &InstanceId, notify: Option<NotifySocket>) {
        let Some(cell) = self.cells.get(id) else { return };
        let (Some(run), Some(output)) = (&cell.run, &cell.output) else { return };
        let Some(spec) = &run.spec else { return };
        let subject = Subject {
            port: spec.port,
            cwd: spec.cwd.clone(),
            env: spec.env.clone(),
            isolation: spec.isolate.clone(),
            leaf: run.tree.leaf.clone(),
            mark: run.tree.mark.clone(),
            spawner: self.common.spawner.clone(),
            tasks: self.common.tasks.clone(),
            pattern_seen: output.shared.seen(),
            notify,
        };
        let prober = Prober {
            asker: Asker::new(subject),
            health: Arc::new(spec.health.clone()),
            tag: (id.clone(), cell.run_no),
            news: self.news_tx.clone(),
            stop: run.stop.clone(),
            last: None,
            origin: self.origin,
            has_started: run.record.ready,
        };
        self.common.tasks.spawn("supervisor.probe", prober.run());
    }

    fn ask(&self, id: &InstanceId) {
        let Some(run) = self.cells.get(id).and_then(|cell| cell.run.as_ref()) else { return };
        let signal = run.record.stop_signal;
        let process = run.process.clone();
        let command =
            run.spec.as_ref().and_then(|spec| Some((spec.clone(), spec.stop.command.clone()?)));
        let Some((spec, command)) = command else {
            process.signal_group(signal);
            return;
        };
        let common = self.common.clone();
        let tree = run.tree.clone();
        let id = id.clone();
        self.common.tasks.spawn("supervisor.stop-command", async move {
            let argv = command.expand(|name| spec.env.get(name).cloned());
            let started = blocking(move || beside(&common, &spec, &tree, &argv)).await;
            let failed = match started {
                Ok(command) => match command.exited().await {
                    exit if exit.is_success() => return,
                    exit => exit.to_string(),
                },
                Err(error) => error.to_string(),
            };
            tracing::warn!(instance = %id, failed, "stop command failed; sending the signal instead");
            process.signal_group(signal);
        });
    }

    fn kill(&self, id: &InstanceId) {
        let Some(run) = self.cells.get(id).and_then(|cell| cell.run.as_ref()) else { return };
        let (process, tree) = (run.process.clone(), run.tree.clone());
        self.common.tasks.spawn("supervisor.kill", async move {
            blocking(move || {
                process.kill();
                tree.kill();
            })
            .await;
        });
    }

    fn clear(&self, id: &InstanceId) {
        let Some(cell) = self.cells.get(id) else { return };
        let Some(run) = &cell.run else { return };
        let exit = cell.exit().unwrap_or(Exit::Unknown);
        let by_us = (cell.machine.why() == Some(&Why::Memory)).then(|| Bytes(cell.memory_peak()));
        let (process, record) = (run.process.clone(), run.record.clone());
        let flushed = cell.output.as_ref().map(Output::flushed);
        let key = (id.clone(), cell.run_no);
        let (common, happened) = (self.common.clone(), self.happened_tx.clone());
        self.common.tasks.spawn("supervisor.clear", async move {
            record.tree.clone().end(Some(process)).await;
            let exit = blocking(move || {
                let exit = record.tree.leaf.true_exit(exit, by_us);
                record.tree.leaf.remove();
                record.remove(&common.paths.instances());
                exit
            })
            .await;
            if let Some(flushed) = flushed {
                // Whoever takes the lines may be slow; that must not hold up the next start.
                let _ = clock::timeout(FLUSH_MAX, flushed).await;
            }
            let _ = happened.send(Happened::Cleared { key, exit }).await;
        });
    }

    fn remember(&mut self, id: &InstanceId) {
        let dir = self.common.paths.instances();
        let Some(cell) = self.cells.get_mut(id) else { return };
        let Some(run) = &mut cell.run else { return };
        run.record.ready = true;
        // In the loop, so that it cannot come after the record's removal; it is one small file.
        if let Err(error) = run.record.write(&dir) {
            tracing::warn!(instance = %id, %error, "cannot store that it is ready");
        }
    }

    /// Tighter where the limit is ours to keep; slower for many, because each costs a few reads.
    pub(super) fn measure_every(&self) -> Duration {
        let runs = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
        let ours = self.common.cgroups.tier() == MemoryTier::Poll
            && self.cells.values().any(|cell| cell.run.is_some() && cell.memory_limit().is_some());
        let base = if ours { Duration::from_millis(500) } else { Duration::from_secs(2) };
        base + Duration::from_millis(5).saturating_mul(runs)
    }

    pub(super) fn measure(&mut self) {
        let runs: Vec<(RunKey, Tree)> = self
            .cells
            .iter()
            .filter_map(|(id, cell)| {
                Some(((id.clone(), cell.run_no), cell.run.as_ref()?.tree.clone()))
            })
            .collect();
        if runs.is_empty() {
            self.measure_at = clock::now() + self.measure_every();
            return;
        }
        self.measuring = true;
        let happened = self.happened_tx.clone();
        self.common.tasks.spawn("supervisor.measure", async move {
            let all = blocking(move || runs.into_iter().map(measure_one).collect()).await;
            let _ = happened.send(Happened::Measured(all)).await;
        });
    }
}

/// A panic is a failed start like another: unreported, the instance would wait for it for ever.
fn reported<T>(start: impl FnOnce() -> Result<T, SpawnError>) -> Result<Box<T>, (bool, String)> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(start)) {
        Ok(Ok(started)) => Ok(Box::new(started)),
        Ok(Err(error)) => Err((error.is_final(), error.to_string())),
        Err(_) => {
            let text = "its start failed by a mistake in Archipel; its own log tells more";
            Err((false, text.to_owned()))
        }
    }
}

impl Common {
    fn open_output(&self, id: &InstanceId, instances: usize) -> io::Result<Output> {
        let size = pipe_bytes(instances);
        Output::open(&self.paths.pipes(), id, self.logs.sender().as_ref(), size, &self.tasks)
    }
}

fn measure_one((key, tree): (RunKey, Tree)) -> Measured {
    let leaf = &tree.leaf;
    if leaf.limited_by_kernel() {
        return Measured { key, bytes: leaf.memory(), over: leaf.oom_kills() > 0 };
    }
    let bytes = crate::memory::of_processes(&tree.pids());
    Measured { key, bytes: Some(bytes), over: leaf.limit.is_some_and(|limit| bytes > limit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_panics_is_reported_as_one_that_failed_and_may_be_tried_again() {
        let result = reported::<()>(|| panic!("a mistake of ours"));
        let (is_final, text) = result.unwrap_err();
        assert!(!is_final);
        assert!(text.contains("mistake in Archipel"), "{text}");
    }
}
