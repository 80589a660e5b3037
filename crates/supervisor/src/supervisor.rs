//! The handle: what `control` and the command line hold.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use archipel_model::{InstanceId, ServiceName};
use archipel_rt::{CancellationToken, Sender, Tasks, blocking, channel, random};
use tokio::sync::{oneshot, watch};

use crate::adopt::Inheritance;
use crate::capabilities::Capabilities;
use crate::cgroup::{self, Cgroups};
use crate::engine::{Command, Engine, Verb};
use crate::isolate::Isolator;
use crate::record::{Lock, LockError, Paths};
use crate::spawn::Spawner;
use crate::spec::{Config, InstanceSpec};
use crate::status::{InstanceStatus, LogLine};

/// Every instance, ordered by id; each replaced as a whole when it changes.
pub type Statuses = Arc<Vec<Arc<InstanceStatus>>>;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "another Archipel{} already runs this application (it holds {})",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .lock.display()
    )]
    AlreadyRunning { pid: Option<i32>, lock: PathBuf },
    #[error("could not prepare the state directory {}", .path.display())]
    State {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not start the thread that starts processes")]
    Thread {
        #[source]
        source: io::Error,
    },
}

/// What becomes of the services when the supervisor stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Stop them all, the last started first; none of their processes is left.
    Down,
    /// As `Down`, at once: no order, no drain, no grace.
    Kill,
    /// Let them live: the next supervisor adopts them.
    Leave,
}

/// Asked about instances that nobody has applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such instance: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
pub struct UnknownInstances(pub Vec<InstanceId>);

/// What every part of one supervisor shares.
pub(crate) struct Common {
    pub(crate) config: Config,
    pub(crate) paths: Paths,
    pub(crate) cgroups: Cgroups,
    pub(crate) spawner: Spawner,
    pub(crate) capabilities: Capabilities,
    pub(crate) tasks: Tasks,
    /// Builds and one-off commands; they end with the supervisor.
    pub(crate) once: Tasks,
    /// Builds at once.
    pub(crate) builds: Arc<tokio::sync::Semaphore>,
    pub(crate) logs: LogSink,
    /// Tells the processes of this state directory from those of any other.
    pub(crate) name: String,
    /// Distinguishes marks of this supervisor's processes from any other's.
    pub(crate) nonce: u64,
}

impl Common {
    /// The value of the mark of one start; `what` is the instance, or what is run once.
    pub(crate) fn mark(&self, what: &str, run: u64) -> String {
        format!("{}/{what}/{run}/{:016x}", self.name, self.nonce)
    }
}

/// Where lines go, until the supervisor ends: then the receiver sees the end of the queue, even
/// while handles of the supervisor still exist.
pub(crate) struct LogSink(Mutex<Option<Sender<LogLine>>>);

impl LogSink {
    pub(crate) fn sender(&self) -> Option<Sender<LogLine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Runs the processes of one application. Cheap to clone; all clones are one supervisor.
///
/// When the last clone and the token given to [`Supervisor::start`] are dropped, services live
/// on as after [`Shutdown::Leave`].
#[derive(Clone)]
pub struct Supervisor {
    commands: Sender<Command>,
    status: watch::Receiver<Statuses>,
    pub(crate) common: Arc<Common>,
}

impl Supervisor {
    /// Takes the state directory's lock and takes over what lives from an earlier supervisor;
    /// adopted instances go on untouched until [`Supervisor::apply`] says otherwise.
    ///
    /// Lines of output go to `logs`; when nobody takes them, services wait. Cancelling `stop`
    /// ends the supervisor like [`Shutdown::Leave`].
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(
        config: Config,
        logs: Sender<LogLine>,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let tasks = Tasks::new(stop);
        let prepared = {
            let tasks = tasks.clone();
            blocking(move || prepare(config, logs, tasks)).await?
        };
        let (common, lock) = prepared;
        let inheritance = Inheritance::find(&common.paths).await;
        inheritance.announce(&common.paths, &common.cgroups);
        let (adopted, _) = inheritance.take(&common.paths).await;
        let (commands, receiver) = channel("supervisor.commands", 64);
        let (status_tx, status) = watch::channel(Statuses::default());
        let engine = Engine::new(common.clone(), receiver, status_tx, adopted, lock);
        tasks.spawn("supervisor.engine", engine.run());
        Ok(Self { commands, status, common })
    }

