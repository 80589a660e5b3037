//! The files of one service: appended to, rotated by size, deleted by budget.
//!
//! `logs/<service>/<first record's time>-<n>.ndjson`, so that names sort by age. A line that a
//! crash tore is ended at the next open and skipped by readers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use archipel_model::LogPolicy;

pub(crate) const SEGMENT_BYTES: u64 = 8 << 20;

pub(crate) struct Segments {
    dir: PathBuf,
    policy: LogPolicy,
    current: Option<Current>,
}

struct Current {
    file: File,
    bytes: u64,
}

impl Segments {
    /// Goes on with the newest file, when it has room.
    pub(crate) fn open(dir: PathBuf, policy: LogPolicy) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let current = match paths(&dir)?.pop() {
            Some(newest) => reopen(&newest)?,
            None => None,
        };
        Ok(Self { dir, policy, current })
    }

    pub(crate) fn set_policy(&mut self, policy: LogPolicy) {
        self.policy = policy;
    }

    /// Appends whole lines; `at_ms` names the file if a new one begins.
    pub(crate) fn append(&mut self, lines: &[u8], at_ms: u64) -> io::Result<()> {
        let full = self.current.as_ref().is_none_or(|current| {
            current.bytes > 0 && current.bytes + lines.len() as u64 > SEGMENT_BYTES
        });
        if full {
            self.current = Some(begin(&self.dir, at_ms)?);
            self.keep_budget()?;
        }
        let current = self.current.as_mut().expect("begun just now");
        current.file.write_all(lines)?;
        current.bytes += lines.len() as u64;
        Ok(())
    }

    /// Deletes the oldest files that are over the size or past the age; never the newest.
    pub(crate) fn keep_budget(&self) -> io::Result<()> {
        let mut paths = paths(&self.dir)?;
        paths.pop();
        let sizes: Vec<(u64, Option<Duration>)> = paths
            .iter()
            .map(|path| {
                let meta = fs::metadata(path)?;
                Ok((meta.len(), age(&meta)))
            })
            .collect::<io::Result<_>>()?;
        let mut total: u64 = sizes.iter().map(|(bytes, _)| bytes).sum::<u64>() + SEGMENT_BYTES;
        for (path, (bytes, age)) in paths.iter().zip(sizes) {
            let old = age.is_some_and(|age| age > self.policy.keep);
            if total > self.policy.max.0 || old {
                fs::remove_file(path)?;
                total -= bytes;
            }
        }
        Ok(())
    }
}

fn age(meta: &fs::Metadata) -> Option<Duration> {
    let now: SystemTime = archipel_rt::clock::wall();
    now.duration_since(meta.modified().ok()?).ok()
}

fn begin(dir: &Path, at_ms: u64) -> io::Result<Current> {
    for n in 0..1_000 {
        let path = dir.join(format!("{at_ms:015}-{n:03}.ndjson"));
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => return Ok(Current { file, bytes: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("a thousand segments began in one millisecond"))
}

fn reopen(path: &Path) -> io::Result<Option<Current>> {
    let mut file = OpenOptions::new().append(true).read(true).open(path)?;
    let mut bytes = file.metadata()?.len();
    if bytes >= SEGMENT_BYTES {
        return Ok(None);
    }
    if bytes > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != [b'\n'] {
            file.write_all(b"\n")?;
            bytes += 1;
        }
    }
    Ok(Some(Current { file, bytes }))
}

/// The segments of a directory, oldest first; none when it is not there.
pub(crate) fn paths(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
