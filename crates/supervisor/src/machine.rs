//! The life of one instance, decided in pure code.
//!
//! `step` takes what happened and the time, and returns what is to be done; it starts nothing,
//! waits for nothing and reads no clock, so every order of events can be tried. Two promises
//! are kept here and checked by property: there is never a second process before the first and
//! all it forked are gone (`Clearing` stands in between), and an instance that should run is
//! always running, about to be started at a known time, or finally stopped with a reason.

use std::time::Duration;

use archipel_model::{Backoff, InstanceState, Restart, RestartOn, show_duration};
use archipel_rt::clock::Instant;

use crate::status::Exit;

/// The part of a specification that decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    /// Zero for an instance that takes no requests.
    pub(crate) drain: Duration,
    pub(crate) grace: Duration,
    pub(crate) startup_within: Duration,
}

/// What people or the application file want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Run,
    Stop,
    /// Stop and be forgotten.
    Remove,
}

/// Why a running process is being ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    Person,
    Restart,
    Replaced,
    Removed,
    Shutdown,
    Startup,
    Liveness(String),
    Memory,
}

impl Why {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Person => "stopped by hand".to_owned(),
            Self::Restart => "restarted by hand".to_owned(),
            Self::Replaced => "replaced by a new specification".to_owned(),
            Self::Removed => "no longer part of the application".to_owned(),
            Self::Shutdown => "Archipel is stopping".to_owned(),
            Self::Startup => "not ready in time".to_owned(),
            Self::Liveness(detail) => format!("liveness probe failed: {detail}"),
            Self::Memory => "memory limit reached".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Wanted: by the application file or by people, which also forgets earlier failures.
    Run,
    Stop {
        goal: Goal,
        why: Why,
    },
    /// End the process, if any, and start anew with what is wanted now.
    Again(Why),
    /// Its turn in the order of starts.
    Turn,
    Spawned,
    SpawnFailed {
        is_final: bool,
        text: String,
    },
    /// The startup probe passed; `ready`: so did the first readiness probe.
    Started {
        ready: bool,
        detail: String,
    },
    Readiness {
        ok: bool,
        detail: String,
    },
    Unhealthy {
        detail: String,
    },
    /// No grace: over the memory limit, or people asked a second time.
    KillNow(Why),
    /// Nothing is in flight any more.
    Drained,
    /// The first process ended.
    Exited,
    /// Nothing of it is left.
    Cleared(Exit),
    /// Time has passed.
    Due,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Spawn,
    /// Run the stop command or send the stop signal.
    Ask,
    Kill,
    /// End the rest of the tree and report [`Event::Cleared`].
    Clear,
    /// The startup probe has passed: worth remembering.
    Remember,
    Forget,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    Pending { since: Instant },
    Spawning,
    Starting { since: Instant, deadline: Instant },
    Up { ready: bool },
    Draining { until: Instant },
    Stopping { kill_at: Instant, killed: bool },
    Clearing,
    BackingOff { until: Instant },
    Stopped,
    Completed,
    Failed,
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Spawn(String),
    NotReady {
        within: Duration,
        detail: String,
        exit: Exit,
    },
    Unhealthy {
        detail: String,
    },
    Crashed {
        exit: Exit,
        was_ready: bool,
    },
    /// Exit 0 of something that should go on.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Machine {
    policy: Policy,
    random: Random,
    goal: Goal,
    phase: Phase,
    why: Option<Why>,
    /// Failures in a row.
    pub(crate) attempt: u32,
    pub(crate) restarts: u32,
    /// Starts in a row that never became ready.
    never_ready: u32,
    /// A program of this specification has run: then a missing file is a moment in a build.
    has_run: bool,
    /// This process passed its startup probe.
    was_ready: bool,
    ready_since: Option<Instant>,
    failure: Option<Failure>,
    killed_after_grace: bool,
    /// Stopped because everything stops, not because a person wanted this one stopped.
    shut_down: bool,
    /// The latest answer of a probe, for reasons.
    pub(crate) probe_detail: String,
}