    /// Makes the running set equal to `desired`: starts what is missing, stops what is too much,
    /// replaces what has another `spec_hash`. Instances of `unsettled` services that are not in
    /// `desired` are left as they are: their new version is still being prepared. The same again
    /// does nothing. Returns when the set is taken over and shows in [`Supervisor::watch`], not
    /// when it runs.
    pub async fn apply(&self, desired: Vec<InstanceSpec>, unsettled: BTreeSet<ServiceName>) {
        self.call(|done| Command::Apply(desired, unsettled, done)).await;
    }

    /// The latest state of every instance.
    pub fn watch(&self) -> watch::Receiver<Statuses> {
        self.status.clone()
    }

    /// Stops (with drain) and starts again, forgetting earlier failures.
    ///
    /// # Errors
    /// [`UnknownInstances`]; the known ones among `ids` are restarted all the same.
    pub async fn restart(&self, ids: &[InstanceId]) -> Result<(), UnknownInstances> {
        self.people(Verb::Restart, ids).await
    }

    /// Stops and keeps stopped until [`Supervisor::start_instances`], also over further `apply`s.
    ///
    /// # Errors
    /// [`UnknownInstances`]; the known ones among `ids` are stopped all the same.
    pub async fn stop_instances(&self, ids: &[InstanceId]) -> Result<(), UnknownInstances> {
        self.people(Verb::Stop, ids).await
    }

    /// Starts what was stopped, has failed or waits in its back-off.
    ///
    /// # Errors
    /// [`UnknownInstances`]; the known ones among `ids` are started all the same.
    pub async fn start_instances(&self, ids: &[InstanceId]) -> Result<(), UnknownInstances> {
        self.people(Verb::Start, ids).await
    }

    /// Nothing is in flight to a draining instance any more: it need not wait for its full drain
    /// time. Without effect in any other state.
    pub async fn drained(&self, id: &InstanceId) {
        let _ = self.commands.send(Command::Drained(id.clone())).await;
    }

    /// Ends the supervisor; returns when it has ended. A second call returns at once.
    pub async fn shutdown(&self, mode: Shutdown) {
        self.call(|done| Command::Shutdown(mode, done)).await;
    }

    /// What this machine lets us do, for `doctor` and `ps`.
    pub fn capabilities(&self) -> &Capabilities {
        &self.common.capabilities
    }

    async fn people(&self, verb: Verb, ids: &[InstanceId]) -> Result<(), UnknownInstances> {
        let ids = ids.to_vec();
        let unknown = self.call(|done| Command::People(verb, ids, done)).await.unwrap_or_default();
        if unknown.is_empty() { Ok(()) } else { Err(UnknownInstances(unknown)) }
    }

    /// `None`: the supervisor has ended.
    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.ok()?;
        answer.await.ok()
    }
}

fn prepare(
    config: Config,
    logs: Sender<LogLine>,
    tasks: Tasks,
) -> Result<(Arc<Common>, Lock), StartError> {
    let paths = Paths::new(&config.state_dir);
    let state = |source| StartError::State { path: config.state_dir.clone(), source };
    paths.create().map_err(state)?;
    let lock = Lock::take(&paths.lock()).map_err(|error| lock_error(error, &paths))?;
    let isolator = match config.isolation {
        true => Isolator::detect(&paths.pipes()),
        false => Isolator::off(),
    };
    let name = own_name(&config.state_dir);
    let cgroups = cgroup::detect(&config.cgroup_root, &name);
    let capabilities = Capabilities::new(&cgroups, &isolator);
    let spawner = Spawner::start(isolator).map_err(|source| StartError::Thread { source })?;
    let nonce = random::u64();
    let once = Tasks::new(&tasks.stop_token());
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let builds = Arc::new(tokio::sync::Semaphore::new(cores));
    let logs = LogSink(Mutex::new(Some(logs)));
    let common = Common {
        config,
        paths,
        cgroups,
        spawner,
        capabilities,
        tasks,
        once,
        builds,
        logs,
        name,
        nonce,
    };
    Ok((Arc::new(common), lock))
}

pub(crate) fn lock_error(error: LockError, paths: &Paths) -> StartError {
    match error {
        LockError::Held { pid } => StartError::AlreadyRunning { pid, lock: paths.lock() },
        LockError::Io(source) => StartError::State { path: paths.root.clone(), source },
    }
}

/// The same for every supervisor of this state directory, and for no other.
pub(crate) fn own_name(state_dir: &Path) -> String {
    use sha2::{Digest, Sha256};
    let dir = state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_path_buf());
    let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    format!("archipel-{:02x}{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3], hash[4])
}
