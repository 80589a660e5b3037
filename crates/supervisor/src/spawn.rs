//! Starts processes, on one thread that lives as long as ours.
//!
//! One thread, because "die with your parent" means the *thread* that forked: a child forked
//! from a pool would die whenever the pool retires a thread. It has every signal blocked, so
//! that no handler of ours can run in a child before exec.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::cgroup::Leaf;
use crate::isolate::Isolator;
use crate::process::Process;
use crate::spec::Isolation;
use crate::sys::child::{self, Failed, Plan, Step};

/// Why a process could not be started, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    #[error("no program is given: `run` is empty")]
    Empty,
    #[error("program not found: {program} (looked in PATH={path})")]
    NotInPath { program: String, path: String },
    #[error("program not found: {}", .program.display())]
    NotFound { program: PathBuf },
    #[error("{} is not executable: `chmod +x {}` makes it so", .program.display(), .program.display())]
    NotExecutable { program: PathBuf },
    #[error("{} is not a program that this system can run: a script needs a first line like `#!/bin/sh`", .program.display())]
    Format { program: PathBuf },
    #[error("the interpreter that {} names in its first line (or its loader) does not exist", .program.display())]
    Interpreter { program: PathBuf },
    #[error("the working directory {} cannot be entered: {why}", .cwd.display())]
    Directory { cwd: PathBuf, why: String },
    #[error("port {port} is taken by {holder}")]
    Port { port: u16, holder: String },
    #[error("{what} contains a zero byte")]
    Nul { what: String },
    #[error("cannot {what}: {why}")]
    System { what: &'static str, why: String },
}

impl SpawnError {
    /// Trying again without a change by a person cannot help.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Port { .. } | Self::System { .. } => false,
            Self::Empty
            | Self::NotInPath { .. }
            | Self::NotFound { .. }
            | Self::NotExecutable { .. }
            | Self::Format { .. }
            | Self::Interpreter { .. }
            | Self::Directory { .. }
            | Self::Nul { .. } => true,
        }
    }

    pub(crate) fn system(what: &'static str, error: &io::Error) -> Self {
        Self::System { what, why: error.to_string() }
    }
}

/// One start.
pub(crate) struct Job<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) cwd: &'a Path,
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Further entries, which win: marks of ours.
    pub(crate) extra_env: &'a [(&'a str, String)],
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) leaf: &'a Leaf,
    pub(crate) isolation: &'a Isolation,
    pub(crate) session: bool,
    pub(crate) die_with_us: bool,
}

/// The handle of the spawner thread; cheap to clone.
#[derive(Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::SyncSender<(Plan, oneshot::Sender<Result<child::Child, Failed>>)>,
    boot_id: std::sync::Arc<str>,
    isolator: Isolator,
}

impl Spawner {
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(isolator: Isolator) -> io::Result<Self> {
        let (jobs, queue) =
            mpsc::sync_channel::<(Plan, oneshot::Sender<Result<child::Child, Failed>>)>(64);
        std::thread::Builder::new().name("archipel-spawn".to_owned()).spawn(move || {
            child::block_signals();
            while let Ok((plan, answer)) = queue.recv() {
                let child = child::spawn(&plan);
                // Nobody waits any more: what we have just made must not stay behind.
                if let Err(Ok(child)) = answer.send(child) {
                    let _ = rustix::process::pidfd_send_signal(
                        &child.pidfd,
                        rustix::process::Signal::KILL,
                    );
                }
            }
        })?;
        Ok(Self { jobs, boot_id: crate::process::boot_id().into(), isolator })
    }

    /// Starts one process; `Ok` means that its program runs. Blocks: call it on a blocking
    /// thread.
    pub(crate) fn spawn(&self, job: Job<'_>) -> Result<Process, SpawnError> {
        let program = find_program(job.argv, job.cwd, job.env)?;
        let cwd = job.cwd.to_path_buf();
        let plan = self.plan(&program, &job)?;
        // Our copies of its ends: a pipe must end with those who write to it.
        drop(job);
        let (answer, result) = oneshot::channel();
        let gone = || SpawnError::System { what: "start a process", why: "shutting down".into() };
        self.jobs.send((plan, answer)).map_err(|_| gone())?;
        match result.blocking_recv().map_err(|_| gone())? {
            Ok(child) => Ok(Process::of_child(child.pid, child.pidfd, &self.boot_id)),
            Err(failed) => Err(explain(failed, program, cwd)),
        }
    }

