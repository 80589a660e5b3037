//! Commands that run to their end: migrations, jobs, builds.
//!
//! They belong to whoever asked. When the asker goes away, or the supervisor does, all their
//! processes are killed; a supervisor that was killed itself leaves a record, by which the next
//! one does that.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{InstanceId, Memory, ServiceName, show_duration};
use archipel_rt::{CancellationToken, blocking, clock};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::cgroup::Leaf;
use crate::output::{Reader, Shared, Target};
use crate::process::Process;
use crate::record::{Kind, Record};
use crate::spawn::{Job, SpawnError, no_input};
use crate::spec::Isolation;
use crate::status::{Exit, Stream};
use crate::supervisor::{Common, Supervisor};
use crate::tree::{MARK, Tree};

/// One command with the environment of a service.
#[derive(Clone)]
pub struct OnceSpec {
    /// What it is called in messages, e.g. `orders-migrate`.
    pub name: String,
    /// Among whose lines its output appears.
    pub service: ServiceName,
    /// Program and arguments, variables filled in.
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    /// The complete environment.
    pub env: BTreeMap<String, String>,
    pub memory: Option<Memory>,
    pub isolate: Isolation,
    /// Then it is killed; `None`: it may take as long as it likes.
    pub timeout: Option<Duration>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceReport {
    /// `Err`: it never ran.
    pub exit: Result<Exit, SpawnError>,
    pub took: Duration,
    /// The time that was allowed, if it ran out.
    pub timed_out: Option<Duration>,
    /// At most 30.
    pub last_lines: Vec<String>,
}

impl OnceReport {
    pub fn is_success(&self) -> bool {
        self.timed_out.is_none() && matches!(self.exit, Ok(exit) if exit.is_success())
    }

    /// As a shell would say it: 127 not found, 126 not executable, 124 out of time, 128 + signal.
    pub fn exit_code(&self) -> i32 {
        if self.timed_out.is_some() {
            return 124;
        }
        match &self.exit {
            Ok(Exit::Code(code)) => *code,
            Ok(Exit::Signal(signal)) => 128 + signal,
            Ok(Exit::OomKilled { .. }) => 137,
            Ok(Exit::Unknown) => 1,
            Err(SpawnError::NotExecutable { .. } | SpawnError::Format { .. }) => 126,
            Err(_) => 127,
        }
    }

    /// One sentence for people.
    pub fn reason(&self) -> String {
        match (&self.exit, self.timed_out) {
            (_, Some(timeout)) => format!("killed: not done within {}", show_duration(timeout)),
            (Ok(exit), None) => exit.to_string(),
            (Err(error), None) => error.to_string(),
        }
    }
}

impl Supervisor {
    /// Runs a command to its end; its output goes to the logs of its service. Dropping the
    /// future kills it, with everything it started; so does the end of the supervisor.
    pub async fn run_once(&self, spec: OnceSpec) -> OnceReport {
        let command = Command { spec, streams: [Stream::Stdout, Stream::Stderr] };
        run(&self.common, command).await
    }
}

pub(crate) struct Command {
    pub(crate) spec: OnceSpec,
    /// As what its standard output and its standard error appear.
    pub(crate) streams: [Stream; 2],
}

pub(crate) async fn run(common: &Arc<Common>, command: Command) -> OnceReport {
    let started = clock::now();
    let cancel = common.once.stop_token().child_token();
    let on_drop = cancel.clone().drop_guard();
    let (done, answer) = oneshot::channel();
    let task = {
        let common = common.clone();
        async move {
            let report = run_here(&common, command, cancel).await;
            let _ = done.send(report);
        }
    };
    common.once.spawn("supervisor.once", task);
    let report = answer.await;
    on_drop.disarm();
    report.unwrap_or_else(|_| OnceReport {
        exit: Err(stopping()),
        took: started.elapsed(),
        timed_out: None,
        last_lines: Vec::new(),
    })
}

fn stopping() -> SpawnError {
    SpawnError::System { what: "run a command", why: "stopping".to_owned() }
}

async fn run_here(common: &Arc<Common>, command: Command, cancel: CancellationToken) -> OnceReport {
    let started = clock::now();
    let shared = Shared::new();
    let mut report = OnceReport {
        exit: Ok(Exit::Unknown),
        took: Duration::ZERO,
        timed_out: None,
        last_lines: Vec::new(),
    };
    let mut readers = Readers { tasks: JoinSet::new(), stop: CancellationToken::new() };
    // What would be killed at once could still have done something.
    let started_now = match cancel.is_cancelled() {
        true => Err(stopping()),
        false => start(common, &command, &shared, &mut readers).await,
    };
    match started_now {
        Err(error) => report.exit = Err(error),
        Ok((process, record)) => {
            let timeout = command.spec.timeout;
            let exit = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                exit = process.exited() => Some(exit),
                () = clock::sleep(timeout.unwrap_or_default()), if timeout.is_some() => {
                    report.timed_out = timeout;
                    None
                }
            };
            let ended = end(common, record, process, exit).await;
            report.exit = Ok(ended);
            readers.finish().await;
        }
    }
    report.took = started.elapsed();
    report.last_lines = shared.last_lines();
    report
}

