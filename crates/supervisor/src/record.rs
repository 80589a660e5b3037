//! What must outlive the supervisor, as small files written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use archipel_model::InstanceId;
use archipel_rt::clock;
use rustix::fs::{FlockOperation, flock};

use crate::process::{Identity, stat};
use crate::tree::Tree;

/// Version of [`Record`]; another one is not read but swept by its marks.
const VERSION: u32 = 1;

/// One process tree that we started, written before it exists and completed after.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) id: InstanceId,
    pub(crate) kind: Kind,
    pub(crate) run: u64,
    pub(crate) spec_hash: String,
    pub(crate) level: u32,
    pub(crate) port: Option<u16>,
    pub(crate) tree: Tree,
    /// `None`: we died between announcing the process and learning its number.
    pub(crate) process: Option<Identity>,
    pub(crate) started_at_ms: u64,
    /// The startup probe had passed.
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
    pub(crate) stop_signal: i32,
    pub(crate) grace_ms: u64,
    /// Address of the notify socket, for a start that is still going on.
    pub(crate) notify: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Service,
    /// A build, a migration, a job: never adopted, its work was for the one who died.
    Once,
}

impl Record {
    pub(crate) fn new(id: InstanceId, kind: Kind, run: u64, tree: Tree) -> Self {
        Self {
            version: VERSION,
            id,
            kind,
            run,
            spec_hash: String::new(),
            level: 0,
            port: None,
            tree,
            process: None,
            started_at_ms: 0,
            ready: false,
            restarts: 0,
            stop_signal: libc::SIGTERM,
            grace_ms: 10_000,
            notify: None,
        }
    }

    fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.{}.json", self.id, self.run))
    }

    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        write_whole(&self.path(dir), &serde_json::to_vec_pretty(self)?)
    }

    pub(crate) fn remove(&self, dir: &Path) {
        let _ = fs::remove_file(self.path(dir));
    }

    /// Every record in `dir` that can be read, for one who is not its owner and changes nothing.
    pub(crate) fn look(dir: &Path) -> impl Iterator<Item = Self> + use<> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
    }

    /// Every record in `dir`. One that cannot be read is removed: its processes are found by their
    /// group and mark, and without a record they count as unknown.
    pub(crate) fn read_all(dir: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let mut records = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match fs::read(&path).map_err(|e| e.to_string()).and_then(|bytes| {
                serde_json::from_slice::<Self>(&bytes).map_err(|error| error.to_string())
            }) {
                Ok(record) if record.version == VERSION => records.push(record),
                Ok(record) => {
                    tracing::warn!(path = %path.display(), record.version, "record of another version");
                    let _ = fs::remove_file(&path);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), error, "unreadable instance record");
                    let _ = fs::remove_file(&path);
                }
            }
        }
        records.sort_by(|a, b| (&a.id, a.run).cmp(&(&b.id, b.run)));
        records
    }
}

/// Replaces a file so that a reader, or we after a crash, see the old or the new one. Not proof
/// against a power failure: after a boot nothing in a record is true any more.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (_, beside) = write_beside(path, bytes)?;
    fs::rename(beside, path)
}

/// As [`write_whole`], also over a power failure.
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (file, beside) = write_beside(path, bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    match path.parent() {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<(fs::File, PathBuf)> {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = path.with_extension("tmp");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    Ok((file, beside))
}

/// The directories below the state directory.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(crate) fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    pub(crate) fn pipes(&self) -> PathBuf {
        self.root.join("pipes")
    }

    pub(crate) fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("supervisor.lock")
    }

    /// Where our groups are, for a successor that is started from elsewhere.
    pub(crate) fn cgroups(&self) -> PathBuf {
        self.root.join("cgroups.json")
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for dir in [self.root.clone(), self.instances(), self.pipes(), self.builds()] {
            builder.create(dir)?;
        }
        Ok(())
    }
}

/// One supervisor per state directory; let go when the process ends, however it ends.
///
/// A child holds it too, from fork until exec closes it. That is a help: when a supervisor is
/// killed in the middle of a start, the next one gets the lock only when the process of that
/// start can be found by its marks.
#[derive(Debug)]
pub(crate) struct Lock {
    file: fs::File,
}

#[derive(Debug)]
pub(crate) enum LockError {
    Held { pid: Option<i32> },
    Io(io::Error),
}

/// For the children of one that was killed to reach their exec.
const DEAD_HOLDER_WAIT: Duration = Duration::from_secs(10);

impl Lock {
    /// Blocks while the lock is held by nobody but children of a dead supervisor.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(LockError::Io)?;
        let begun = clock::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(LockError::Io(error.into())),
            }
            let holder = fs::read_to_string(path).ok().and_then(|text| parse_holder(&text));
            let lives = holder.is_none_or(|(pid, ticks)| {
                stat(pid).is_some_and(|stat| stat.start_ticks == ticks && stat.state != b'Z')
            });
            if lives || begun.elapsed() > DEAD_HOLDER_WAIT {
                return Err(LockError::Held { pid: holder.map(|(pid, _)| pid) });
            }
            pause(Duration::from_millis(5));
        }
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let ticks = stat(me).map_or(0, |stat| stat.start_ticks);
        file.set_len(0).and_then(|()| writeln!(file, "{me} {ticks}")).map_err(LockError::Io)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    /// Closing alone would leave it to children that are still on the way to their exec.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Number and start time, so that a number given away again is not taken for the holder.
fn parse_holder(text: &str) -> Option<(i32, u64)> {
    let (pid, ticks) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, ticks.parse().ok()?))
}

#[expect(clippy::disallowed_methods, reason = "on a blocking thread, while children reach exec")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_held_only_by_a_dead_ones_child_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path).unwrap();
        match Lock::take(&path) {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id() as i32)),
            other => panic!("{other:?}"),
        }
        // As if we had died and only a child, which will let go at its exec, still held it.
        fs::write(&path, "1 99999999999999\n").unwrap();
        let waiting = std::thread::spawn(move || Lock::take(&path).map(drop).map_err(|_| ()));
        drop(held);
        assert_eq!(waiting.join().unwrap(), Ok(()));
    }
}
