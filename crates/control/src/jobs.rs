//! Commands that run on a schedule or by hand, beside the services.
//!
//! The schedule is looked at once a second and never caught up: a run that was missed while
//! Archipel was down is not made up for, because nobody knows whether it still should be.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;
use std::time::Duration;

use archipel_model::{Job, JobName, JobRetry, Overlap, ServiceName};
use archipel_rt::{CancellationToken, Tasks, clock, random};
use archipel_supervisor::{OnceSpec, Supervisor};
use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio::sync::oneshot;

use crate::control::ControlError;
use crate::desired::{self, Surroundings};
use crate::environment::DatabaseUrl;
use crate::plan::Plan;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOutcome {
    pub started_at_ms: u64,
    pub took: Duration,
    /// As a shell would report it.
    pub exit_code: i32,
    /// `exit 0`, `timed out after 30m`.
    pub outcome: String,
}

#[derive(Debug, Clone)]
pub struct JobState {
    pub job: Job,
    pub next_at_ms: Option<u64>,
    pub running: u32,
    /// Since Archipel started, the latest first.
    pub runs: Vec<JobOutcome>,
}

/// Runs of one job that are remembered.
const RUNS_MAX: usize = 20;

#[derive(Default)]
struct Memory {
    next: Option<Zoned>,
    running: u32,
    runs: VecDeque<JobOutcome>,
    /// Told to end when a new run takes its place.
    cancel: CancellationToken,
}

pub(crate) struct Jobs {
    supervisor: Supervisor,
    tasks: Tasks,
    memory: std::sync::Arc<parking::Shared>,
}

/// The memory is written by the tasks that run jobs and read by the loop; both hold it for a
/// few lines.
mod parking {
    use super::{BTreeMap, JobName, Memory};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    #[derive(Default)]
    pub(super) struct Shared(Mutex<BTreeMap<JobName, Memory>>);

    impl Shared {
        pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<JobName, Memory>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

impl Jobs {
    pub(crate) fn new(supervisor: Supervisor, tasks: &Tasks) -> Self {
        Self { supervisor, tasks: tasks.clone(), memory: std::sync::Arc::default() }
    }

    /// Starts every job whose time has come.
    pub(crate) fn start_due(
        &self,
        plan: &Plan,
        databases: &BTreeMap<ServiceName, DatabaseUrl>,
        around: &Surroundings,
    ) {
        for (name, job) in &plan.app.jobs {
            if self.is_due(job) {
                let spec = specification(plan, job, databases, around);
                self.launch(name.clone(), spec, job.retry, None);
            }
        }
    }

    /// Runs a job by hand; overlap rules are for schedules.
    pub(crate) fn run_now(
        &self,
        spec: OnceSpec,
        retry: Option<JobRetry>,
        reply: oneshot::Sender<Result<JobOutcome, ControlError>>,
    ) {
        match JobName::new(&spec.name) {
            Ok(name) => self.launch(name, spec, retry, Some(reply)),
            Err(_) => {
                let known = "that is no name of one".to_owned();
                let _ = reply.send(Err(ControlError::UnknownJob { name: spec.name, known }));
            }
        }
    }

    pub(crate) fn states(&self, plan: Option<&Plan>) -> Vec<JobState> {
        let memory = self.memory.lock();
        let jobs = plan.into_iter().flat_map(|plan| plan.app.jobs.values());
        jobs.map(|job| {
            let known = memory.get(&job.name);
            JobState {
                job: job.clone(),
                next_at_ms: known
                    .and_then(|m| m.next.as_ref())
                    .and_then(|at| u64::try_from(at.timestamp().as_millisecond()).ok()),
                running: known.map_or(0, |m| m.running),
                runs: known.map(|m| m.runs.iter().cloned().collect()).unwrap_or_default(),
            }
        })
        .collect()
    }

    fn is_due(&self, job: &Job) -> bool {
        let Some(now) = now_in(job) else { return false };
        let mut memory = self.memory.lock();
        let memory = memory.entry(job.name.clone()).or_default();
        let due = match &memory.next {
            None => false, // first look: only compute
            Some(next) if *next <= now => true,
            Some(_) => return false,
        };
        memory.next = next_after(job, &now);
        if !due {
            return false;
        }
        match (job.overlap, memory.running) {
            (_, 0) | (Overlap::Allow, _) => true,
            (Overlap::Forbid, _) => {
                tracing::warn!(job = %job.name, "still running; this turn is left out");
                false
            }
            (Overlap::Replace, _) => {
                memory.cancel.cancel();
                true
            }
        }
    }