/// Those who read one command's output.
struct Readers {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Readers {
    /// The tree is gone, so nobody can write any more and they end by themselves; unless someone
    /// has slipped away with an open end, where the kernel does not hold trees together.
    async fn finish(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if clock::timeout(Duration::from_secs(2), all).await.is_err() {
            self.stop.cancel();
            while self.tasks.join_next().await.is_some() {}
        }
    }
}

/// Kills what is left of the tree and says how the first process ended.
async fn end(common: &Arc<Common>, record: Record, process: Process, exit: Option<Exit>) -> Exit {
    record.tree.clone().end(Some(process.clone())).await;
    let exit = match exit {
        Some(exit) => exit,
        None => process.exited().await,
    };
    let dir = common.paths.instances();
    blocking(move || {
        let leaf = &record.tree.leaf;
        let exit = leaf.true_exit(exit, None);
        leaf.remove();
        record.remove(&dir);
        exit
    })
    .await
}

async fn start(
    common: &Arc<Common>,
    command: &Command,
    shared: &Arc<Shared>,
    readers: &mut Readers,
) -> Result<(Process, Record), SpawnError> {
    let spec = command.spec.clone();
    let id = InstanceId { service: spec.service.clone(), replica: 0 };
    let system = |what| move |error: io::Error| SpawnError::system(what, &error);
    let mut ends = Vec::new();
    for stream in command.streams {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(|(read, write)| {
                rustix::io::ioctl_fionbio(&read, true)?;
                Ok((read, write))
            })
            .map_err(system("make a pipe"))?;
        let target = Target {
            instance: id.clone(),
            stream,
            shared: shared.clone(),
            logs: common.logs.sender(),
        };
        let reader = Reader::of_pipe(read, target, readers.stop.clone());
        readers.tasks.spawn(reader.map_err(system("read a pipe"))?.run());
        ends.push(write);
    }
    let (Some(stderr), Some(stdout)) = (ends.pop(), ends.pop()) else {
        return Err(SpawnError::Empty);
    };
    let common = common.clone();
    blocking(move || start_blocking(&common, &spec, id, stdout, stderr)).await
}

fn start_blocking(
    common: &Common,
    spec: &OnceSpec,
    id: InstanceId,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> Result<(Process, Record), SpawnError> {
    let system = |what| move |error: io::Error| SpawnError::system(what, &error);
    // Several may run for one service within one millisecond.
    let run = archipel_rt::random::u64() >> 1;
    let leaf_name = format!("once-{}.{run:x}", spec.service);
    let leaf = Leaf::create(&common.cgroups, &leaf_name, spec.memory.as_ref())
        .map_err(system("make its control group"))?;
    let tree = Tree { leaf, mark: common.mark(&format!("once-{}", spec.service), run) };
    let mut record = Record::new(id, Kind::Once, run, tree);
    record.started_at_ms = clock::wall_ms();
    let dir = common.paths.instances();
    let done = record.write(&dir).map_err(system("write its record")).and_then(|()| {
        common.spawner.spawn(Job {
            argv: &spec.argv,
            cwd: &spec.cwd,
            env: &spec.env,
            extra_env: &[(MARK, record.tree.mark.clone())],
            stdin: no_input().map_err(system("open /dev/null"))?,
            stdout,
            stderr,
            leaf: &record.tree.leaf,
            isolation: &spec.isolate,
            session: true,
            die_with_us: true,
        })
    });
    match done {
        Ok(process) => {
            record.process = Some(process.identity.clone());
            let _ = record.write(&dir);
            Ok((process, record))
        }
        Err(error) => {
            record.tree.leaf.remove();
            record.remove(&dir);
            Err(error)
        }
    }
}