/// No start follows a failure sooner.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// SIGKILL is repeated: a process may have been stuck in the kernel.
const KILL_AGAIN: Duration = Duration::from_secs(5);

impl Machine {
    pub(crate) fn new(policy: Policy, seed: u64, now: Instant) -> Self {
        Self {
            policy,
            random: Random(seed),
            goal: Goal::Run,
            phase: Phase::Pending { since: now },
            why: None,
            attempt: 0,
            restarts: 0,
            never_ready: 0,
            has_run: false,
            was_ready: false,
            ready_since: None,
            failure: None,
            killed_after_grace: false,
            shut_down: false,
            probe_detail: String::new(),
        }
    }

    /// For a process that a supervisor before us has started.
    pub(crate) fn adopted(
        policy: Policy,
        seed: u64,
        was_ready: bool,
        restarts: u32,
        now: Instant,
    ) -> Self {
        let mut machine = Self::new(policy, seed, now);
        machine.restarts = restarts;
        machine.has_run = true;
        machine.was_ready = was_ready;
        if was_ready {
            machine.phase = Phase::Up { ready: true };
            machine.ready_since = Some(now);
        } else {
            machine.phase = machine.starting(now);
        }
        machine
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn goal(&self) -> Goal {
        self.goal
    }

    pub(crate) fn why(&self) -> Option<&Why> {
        self.why.as_ref()
    }

    pub(crate) fn was_ready(&self) -> bool {
        self.was_ready
    }

    /// A process exists, or is about to.
    pub(crate) fn has_process(&self) -> bool {
        matches!(
            self.phase,
            Phase::Spawning
                | Phase::Starting { .. }
                | Phase::Up { .. }
                | Phase::Draining { .. }
                | Phase::Stopping { .. }
                | Phase::Clearing
        )
    }

    /// It has a process that nobody has killed yet.
    pub(crate) fn can_be_killed(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting { .. }
                | Phase::Up { .. }
                | Phase::Draining { .. }
                | Phase::Stopping { killed: false, .. }
        )
    }

    /// Why the process was ended; `None`: it ended by itself.
    pub(crate) fn ended_by(&self) -> Option<String> {
        let why = self.why.as_ref()?.text();
        Some(if self.killed_after_grace {
            let grace = show_duration(self.policy.grace);
            format!("{why}; killed, because it did not stop within {grace}")
        } else {
            why
        })
    }

