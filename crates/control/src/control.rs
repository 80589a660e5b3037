//! The heart: one loop that owns the plan and the state, and tells every other part what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use archipel_broker::{Broker, BrokerError, Topology};
use archipel_gateway::{Gateway, Table};
use archipel_model::{App, InstanceId, InstanceState, JobName, JobRetry, ServiceName, suggest};
use archipel_rt::{CancellationToken, Receiver, Sender, Tasks, channel, clock};
use archipel_supervisor::{InstanceStatus, OnceSpec, Ports, Statuses, Supervisor};
use tokio::sync::{oneshot, watch};

use crate::desired::{self, Surroundings};
use crate::environment::{self, DatabaseUrl};
use crate::jobs::{self, JobOutcome, JobState, Jobs};
use crate::paths::StateDir;
use crate::plan::Plan;
use crate::prepare::{Preparing, Progress};
use crate::secrets::{SecretError, SecretStore};
use crate::state::{Preparation, ServiceState, Snapshot};

/// The parts that control tells what to do.
pub struct Parts {
    pub state: StateDir,
    pub supervisor: Supervisor,
    pub ports: Ports,
    pub gateway: Gateway,
    pub broker: Broker,
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Secrets(Vec<SecretError>),
    #[error("could not assign a port")]
    Ports(#[from] archipel_supervisor::PortError),
    #[error("the broker could not take the topics over")]
    Broker(#[from] BrokerError),
    #[error("there is no service or instance `{name}`; {known}")]
    Unknown { name: String, known: String },
    #[error("there is no job `{name}`; {known}")]
    UnknownJob { name: String, known: String },
    #[error("`{name}` is not part of this run (--only)")]
    LeftOut { name: String },
    #[error("not prepared yet, or its preparation failed")]
    NotPrepared(#[from] archipel_supervisor::UnknownInstances),
    #[error("Archipel is stopping")]
    Stopping,
}

/// What a person may ask of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Restart,
    Stop,
    Start,
}

enum Command {
    Apply {
        app: Box<App>,
        only: BTreeSet<ServiceName>,
        reply: oneshot::Sender<Result<u64, ControlError>>,
    },
    Operate {
        operation: Operation,
        names: Vec<String>,
        reply: oneshot::Sender<Result<Vec<InstanceId>, ControlError>>,
    },
    Environment {
        service: String,
        reply: oneshot::Sender<Result<Environment, ControlError>>,
    },
    RunJob {
        job: String,
        reply: oneshot::Sender<Result<JobOutcome, ControlError>>,
    },
    Jobs {
        reply: oneshot::Sender<Vec<JobState>>,
    },
}

/// The environment of a service as its first instance has it, and its directory.
#[derive(Debug, Clone)]
pub struct Environment {
    pub cwd: std::path::PathBuf,
    /// What Archipel and the manifest decided.
    pub own: BTreeMap<String, String>,
    /// That, with the inherited part.
    pub whole: BTreeMap<String, String>,
}

/// A cheap handle over the loop.
#[derive(Clone)]
pub struct Control {
    commands: Sender<Command>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Control {
    /// Starts the loop in `tasks`; it ends with their stop token and stops no service.
    pub fn start(parts: Parts, tasks: &Tasks) -> Self {
        let (commands, receiver) = channel("control.commands", 64);
        let (progress, progressed) = channel("control.progress", 256);
        let (publish, snapshots) = watch::channel(None);
        let around = Surroundings {
            state: parts.state.clone(),
            inherited: environment::inherited(|name| std::env::var(name).ok()),
            memory_tier: parts.supervisor.capabilities().memory,
        };
        let statuses = parts.supervisor.watch();
        let heart = Heart {
            jobs: Jobs::new(parts.supervisor.clone(), tasks),
            parts,
            around: Arc::new(around),
            tasks: tasks.clone(),
            generation: 0,
            plan: None,
            preparations: BTreeMap::new(),
            databases: BTreeMap::new(),
            statuses,
            progress,
            untold: false,
            hashes: BTreeMap::new(),
            table: None,
            listen_errors: Vec::new(),
            publish,
        };
        let stop = tasks.stop_token();
        tasks.spawn("control", heart.run(receiver, progressed, stop));
        Self { commands, snapshots }
    }

    /// Makes `app` the desired state. Returns its generation when it is accepted;
    /// [`Self::watch`] shows what becomes of it.
    ///
    /// # Errors
    /// Secrets without value, ports that cannot be assigned: nothing has changed then.
    pub async fn apply(&self, app: App, only: BTreeSet<ServiceName>) -> Result<u64, ControlError> {
        self.ask(|reply| Command::Apply { app: Box::new(app), only, reply }).await?
    }

    /// Services by name, or single instances (`orders-0`). Returns those it is about.
    ///
    /// # Errors
    /// When a name is neither; then nothing was done.
    pub async fn operate(
        &self,
        operation: Operation,
        names: Vec<String>,
    ) -> Result<Vec<InstanceId>, ControlError> {
        self.ask(|reply| Command::Operate { operation, names, reply }).await?
    }

    /// # Errors
    /// When there is no such service.
    pub async fn environment(&self, service: &str) -> Result<Environment, ControlError> {
        self.ask(|reply| Command::Environment { service: service.to_owned(), reply }).await?
    }

    /// Runs a job to its end.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn run_job(&self, job: &str) -> Result<JobOutcome, ControlError> {
        self.ask(|reply| Command::RunJob { job: job.to_owned(), reply }).await?
    }

    /// # Errors
    /// When Archipel is stopping.
    pub async fn jobs(&self) -> Result<Vec<JobState>, ControlError> {
        self.ask(|reply| Command::Jobs { reply }).await
    }

    /// The latest state; `None` before the first `apply`.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.snapshots.clone()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ControlError::Stopping)?;
        answer.await.map_err(|_| ControlError::Stopping)
    }
}

/// How often listeners that could not be opened are tried again, and jobs are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often a draining instance is asked whether its last request has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

struct Heart {
    parts: Parts,
    around: Arc<Surroundings>,
    tasks: Tasks,
    /// Counts manifests: progress of an older one is ignored.
    generation: u64,
    plan: Option<Arc<Plan>>,
    preparations: BTreeMap<ServiceName, Preparation>,
    databases: BTreeMap<ServiceName, DatabaseUrl>,
    statuses: watch::Receiver<Statuses>,
    progress: Sender<Progress>,
    /// Something is prepared that the supervisor was not told of.
    untold: bool,
    /// Of the specifications last given to the supervisor.
    hashes: BTreeMap<InstanceId, String>,
    /// As last applied: an equal one is not applied again.
    table: Option<Table>,
    listen_errors: Vec<archipel_gateway::ListenError>,
    jobs: Jobs,
    publish: watch::Sender<Option<Arc<Snapshot>>>,
}

impl Heart {
    async fn run(
        mut self,
        mut commands: Receiver<Command>,
        mut progressed: Receiver<Progress>,
        stop: CancellationToken,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(command) = commands.recv() => self.on_command(command).await,
                Some(progress) = progressed.recv() => self.on_progress(progress),
                Ok(()) = self.statuses.changed() => {}
                () = clock::sleep(DRAIN_LOOK), if self.is_draining() => {}
                _ = tick.tick() => self.on_tick().await,
            }
            // Each of a thousand services has its progress; the whole is told once for many.
            if self.progress.depth() > 0 {
                continue;
            }
            if std::mem::take(&mut self.untold) {
                self.tell_supervisor().await;
            }
            self.tell_gateway().await;
            self.end_drains().await;
            self.publish();
        }
    }

    async fn on_command(&mut self, command: Command) {
        // Whoever asked may have gone away: then the answer is dropped, and the work stays done.
        match command {
            Command::Apply { app, only, reply } => {
                let _ = reply.send(self.apply(*app, &only).await);
            }
            Command::Operate { operation, names, reply } => {
                let _ = reply.send(self.operate(operation, &names).await);
            }
            Command::Environment { service, reply } => {
                let _ = reply.send(self.environment(&service));
            }
            Command::RunJob { job, reply } => match self.job_to_run(&job) {
                Ok((spec, retry)) => self.jobs.run_now(spec, retry, reply),
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            },
            Command::Jobs { reply } => {
                let _ = reply.send(self.jobs.states(self.plan.as_deref()));
            }
        }
    }

    async fn apply(&mut self, app: App, only: &BTreeSet<ServiceName>) -> Result<u64, ControlError> {
        let store = SecretStore::new(&self.parts.state);
        let secrets = store.resolve(&app).map_err(ControlError::Secrets)?;
        let tokens = store.tokens(&app).map_err(|error| ControlError::Secrets(vec![error]))?;
        let first = self.plan.is_none();
        let plan = Plan::new(app, only, secrets, tokens, |key| self.port_for(key, first))?;
        self.generation += 1;
        self.preparations = plan
            .app
            .services
            .keys()
            .map(|name| {
                let first = match plan.selected.contains(name) {
                    true => Preparation::Waiting,
                    false => Preparation::LeftOut,
                };
                (name.clone(), first)
            })
            .collect();
        self.plan = Some(plan.clone());
        // The gateway first: the broker asks through it at once.
        self.tell_gateway().await;
        self.parts.broker.apply(Topology::of(&plan.app)).await?;
        for name in &plan.selected {
            let preparing = Preparing {
                generation: self.generation,
                plan: plan.clone(),
                around: self.around.clone(),
                supervisor: self.parts.supervisor.clone(),
                progress: self.progress.clone(),
            };
            self.tasks.spawn("control.prepare", preparing.run(name.clone()));
        }
        // Before the first service is prepared: what no manifest names any more stops now, and
        // what runs already goes on.
        self.tell_supervisor().await;
        Ok(self.generation)
    }

    /// The port that belongs to a key. At our own start nobody but a stranger can hold one of
    /// our own doors: then another is taken, once and for all. (Instances may live on from
    /// before, so theirs are looked at when one of them cannot start.)
    fn port_for(&self, key: &str, first: bool) -> Result<u16, archipel_supervisor::PortError> {
        let port = self.parts.ports.get(key)?;
        let ours = !key.starts_with("instance/");
        if first && ours && !archipel_supervisor::is_free(port) {
            tracing::warn!(key, port, "held by a stranger; another port is taken");
            return self.parts.ports.reassign(key);
        }
        Ok(port)
    }

    /// An instance that cannot start because a stranger holds its port gets another one, unless
    /// the manifest fixes it: that one is for people to settle.
    async fn leave_taken_ports(&mut self) {
        let Some(plan) = self.plan.clone() else { return };
        let mut moved = false;
        for status in self.statuses.borrow().iter() {
            let id = &status.id;
            let waits = status.state == InstanceState::BackingOff && status.pid.is_none();
            let fixed = plan.app.services.get(&id.service).is_none_or(|s| s.port.is_some());
            let Some(port) = status.port.filter(|_| waits && !fixed) else { continue };
            if archipel_supervisor::is_free(port) {
                continue;
            }
            let key = format!("instance/{}/{}", id.service, id.replica);
            match self.parts.ports.reassign(&key) {
                Ok(to) => {
                    tracing::warn!(instance = %id, port, to, "its port is held by a stranger");
                    moved = true;
                }
                Err(error) => tracing::error!(instance = %id, %error, "no other port to give"),
            }
        }
        if moved && let Ok(plan) = plan.with_ports(|key| self.parts.ports.get(key)) {
            self.plan = Some(plan);
            self.tell_supervisor().await;
        }
    }

    fn on_progress(&mut self, progress: Progress) {
        if progress.generation != self.generation {
            return;
        }
        if let Some(database) = progress.database {
            self.databases.insert(progress.service.clone(), database);
        }
        let settled =
            matches!(progress.preparation, Preparation::Done(_) | Preparation::Failed { .. });
        self.preparations.insert(progress.service, progress.preparation);
        self.untold |= settled;
    }

    async fn on_tick(&mut self) {
        self.leave_taken_ports().await;
        if !self.listen_errors.is_empty() {
            self.table = None; // try the listeners again
        }
        if let Some(plan) = &self.plan {
            self.jobs.start_due(plan, &self.databases, &self.around);
        }
    }

    async fn tell_supervisor(&mut self) {
        let Some(plan) = &self.plan else { return };
        let services = self.services(plan);
        let desired = desired::instances(plan, &services, &self.databases, &self.around);
        self.hashes =
            desired.iter().map(|spec| (spec.id.clone(), spec.spec_hash.clone())).collect();
        // Those not prepared yet keep what they have: an adopted process, or the version before.
        let unsettled = self
            .preparations
            .iter()
            .filter(|(_, p)| !matches!(p, Preparation::Done(_) | Preparation::LeftOut))
            .map(|(name, _)| name.clone())
            .collect();
        self.parts.supervisor.apply(desired, unsettled).await;
    }

    async fn tell_gateway(&mut self) {
        let Some(plan) = &self.plan else { return };
        let table = desired::table(plan, &self.services(plan), &self.around.state);
        if self.table.as_ref() == Some(&table) {
            return;
        }
        self.listen_errors = self.parts.gateway.apply(table.clone()).await;
        // Events that waited for an instance need not wait for their next try.
        for (name, upstream) in &table.services {
            let endpoints =
                |table: &Table| table.services.get(name).map_or(0, |u| u.endpoints.len());
            if upstream.endpoints.len() > self.table.as_ref().map_or(0, endpoints) {
                self.parts.broker.service_ready(name);
            }
        }
        self.table = Some(table);
    }

    /// For new requests the gateway has forgotten it by now: once the last old one has ended,
    /// nothing is gained by waiting longer.
    async fn end_drains(&self) {
        let statuses = self.statuses.borrow().clone();
        let draining = statuses.iter().filter(|s| s.state == InstanceState::Draining);
        for instance in draining {
            if self.parts.gateway.inflight(&instance.id) == 0 {
                self.parts.supervisor.drained(&instance.id).await;
            }
        }
    }

    fn is_draining(&self) -> bool {
        self.statuses.borrow().iter().any(|s| s.state == InstanceState::Draining)
    }

    fn services(&self, plan: &Plan) -> BTreeMap<ServiceName, ServiceState> {
        let statuses = self.statuses.borrow().clone();
        let mut of: BTreeMap<&ServiceName, Vec<Arc<InstanceStatus>>> = BTreeMap::new();
        for status in statuses.iter() {
            of.entry(&status.id.service).or_default().push(Arc::clone(status));
        }
        let mut state = |name: &ServiceName| {
            let instances = of.remove(name).unwrap_or_default();
            ServiceState {
                preparation: self.preparations[name].clone(),
                current: instances.iter().all(|s| self.hashes.get(&s.id) == Some(&s.spec_hash)),
                instances,
                desired: match plan.selected.contains(name) {
                    true => plan.app.services[name].replicas,
                    false => 0,
                },
            }
        };
        plan.app.services.keys().map(|name| (name.clone(), state(name))).collect()
    }

    fn publish(&self) {
        let Some(plan) = &self.plan else { return };
        let (public, edges): (Vec<_>, Vec<_>) =
            self.listen_errors.iter().partition(|error| error.id == "gateway");
        let tell = |error: &archipel_gateway::ListenError| {
            let holder = error
                .is_conflict()
                .then(|| archipel_supervisor::port_holder(error.addr.port()))
                .flatten();
            match holder {
                Some(holder) => format!("port {} is held by {holder}", error.addr.port()),
                None => error.to_string(),
            }
        };
        let snapshot = Snapshot {
            plan: plan.clone(),
            generation: self.generation,
            services: self.services(plan),
            problems: edges.into_iter().map(tell).collect(),
            gateway_error: public.first().map(|error| tell(error)),
        };
        self.publish.send_replace(Some(Arc::new(snapshot)));
    }

    async fn operate(
        &self,
        operation: Operation,
        names: &[String],
    ) -> Result<Vec<InstanceId>, ControlError> {
        let mut targets = BTreeSet::new();
        for name in names {
            targets.extend(self.instances_named(name)?);
        }
        let targets: Vec<InstanceId> = targets.into_iter().collect();
        let supervisor = &self.parts.supervisor;
        match operation {
            Operation::Restart => supervisor.restart(&targets).await,
            Operation::Stop => supervisor.stop_instances(&targets).await,
            Operation::Start => supervisor.start_instances(&targets).await,
        }?;
        Ok(targets)
    }

    fn instances_named(&self, name: &str) -> Result<Vec<InstanceId>, ControlError> {
        let Some(plan) = &self.plan else {
            return Err(self.unknown(name));
        };
        let all = plan.instances();
        let named: Vec<InstanceId> = all
            .into_iter()
            .filter(|id| id.service.as_str() == name || id.to_string() == name)
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
        if plan.app.services.contains_key(name) {
            return Err(ControlError::LeftOut { name: name.to_owned() });
        }
        Err(self.unknown(name))
    }

    fn unknown(&self, name: &str) -> ControlError {
        let names = self.plan.iter().flat_map(|plan| plan.app.services.keys());
        let known = suggest::there_are(name, names.map(ServiceName::as_str));
        ControlError::Unknown { name: name.to_owned(), known }
    }

    fn environment(&self, name: &str) -> Result<Environment, ControlError> {
        let found = self.plan.as_ref().and_then(|plan| Some((plan, plan.app.services.get(name)?)));
        let Some((plan, service)) = found else { return Err(self.unknown(name)) };
        let database = self.databases.get(name);
        let mut own = desired::own_environment(plan, service, database, &self.around);
        if let Some(port) = plan.services[name].ports.first() {
            own.extend(environment::of_instance(service, 0, *port));
            environment::name_instance(&mut own, service, 0);
        }
        let whole = desired::whole_environment(&own, service, &self.around);
        Ok(Environment { cwd: service.path.clone(), own, whole })
    }

    fn job_to_run(&self, name: &str) -> Result<(OnceSpec, Option<JobRetry>), ControlError> {
        let found = JobName::new(name)
            .ok()
            .and_then(|name| self.plan.as_ref().map(|plan| (plan, name)))
            .and_then(|(plan, name)| Some((plan, plan.app.jobs.get(&name)?)));
        match found {
            Some((plan, job)) => {
                let spec = jobs::specification(plan, job, &self.databases, &self.around);
                Ok((spec, job.retry))
            }
            None => {
                let names = self.plan.iter().flat_map(|plan| plan.app.jobs.keys());
                let known = suggest::there_are(name, names.map(JobName::as_str));
                Err(ControlError::UnknownJob { name: name.to_owned(), known })
            }
        }
    }
}