    /// The reply tells how the last try ended.
    fn launch(
        &self,
        name: JobName,
        spec: OnceSpec,
        retry: Option<JobRetry>,
        reply: Option<oneshot::Sender<Result<JobOutcome, ControlError>>>,
    ) {
        let supervisor = self.supervisor.clone();
        let shared = self.memory.clone();
        let (cancel, stop) = (CancellationToken::new(), self.tasks.stop_token());
        {
            let mut memory = shared.lock();
            let memory = memory.entry(name.clone()).or_default();
            memory.running += 1;
            memory.cancel = cancel.clone();
        }
        self.tasks.spawn("control.job", async move {
            let remember = |outcome: &JobOutcome| {
                let mut memory = shared.lock();
                let memory = memory.entry(name.clone()).or_default();
                memory.runs.truncate(RUNS_MAX - 1);
                memory.runs.push_front(outcome.clone());
            };
            let mut tries = 0;
            let last = loop {
                let mut outcome = attempt(&supervisor, spec.clone(), &cancel).await;
                let again = retry.filter(|retry| {
                    outcome.exit_code != 0 && tries < retry.attempts && !cancel.is_cancelled()
                });
                let Some(retry) = again else { break outcome };
                let pause = retry.backoff.pause(tries, random::u64());
                tries += 1;
                let shown =
                    archipel_model::show_duration(Duration::from_millis(pause.as_millis() as u64));
                outcome.outcome +=
                    &format!(", to be repeated after {shown} ({tries} of {})", retry.attempts);
                tracing::warn!(job = %name, "{}", outcome.outcome);
                remember(&outcome);
                tokio::select! {
                    biased;
                    // The next try ends at once.
                    () = cancel.cancelled() => {}
                    () = stop.cancelled() => {}
                    () = clock::sleep(pause) => {}
                }
            };
            remember(&last);
            {
                let mut memory = shared.lock();
                let memory = memory.entry(name.clone()).or_default();
                memory.running = memory.running.saturating_sub(1);
            }
            if let Some(reply) = reply {
                let _ = reply.send(Ok(last));
            }
        });
    }
}

/// One run, or what there was of it when the next one took its place.
async fn attempt(
    supervisor: &Supervisor,
    spec: OnceSpec,
    cancel: &CancellationToken,
) -> JobOutcome {
    let started_at_ms = clock::wall_ms();
    let started = clock::now();
    let (exit_code, outcome) = tokio::select! {
        biased;
        () = cancel.cancelled() => (130, "replaced by the next run".to_owned()),
        done = supervisor.run_once(spec) => (done.exit_code(), done.reason()),
    };
    let took = clock::now().saturating_duration_since(started);
    JobOutcome { started_at_ms, took, exit_code, outcome }
}

pub(crate) fn specification(
    plan: &Plan,
    job: &Job,
    databases: &BTreeMap<ServiceName, DatabaseUrl>,
    around: &Surroundings,
) -> OnceSpec {
    let service = job.service.as_ref().and_then(|name| plan.app.services.get(name));
    let mut env = match service {
        Some(service) => {
            let database = databases.get(&service.name);
            let own = desired::own_environment(plan, service, database, around);
            desired::whole_environment(&own, service, around)
        }
        None => around.inherited.clone(),
    };
    for (name, value) in &job.env {
        let value = match value {
            archipel_model::EnvValue::Text(text) => Some(text.clone()),
            archipel_model::EnvValue::Hidden(text) => Some(text.reveal().to_owned()),
            archipel_model::EnvValue::Secret(secret) => {
                plan.secrets.get(secret).map(|secret| secret.reveal().to_owned())
            }
            archipel_model::EnvValue::UrlOf(_) => None,
        };
        if let Some(value) = value {
            env.insert(name.clone(), value);
        }
    }
    // A job of no service still has a name of its own in logs.
    let owner = job
        .service
        .clone()
        .or_else(|| ServiceName::new(job.name.as_str()).ok())
        .expect("job names follow the rule of service names");
    OnceSpec {
        name: job.name.to_string(),
        argv: job.run.expand(|name| env.get(name).cloned()),
        cwd: job.path.clone(),
        env,
        memory: job.memory,
        isolate: desired::isolation(&around.state, &owner),
        service: owner,
        timeout: job.timeout,
    }
}

fn now_in(job: &Job) -> Option<Zoned> {
    let zone = match &job.timezone {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name).ok()?,
    };
    let now = Timestamp::from_millisecond(i64::try_from(clock::wall_ms()).ok()?).ok()?;
    Some(now.to_zoned(zone))
}

fn next_after(job: &Job, now: &Zoned) -> Option<Zoned> {
    let cron = Cron::from_str(job.schedule.as_deref()?).ok()?;
    cron.find_next_occurrence(now, false).ok()
}