    fn plan(&self, program: &Path, job: &Job<'_>) -> Result<Plan, SpawnError> {
        let mut env: BTreeMap<&str, &str> =
            job.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        env.extend(job.extra_env.iter().map(|(name, value)| (*name, value.as_str())));
        let env: Result<Vec<CString>, SpawnError> = env
            .into_iter()
            .map(|(name, value)| {
                CString::new(format!("{name}={value}"))
                    .map_err(|_| SpawnError::Nul { what: format!("the variable {name}") })
            })
            .collect();
        let argv: Result<Vec<CString>, SpawnError> = job
            .argv
            .iter()
            .map(|word| {
                CString::new(word.as_str())
                    .map_err(|_| SpawnError::Nul { what: "an argument".to_owned() })
            })
            .collect();
        let cgroup = |error: io::Error| SpawnError::system("open the control group", &error);
        Ok(Plan {
            program: Some(c_path(program)?),
            argv: argv?,
            env: env?,
            cwd: c_path(job.cwd)?,
            stdin: above_standard(&job.stdin)?,
            stdout: above_standard(&job.stdout)?,
            stderr: above_standard(&job.stderr)?,
            cgroup: job.leaf.v2_fd().map_err(cgroup)?,
            procs: job.leaf.v1_procs().map_err(cgroup)?,
            session: job.session,
            die_with_parent: job.die_with_us,
            // When memory runs out the kernel should rather take a service than its supervisor.
            oom_score_adj: Some(c"200".to_owned()),
            // As a person's shell has it: private files live in directories that are 0700.
            umask: 0o022,
            jail: self.isolator.jail(job.isolation)?,
        })
    }
}

pub(crate) fn c_path(path: &Path) -> Result<CString, SpawnError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| SpawnError::Nul { what: format!("the path {}", path.display()) })
}

/// A copy numbered 3 or higher: the child puts copies on 0, 1 and 2 one after the other.
fn above_standard(fd: &OwnedFd) -> Result<OwnedFd, SpawnError> {
    rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), 3)
        .map_err(|error| SpawnError::system("copy a descriptor", &error.into()))
}

/// Where the shell would find it: a path as it is, relative to `cwd`; a bare name in `PATH`.
fn find_program(
    argv: &[String],
    cwd: &Path,
    env: &BTreeMap<String, String>,
) -> Result<PathBuf, SpawnError> {
    let name = argv.first().filter(|name| !name.is_empty()).ok_or(SpawnError::Empty)?;
    if !cwd.is_dir() {
        let why = if cwd.exists() { "it is not a directory" } else { "it does not exist" };
        return Err(SpawnError::Directory { cwd: cwd.to_path_buf(), why: why.to_owned() });
    }
    if name.contains('/') {
        let program = cwd.join(name);
        return match fs::metadata(&program) {
            Err(_) => Err(SpawnError::NotFound { program }),
            Ok(meta) if meta.is_dir() || meta.permissions().mode() & 0o111 == 0 => {
                Err(SpawnError::NotExecutable { program })
            }
            Ok(_) => Ok(program),
        };
    }
    let path = env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    look_in_path(name, path, cwd)
        .ok_or_else(|| SpawnError::NotInPath { program: name.clone(), path: path.to_owned() })
}

/// The first executable file of that name in the directories of `path`.
pub(crate) fn look_in_path(name: &str, path: &str, cwd: &Path) -> Option<PathBuf> {
    path.split(':').map(|dir| cwd.join(dir).join(name)).find(|candidate| {
        fs::metadata(candidate)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

fn explain(failed: Failed, program: PathBuf, cwd: PathBuf) -> SpawnError {
    let Failed { step, error } = failed;
    let what = match step {
        Step::Exec => match error.raw_os_error() {
            Some(libc::ENOENT) if program.exists() => return SpawnError::Interpreter { program },
            Some(libc::ENOENT) => return SpawnError::NotFound { program },
            Some(libc::EACCES) => return SpawnError::NotExecutable { program },
            Some(libc::ENOEXEC) => return SpawnError::Format { program },
            _ => "execute the program",
        },
        Step::Directory => return SpawnError::Directory { cwd, why: error.to_string() },
        Step::Fork => "make a process",
        Step::Cgroup => "enter the control group",
        Step::Session => "open a session",
        Step::Limits => "set limits",
        Step::Isolate => "cover the other services' directories",
        Step::Output => "connect the output",
    };
    SpawnError::system(what, &error)
}

/// `/dev/null`, for reading.
pub(crate) fn no_input() -> io::Result<OwnedFd> {
    Ok(fs::File::open("/dev/null")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(argv: &[&str], path: &str) -> Result<PathBuf, SpawnError> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let env = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
        find_program(&argv, Path::new("/"), &env)
    }

    #[test]
    fn a_missing_program_says_where_it_was_looked_for() {
        let error = find(&["no-such-tool"], "/usr/bin:/bin").unwrap_err();
        assert_eq!(
            error.to_string(),
            "program not found: no-such-tool (looked in PATH=/usr/bin:/bin)"
        );
        assert!(error.is_final());
        assert_eq!(find(&["sh"], "/nowhere:/bin"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(find(&[], "/bin"), Err(SpawnError::Empty));
        assert!(matches!(find(&["/etc/passwd"], ""), Err(SpawnError::NotExecutable { .. })));
        assert!(matches!(find(&["./nothing"], ""), Err(SpawnError::NotFound { .. })));
    }
}
