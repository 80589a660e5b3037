//! The loop that owns every instance: many sources become one event, the state machines decide,
//! the loop has it done by short-lived tasks that report back.
//!
//! The loop never waits for anything but its own queues. What it publishes is the latest level,
//! once per batch of events.

mod act;
mod cell;
mod start;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{InstanceId, ServiceName};
use archipel_rt::clock::{self, Instant};
use archipel_rt::{Receiver, Sender, channel};
use tokio::sync::{oneshot, watch};

use crate::adopt::Adopted;
use crate::machine::{Event, Goal, Why};
use crate::order::{self, Place, Standing};
use crate::probe::News;
use crate::record::Lock;
use crate::spec::InstanceSpec;
use crate::status::{Exit, LogLine, ProbeReport, Stream};
use crate::supervisor::{Common, Shutdown, Statuses};

use cell::Cell;
use start::Started;

pub(crate) enum Command {
    /// What should run, and the services whose instances are left as they are.
    Apply(Vec<InstanceSpec>, BTreeSet<ServiceName>, oneshot::Sender<()>),
    /// Answers with those it does not know.
    People(Verb, Vec<InstanceId>, oneshot::Sender<Vec<InstanceId>>),
    Drained(InstanceId),
    Shutdown(Shutdown, oneshot::Sender<()>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
}

/// One process of one instance.
pub(crate) type RunKey = (InstanceId, u64);

/// What the tasks report.
pub(crate) enum Happened {
    Spawned { key: RunKey, result: Result<Box<Started>, (bool, String)> },
    Exited { key: RunKey, exit: Exit },
    Cleared { key: RunKey, exit: Exit },
    Measured(Vec<Measured>),
}

pub(crate) struct Measured {
    pub(crate) key: RunKey,
    pub(crate) bytes: Option<u64>,
    /// Over its limit where we keep it, or one of its processes fell to the kernel's.
    pub(crate) over: bool,
}

pub(crate) struct Engine {
    common: Arc<Common>,
    cells: BTreeMap<InstanceId, Cell>,
    commands: Receiver<Command>,
    happened: Receiver<Happened>,
    happened_tx: Sender<Happened>,
    news: Receiver<(RunKey, News)>,
    news_tx: Sender<(RunKey, News)>,
    status: watch::Sender<Statuses>,
    /// Set once everything is to stop.
    down: Vec<oneshot::Sender<()>>,
    going_down: bool,
    /// Without grace and without order.
    kill: bool,
    /// When the order of starts has to be looked at again, if nothing happens before.
    turns_at: Option<Instant>,
    /// When it began; a common beat for what happens again and again.
    origin: Instant,
    measure_at: Instant,
    measuring: bool,
    _lock: Lock,
}

/// Long enough to kill what builds and one-off commands have started.
const ONCE_GRACE: Duration = Duration::from_secs(5);
/// Events handled before the state is published: enough to batch, few enough to stay current.
const BATCH_MAX: usize = 256;

impl Engine {
    pub(crate) fn new(
        common: Arc<Common>,
        commands: Receiver<Command>,
        status: watch::Sender<Statuses>,
        adopted: Vec<Adopted>,
        lock: Lock,
    ) -> Self {
        let (happened_tx, happened) = channel("supervisor.happened", 1024);
        let (news_tx, news) = channel("supervisor.news", 1024);
        let mut engine = Self {
            common,
            cells: BTreeMap::new(),
            commands,
            happened,
            happened_tx,
            news,
            news_tx,
            status,
            down: Vec::new(),
            going_down: false,
            kill: false,
            turns_at: None,
            origin: clock::now(),
            measure_at: clock::now(),
            measuring: false,
            _lock: lock,
        };
        for one in adopted {
            engine.take_over(one);
        }
        engine.publish();
        engine
    }

