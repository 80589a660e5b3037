//! Keeps a process away from data that is not its own.
//!
//! A mount namespace of its own, in which the directories to hide are covered by empty ones and
//! only its own is bound back. Root makes one directly, and then gives up the rights by which it
//! could look behind the covers. Anybody else needs a user namespace for it, in which they stay
//! who they are; some systems refuse that, and then there is no wall: it is shown, not hidden.

use std::path::{Path, PathBuf};

use crate::spawn::{SpawnError, c_path};
use crate::spec::Isolation;
use crate::sys::child::{self, Plan};
use crate::sys::jail::{Cover, Jail, KEEPS_MAX, Keep, UserMap};

/// What stands between the services' data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationKind {
    /// Mount namespace, and no right to change it (root with Landlock).
    Sealed,
    /// Mount namespace; a service that runs as root and means harm could undo it.
    MountNamespace,
    /// Mount and user namespace.
    UserNamespace,
    None,
}

#[derive(Debug, Clone)]
pub(crate) struct Isolator {
    kind: IsolationKind,
    why: String,
}

impl Isolator {
    /// Tries on a process that does nothing else, best first. `scratch` is an existing directory.
    pub(crate) fn detect(scratch: &Path) -> Self {
        let kinds: &[IsolationKind] = if rustix::process::geteuid().is_root() {
            &[IsolationKind::Sealed, IsolationKind::MountNamespace]
        } else {
            &[IsolationKind::UserNamespace]
        };
        let mut why = String::new();
        for kind in kinds {
            match rehearse(*kind, scratch) {
                Ok(()) => return Self { kind: *kind, why },
                Err(error) => why = format!("no private view of the file system: {error}"),
            }
        }
        Self { kind: IsolationKind::None, why }
    }

    pub(crate) fn off() -> Self {
        Self { kind: IsolationKind::None, why: "switched off".to_owned() }
    }

    pub(crate) fn kind(&self) -> IsolationKind {
        self.kind
    }

    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// What the child has to do; `None` when there is nothing to hide, or no way to.
    pub(crate) fn jail(&self, isolation: &Isolation) -> Result<Option<Jail>, SpawnError> {
        if isolation.hide.is_empty() || self.kind == IsolationKind::None {
            return Ok(None);
        }
        jail(self.kind, isolation).map(Some)
    }
}

fn rehearse(kind: IsolationKind, scratch: &Path) -> Result<(), String> {
    let isolation = Isolation { hide: vec![scratch.to_path_buf()], keep: Vec::new() };
    let null = || crate::spawn::no_input().map_err(|error| error.to_string());
    let plan = Plan {
        program: None,
        argv: Vec::new(),
        env: Vec::new(),
        cwd: c"/".to_owned(),
        stdin: null()?,
        stdout: null()?,
        stderr: null()?,
        cgroup: None,
        procs: Vec::new(),
        session: false,
        die_with_parent: false,
        oom_score_adj: None,
        umask: 0o022,
        jail: Some(jail(kind, &isolation).map_err(|error| error.to_string())?),
    };
    // A thread of its own, which may block every signal for itself.
    let tried = std::thread::spawn(move || {
        child::block_signals();
        child::spawn(&plan).map(|child| child.pidfd)
    });
    match tried.join() {
        Ok(Ok(pidfd)) => {
            use std::os::fd::AsFd;
            let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
            let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
            Ok(())
        }
        Ok(Err(failed)) => Err(failed.error.to_string()),
        Err(_) => Err("the rehearsal panicked".to_owned()),
    }
}

fn jail(kind: IsolationKind, isolation: &Isolation) -> Result<Jail, SpawnError> {
    let user = (kind == IsolationKind::UserNamespace).then(|| {
        let map = |id: u32| {
            std::ffi::CString::new(format!("{id} {id} 1")).expect("digits and blanks hold no zero")
        };
        UserMap {
            uid_map: map(rustix::process::geteuid().as_raw()),
            gid_map: map(rustix::process::getegid().as_raw()),
        }
    });
    let covers: Result<Vec<Cover>, SpawnError> = outermost(&isolation.hide)
        .iter()
        // What is to be kept as a whole is not covered.
        .filter(|path| {
            path.is_dir() && !isolation.keep.iter().any(|keep| path.starts_with(real(keep)))
        })
        .map(|path| cover(path, &isolation.keep))
        .collect();
    Ok(Jail { user, covers: covers?, seal: kind == IsolationKind::Sealed })
}

/// Real paths, without those that lie below another: that one covers them.
fn outermost(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = paths.iter().map(|path| real(path)).collect();
    paths.sort();
    paths.dedup_by(|later, earlier| later.starts_with(&*earlier));
    paths
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn cover(hidden: &Path, keep: &[PathBuf]) -> Result<Cover, SpawnError> {
    let mut keeps = Vec::new();
    for path in outermost(keep) {
        if path == hidden || !path.starts_with(hidden) || !path.exists() {
            continue;
        }
        let mut parents = Vec::new();
        let mut above = path.parent();
        while let Some(dir) = above.filter(|dir| *dir != hidden) {
            parents.push(c_path(dir)?);
            above = dir.parent();
        }
        parents.reverse();
        if keeps.len() == KEEPS_MAX {
            return Err(SpawnError::System {
                what: "cover the other services' directories",
                why: format!("more than {KEEPS_MAX} directories are to be kept"),
            });
        }
        keeps.push(Keep { path: c_path(&path)?, parents, is_dir: path.is_dir() });
    }
    Ok(Cover { path: c_path(hidden)?, keeps })
}