    /// When [`Event::Due`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { deadline, .. } => Some(deadline),
            Phase::Up { ready: true } if self.attempt > 0 => self
                .ready_since
                .and_then(|since| since.checked_add(self.policy.restart.reset_after)),
            Phase::Draining { until } | Phase::BackingOff { until } => Some(until),
            Phase::Stopping { kill_at, .. } => Some(kill_at),
            _ => None,
        }
    }

    pub(crate) fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.phase == Phase::Gone {
            return out; // forgotten already
        }
        match event {
            Event::Run => self.on_run(now),
            Event::Stop { goal, why } => {
                self.goal = goal;
                self.shut_down = why == Why::Shutdown;
                self.end(why, now, &mut out);
            }
            Event::Again(why) => {
                self.goal = Goal::Run;
                self.attempt = 0;
                self.has_run &= why != Why::Replaced;
                self.end(why, now, &mut out);
            }
            Event::Turn => {
                if matches!(self.phase, Phase::Pending { .. }) {
                    self.phase = Phase::Spawning;
                    out.push(Effect::Spawn);
                }
            }
            Event::Spawned => self.on_spawned(now, &mut out),
            Event::SpawnFailed { is_final, text } => {
                self.on_spawn_failed(is_final, text, now, &mut out);
            }
            Event::Started { ready, detail } => {
                if matches!(self.phase, Phase::Starting { .. }) {
                    self.probe_detail = detail;
                    self.phase = Phase::Up { ready };
                    self.was_ready = true;
                    self.ready_since = ready.then_some(now);
                    self.never_ready = 0;
                    out.push(Effect::Remember);
                }
            }
            Event::Readiness { ok, detail } => {
                self.probe_detail = detail;
                if let Phase::Up { ready } = &mut self.phase
                    && *ready != ok
                {
                    *ready = ok;
                    self.ready_since = ok.then_some(now);
                }
            }
            Event::Unhealthy { detail } => {
                if matches!(self.phase, Phase::Up { .. }) {
                    self.ask(Why::Liveness(detail), now, &mut out);
                }
            }
            Event::KillNow(why) => {
                if why == Why::Shutdown {
                    self.goal = Goal::Stop;
                    self.shut_down = true;
                }
                if self.phase == Phase::Spawning {
                    self.why = Some(why);
                } else if self.has_process() && self.phase != Phase::Clearing {
                    self.why.get_or_insert(why);
                    self.phase = Phase::Stopping { kill_at: now + KILL_AGAIN, killed: true };
                    out.push(Effect::Kill);
                }
            }
            Event::Drained => {
                if matches!(self.phase, Phase::Draining { .. }) {
                    self.begin_stopping(now, &mut out);
                }
            }
            Event::Exited => {
                if self.has_process() && !matches!(self.phase, Phase::Spawning | Phase::Clearing) {
                    self.phase = Phase::Clearing;
                    out.push(Effect::Clear);
                }
            }
            Event::Cleared(exit) => {
                if self.phase == Phase::Clearing {
                    self.on_cleared(exit, now, &mut out);
                }
            }
            Event::Due => self.on_due(now, &mut out),
        }
        out
    }

    fn on_run(&mut self, now: Instant) {
        let was = std::mem::replace(&mut self.goal, Goal::Run);
        match self.phase {
            Phase::Stopped | Phase::Completed | Phase::Failed | Phase::BackingOff { .. } => {
                self.forget_failures();
                self.phase = Phase::Pending { since: now };
            }
            _ if was != Goal::Run => self.forget_failures(),
            _ => {}
        }
    }

    fn forget_failures(&mut self) {
        self.attempt = 0;
        self.never_ready = 0;
        self.failure = None;
    }

    fn starting(&self, now: Instant) -> Phase {
        Phase::Starting { since: now, deadline: now + self.policy.startup_within }
    }

    fn on_spawned(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.phase != Phase::Spawning {
            return;
        }
        self.has_run = true;
        self.was_ready = false;
        self.ready_since = None;
        self.killed_after_grace = false;
        self.probe_detail.clear();
        self.phase = self.starting(now);
        // Somebody changed their mind meanwhile.
        if let Some(why) = self.why.take() {
            self.ask(why, now, out);
        }
    }

    fn on_spawn_failed(
        &mut self,
        is_final: bool,
        text: String,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if self.phase != Phase::Spawning {
            return;
        }
        if self.goal != Goal::Run || self.why.is_some() {
            self.settle(now, out);
        } else if is_final && !self.has_run {
            self.failure = Some(Failure::Spawn(text));
            self.phase = Phase::Failed;
        } else {
            self.fail(Failure::Spawn(text), now);
        }
    }

    /// Ends whatever there is, by way of draining if it takes requests.
    fn end(&mut self, why: Why, now: Instant, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Spawning => self.why = Some(why),
            Phase::Up { .. } if !self.policy.drain.is_zero() => {
                self.why = Some(why);
                self.phase = Phase::Draining { until: now + self.policy.drain };
            }
            Phase::Starting { .. } | Phase::Up { .. } => self.ask(why, now, out),
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Clearing => {
                self.why = Some(why);
            }
            _ => {
                self.forget_failures();
                self.settle(now, out);
            }
        }
    }

    fn ask(&mut self, why: Why, now: Instant, out: &mut Vec<Effect>) {
        self.why = Some(why);
        self.begin_stopping(now, out);
    }

    fn begin_stopping(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.phase = Phase::Stopping { kill_at: now + self.policy.grace, killed: false };
        out.push(Effect::Ask);
    }

    /// No process is there: rest in the state that is wanted.
    fn settle(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.why = None;
        self.ready_since = None;
        self.phase = match self.goal {
            Goal::Run => Phase::Pending { since: now },
            Goal::Stop => Phase::Stopped,
            Goal::Remove => {
                out.push(Effect::Forget);
                Phase::Gone
            }
        };
    }

    fn on_cleared(&mut self, exit: Exit, now: Instant, out: &mut Vec<Effect>) {
        let long_ready = self.ready_since.is_some_and(|since| {
            now.saturating_duration_since(since) >= self.policy.restart.reset_after
        });
        if long_ready {
            self.attempt = 0;
        }
        let was_ready = self.was_ready;
        if self.goal != Goal::Run {
            return self.settle(now, out);
        }
        let why = self.why.take();
        let failure = match why {
            Some(Why::Person | Why::Restart | Why::Replaced | Why::Removed | Why::Shutdown) => {
                self.forget_failures();
                return self.settle(now, out);
            }
            _ if matches!(exit, Exit::OomKilled { .. }) => Failure::Crashed { exit, was_ready },
            Some(Why::Startup) => Failure::NotReady {
                within: self.policy.startup_within,
                detail: self.probe_detail.clone(),
                exit,
            },
            Some(Why::Liveness(detail)) => Failure::Unhealthy { detail },
            Some(Why::Memory) => Failure::Crashed { exit, was_ready },
            None if exit.is_success() => match self.policy.restart.on {
                RestartOn::Always => Failure::Ended,
                RestartOn::Failure | RestartOn::Never => {
                    self.ready_since = None;
                    self.forget_failures();
                    self.phase = Phase::Completed;
                    return;
                }
            },
            None => Failure::Crashed { exit, was_ready },
        };
        self.fail(failure, now);
    }

    fn fail(&mut self, failure: Failure, now: Instant) {
        self.ready_since = None;
        self.restarts = self.restarts.saturating_add(1);
        self.attempt = self.attempt.saturating_add(1);
        self.never_ready = if self.was_ready { 0 } else { self.never_ready.saturating_add(1) };
        self.failure = Some(failure);
        let over = self.policy.restart.max.is_some_and(|max| self.attempt > max);
        self.phase = if over || self.policy.restart.on == RestartOn::Never {
            Phase::Failed
        } else {
            let delay = delay(self.policy.restart.backoff, self.attempt, &mut self.random);
            Phase::BackingOff { until: now + delay }
        };
    }

    fn on_due(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        match self.phase {
            Phase::Starting { .. } => self.ask(Why::Startup, now, out),
            Phase::Up { .. } => self.forget_failures(),
            Phase::Draining { .. } => self.begin_stopping(now, out),
            Phase::Stopping { .. } => {
                self.killed_after_grace = true;
                self.phase = Phase::Stopping { kill_at: now + KILL_AGAIN, killed: true };
                out.push(Effect::Kill);
            }
            Phase::BackingOff { .. } => self.phase = Phase::Pending { since: now },
            _ => {}
        }
    }

    pub(crate) fn state(&self) -> InstanceState {
        match self.phase {
            Phase::Pending { .. } => InstanceState::Pending,
            Phase::Spawning | Phase::Starting { .. } => InstanceState::Starting,
            Phase::Up { ready: true } => InstanceState::Ready,
            Phase::Up { ready: false } => InstanceState::Degraded,
            Phase::Draining { .. } => InstanceState::Draining,
            Phase::Stopping { .. } | Phase::Clearing => InstanceState::Stopping,
            Phase::BackingOff { .. } => InstanceState::BackingOff,
            Phase::Stopped | Phase::Gone => InstanceState::Stopped,
            Phase::Completed => InstanceState::Completed,
            Phase::Failed => InstanceState::Failed,
        }
    }

    /// One sentence for people: why it is not ready; `None` when it is.
    pub(crate) fn reason(&self) -> Option<String> {
        Some(match &self.phase {
            Phase::Up { ready: true } | Phase::Gone => return None,
            Phase::Up { ready: false } => format!("readiness probe fails: {}", self.probe_detail),
            Phase::Pending { .. } => match &self.failure {
                Some(failure) => format!("{}; waits for its turn", self.told(failure)),
                None => "waits for its turn".to_owned(),
            },
            Phase::Spawning => "being started".to_owned(),
            Phase::Starting { .. } if self.probe_detail.is_empty() => {
                "startup probe has not answered yet".to_owned()
            }
            Phase::Starting { .. } => format!("startup probe: {}", self.probe_detail),
            Phase::Draining { .. } => self.ending("finishes its requests"),
            Phase::Stopping { killed: false, .. } => self.ending("asked to stop"),
            Phase::Stopping { killed: true, .. } if self.killed_after_grace => {
                self.ending(&format!(
                    "did not stop within {}, so it is killed: does it handle the stop signal?",
                    show_duration(self.policy.grace)
                ))
            }
            Phase::Stopping { .. } => self.ending("is being killed"),
            Phase::Clearing => self.ending("has ended, the rest of its processes follow"),
            Phase::Stopped if self.shut_down => Why::Shutdown.text(),
            Phase::Stopped => Why::Person.text(),
            Phase::Completed => "done: it ended with success".to_owned(),
            Phase::BackingOff { .. } => {
                let failure = self.failure.as_ref()?;
                format!("{}; start {} follows", self.told(failure), self.attempt + 1)
            }
            Phase::Failed => {
                let failure = self.failure.as_ref()?;
                format!("{}; it is not started again {}", self.told(failure), self.why_final())
            }
        })
    }

    fn ending(&self, what: &str) -> String {
        match &self.why {
            Some(why) => format!("{what} ({})", why.text()),
            None => what.to_owned(),
        }
    }

    fn why_final(&self) -> String {
        match (self.policy.restart.on, self.policy.restart.max) {
            (RestartOn::Never, _) => "(restart = \"never\")".to_owned(),
            (_, Some(max)) if self.attempt > max => format!("after {max} restarts (restart.max)"),
            _ => "until somebody repairs that".to_owned(),
        }
    }

    fn told(&self, failure: &Failure) -> String {
        let times = match self.never_ready {
            0..=2 => String::new(),
            n => format!(" (never ready in {n} starts)"),
        };
        match failure {
            Failure::Spawn(text) => text.clone(),
            Failure::NotReady { within, detail, .. } => {
                let detail =
                    if detail.is_empty() { "the probe got no answer" } else { detail.as_str() };
                format!("not ready within {}: {detail}{times}", show_duration(*within))
            }
            Failure::Unhealthy { detail } => format!("liveness probe failed: {detail}"),
            Failure::Crashed { exit: exit @ Exit::OomKilled { .. }, .. } => exit.to_string(),
            Failure::Crashed { exit, was_ready: true } => format!("{exit} while it was running"),
            Failure::Crashed { exit, was_ready: false } => {
                format!("{exit} before it was ready{times}")
            }
            Failure::Ended => format!(
                "exit 0, but a service should go on (restart = \"on-failure\" if it may end){times}"
            ),
        }
    }
}

/// Full jitter: anything between the floor and a bound that doubles with each failure.
fn delay(backoff: Backoff, attempt: u32, random: &mut Random) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let bound = backoff.min.saturating_mul(1u32 << doublings).min(backoff.max);
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    let drawn = if nanos == u64::MAX { random.next() } else { random.next() % (nanos + 1) };
    Duration::from_nanos(drawn).max(DELAY_MIN)
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread starts, and a seed replays.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