    pub(crate) async fn run(mut self) {
        let stop = self.common.tasks.stop_token();
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(happened) = self.happened.recv() => self.on_happened(happened),
                () = clock::sleep_until(due) => {}
                command = self.commands.recv() => match command {
                    Some(command) => {
                        if self.on_command(command).is_break() {
                            break;
                        }
                    }
                    // The last handle is gone.
                    None => break,
                },
                Some((key, news)) = self.news.recv() => self.on_news(&key, news),
            }
            self.drain_queues();
            self.advance();
            self.publish();
            if self.going_down && self.cells.values().all(|cell| !cell.machine.has_process()) {
                break;
            }
        }
        self.end().await;
    }

    /// Probes, readers and watchers are told to end; processes are left as they are.
    async fn end(&mut self) {
        self.common.once.shutdown(ONCE_GRACE).await;
        if self.going_down {
            for cell in std::mem::take(&mut self.cells).into_values() {
                cell.remove_output();
            }
            self.common.cgroups.remove_if_empty();
        }
        self.common.logs.close();
        self.common.tasks.stop_token().cancel();
        for done in std::mem::take(&mut self.down) {
            let _ = done.send(());
        }
    }

    fn drain_queues(&mut self) {
        for _ in 0..BATCH_MAX {
            if let Ok(happened) = self.happened.try_recv() {
                self.on_happened(happened);
            } else if let Ok((key, news)) = self.news.try_recv() {
                self.on_news(&key, news);
            } else {
                return;
            }
        }
    }

    fn due(&self) -> Instant {
        let cells = self.cells.values().filter_map(|cell| cell.machine.due());
        let measure = if self.measuring { None } else { Some(self.measure_at) };
        let far = || clock::now() + Duration::from_secs(3600);
        cells.chain(self.turns_at).chain(measure).min().unwrap_or_else(far)
    }

    fn on_command(&mut self, command: Command) -> std::ops::ControlFlow<()> {
        match command {
            Command::Apply(desired, unsettled, done) => {
                if !self.going_down {
                    self.apply(desired, &unsettled);
                    self.advance();
                    self.publish();
                }
                let _ = done.send(());
            }
            Command::People(verb, ids, done) => {
                let unknown = self.on_people(verb, ids);
                self.publish();
                let _ = done.send(unknown);
            }
            Command::Drained(id) => self.step(&id, Event::Drained),
            Command::Shutdown(Shutdown::Down, done) => {
                self.going_down = true;
                self.down.push(done);
            }
            Command::Shutdown(Shutdown::Kill, done) => {
                self.going_down = true;
                self.kill = true;
                self.down.push(done);
            }
            Command::Shutdown(Shutdown::Leave, done) => {
                self.down.push(done);
                return std::ops::ControlFlow::Break(());
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    fn apply(&mut self, desired: Vec<InstanceSpec>, unsettled: &BTreeSet<ServiceName>) {
        let known = self.cells.keys().filter(|id| !unsettled.contains(&id.service));
        let mut surplus: Vec<InstanceId> = known.cloned().collect();
        for spec in desired {
            surplus.retain(|id| *id != spec.id);
            self.apply_one(Arc::new(spec));
        }
        for id in surplus {
            self.step(&id, Event::Stop { goal: Goal::Remove, why: Why::Removed });
        }
    }

    fn apply_one(&mut self, spec: Arc<InstanceSpec>) {
        let id = spec.id.clone();
        let now = clock::now();
        let seed = self.seed(&id);
        let Some(cell) = self.cells.get_mut(&id) else {
            self.cells.insert(id, Cell::new(spec, seed, now));
            return;
        };
        let changed = cell.spec_hash != spec.spec_hash;
        cell.dirty = true;
        cell.spec_hash.clone_from(&spec.spec_hash);
        let first_seen = cell.spec.replace(spec).is_none();
        match cell.machine.goal() {
            Goal::Remove => self.step(&id, Event::Again(Why::Replaced)),
            Goal::Run if changed => self.again_in_turn(&id, Why::Replaced),
            // Kept stopped by people: the new specification waits with it.
            Goal::Stop => {}
            Goal::Run if first_seen => self.resume(&id),
            Goal::Run => {}
        }
    }

    fn on_people(&mut self, verb: Verb, ids: Vec<InstanceId>) -> Vec<InstanceId> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.cells.contains_key(id));
        if self.going_down {
            return unknown;
        }
        for id in &known {
            let alone = known.iter().filter(|other| other.service == id.service).count() == 1;
            match verb {
                Verb::Start => self.step(id, Event::Run),
                Verb::Stop => {
                    self.step(id, Event::Stop { goal: Goal::Stop, why: Why::Person });
                }
                // Who names one instance means that one, now.
                Verb::Restart if alone => self.step(id, Event::Again(Why::Restart)),
                Verb::Restart => self.again_in_turn(id, Why::Restart),
            }
        }
        self.advance();
        unknown
    }

    fn on_happened(&mut self, happened: Happened) {
        match happened {
            Happened::Spawned { key, result } => self.on_spawned(&key, result),
            Happened::Exited { key, exit } => {
                if let Some(cell) = self.current(&key) {
                    cell.note_exit(exit);
                    self.step(&key.0, Event::Exited);
                }
            }
            Happened::Cleared { key, exit } => {
                let Some(cell) = self.current(&key) else { return };
                let told = cell.finish_run(exit);
                self.say(&key.0, told);
                self.step(&key.0, Event::Cleared(exit));
            }
            Happened::Measured(all) => {
                self.measuring = false;
                self.measure_at = clock::now() + self.measure_every();
                for one in all {
                    let Some(cell) = self.current(&one.key) else { continue };
                    cell.measured(one.bytes);
                    if one.over {
                        self.step(&one.key.0, Event::KillNow(Why::Memory));
                    }
                }
            }
        }
    }

    fn on_news(&mut self, key: &RunKey, news: News) {
        let Some(cell) = self.current(key) else { return };
        let event = match news {
            News::Answer { what, ok, detail } => {
                if !ok {
                    cell.machine.probe_detail.clone_from(&detail);
                }
                let at_ms = clock::wall_ms();
                cell.probe_last = Some(ProbeReport { what, ok, detail, at_ms });
                cell.dirty = true;
                return;
            }
            News::Started { ready, detail } => Event::Started { ready, detail },
            News::Readiness { ok, detail } => Event::Readiness { ok, detail },
            News::Unhealthy { detail } => Event::Unhealthy { detail },
        };
        self.step(&key.0, event);
    }

    /// The cell, if this is still its process.
    fn current(&mut self, key: &RunKey) -> Option<&mut Cell> {
        self.cells.get_mut(&key.0).filter(|cell| cell.run_no == key.1)
    }

    /// Gives one event to one machine and has its effects done.
    fn step(&mut self, id: &InstanceId, event: Event) {
        let Some(cell) = self.cells.get_mut(id) else { return };
        let before = cell.machine.state();
        if matches!(event, Event::Stop { .. } | Event::Again(_)) {
            cell.again = None;
        }
        let effects = cell.machine.step(event, clock::now());
        cell.dirty = true;
        let after = cell.machine.state();
        if before != after {
            cell.entered(after);
            let reason = cell.machine.reason().map(|reason| format!(": {reason}"));
            self.say(id, format!("{after}{}", reason.unwrap_or_default()));
        }
        for effect in effects {
            self.act(id, &effect);
        }
    }

    /// Everything that follows from time and from the whole: due timers, turns, the way down.
    fn advance(&mut self) {
        let now = clock::now();
        let due: Vec<InstanceId> = self
            .cells
            .iter()
            .filter(|(_, cell)| cell.machine.due().is_some_and(|due| due <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.step(&id, Event::Due);
        }
        if self.going_down {
            self.go_down();
        } else {
            self.replace_in_turn();
            let places: BTreeMap<InstanceId, Place> = self
                .cells
                .iter()
                .filter_map(|(id, cell)| Some((id.clone(), cell.place()?)))
                .collect();
            let (turns, again) = order::turns(&places, self.common.config.starts_max, now);
            self.turns_at = again;
            self.explain_waits(&places, &turns);
            for id in turns {
                self.step(&id, Event::Turn);
            }
        }
        if !self.measuring && self.measure_at <= now {
            self.measure();
        }
    }

    /// Tells those who wait for their turn for whom they wait.
    fn explain_waits(&mut self, places: &BTreeMap<InstanceId, Place>, turns: &[InstanceId]) {
        let blockers = order::unsettled(places);
        let level = blockers.first().map(|id| places[id].level);
        for (id, place) in places {
            if !matches!(place.standing, Standing::Pending { .. }) || turns.contains(id) {
                continue;
            }
            let waits = if level.is_some_and(|level| place.level > level) {
                let names: Vec<String> = blockers.iter().take(5).map(ToString::to_string).collect();
                let more = if blockers.len() > names.len() { ", …" } else { "" };
                format!("waits for {}{more}", names.join(", "))
            } else {
                let most = self.common.config.starts_max;
                format!("waits for its turn: at most {most} start at the same time")
            };
            if let Some(cell) = self.cells.get_mut(id) {
                cell.dirty |= cell.waits != waits;
                cell.waits = waits;
            }
        }
    }

    fn go_down(&mut self) {
        if self.kill {
            let live = self.cells.iter().filter(|(_, cell)| cell.machine.can_be_killed());
            let live: Vec<InstanceId> = live.map(|(id, _)| id.clone()).collect();
            for id in live {
                self.step(&id, Event::KillNow(Why::Shutdown));
            }
        }
        let running: BTreeMap<InstanceId, u32> = self
            .cells
            .iter()
            .filter(|(_, cell)| cell.machine.has_process())
            .map(|(id, cell)| (id.clone(), cell.level()))
            .collect();
        let idle = self.cells.keys().filter(|id| !running.contains_key(id)).cloned();
        let now: Vec<InstanceId> = idle.chain(order::stoppable(&running)).collect();
        for id in now {
            let asked = self.cells.get(&id).is_some_and(|cell| cell.machine.goal() != Goal::Run);
            if !asked {
                self.step(&id, Event::Stop { goal: Goal::Stop, why: Why::Shutdown });
            }
        }
    }

    fn publish(&mut self) {
        if !self.cells.values().any(|cell| cell.dirty)
            && self.status.borrow().len() == self.cells.len()
        {
            return;
        }
        let tier = self.common.cgroups.tier();
        let all: Vec<_> = self.cells.values_mut().map(|cell| cell.status(tier)).collect();
        self.status.send_replace(Arc::new(all));
    }

    /// A line about an instance among its own lines; dropped when the queue is full, because the
    /// loop waits for nobody, and the status says the same.
    fn say(&self, id: &InstanceId, text: String) {
        tracing::debug!(instance = %id, text, "instance");
        let line = LogLine {
            at_ms: clock::wall_ms(),
            instance: id.clone(),
            stream: Stream::Event,
            text,
            split: false,
        };
        if let Some(logs) = self.common.logs.sender() {
            let _ = logs.try_send(line);
        }
    }

    fn seed(&self, id: &InstanceId) -> u64 {
        let seed = self.common.config.seed.unwrap_or(self.common.nonce);
        id.service.as_str().bytes().fold(seed ^ u64::from(id.replica), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}
