//! The files of one service: appended to, rotated by size, deleted by budget.
//!
//! `logs/<service>/<first record's time>-<n>.ndjson`, so that names sort by age; with another
//! ending when it was full and is sealed (`sealed`). A line that a
//! crash tore is ended at the next open and skipped by readers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use archipel_model::{LogPolicy, ServiceName};

use crate::sealed;

pub(crate) const SEGMENT_BYTES: u64 = 4 << 20;

/// How far the files of each service reached at one moment: the newest one's path and length.
/// Files with later names did not exist then, nor did services that are not named.
pub(crate) type Marks = BTreeMap<ServiceName, (PathBuf, u64)>;

pub(crate) struct Segments {
    dir: PathBuf,
    policy: LogPolicy,
    /// `None` until the first write, and after one that failed.
    current: Option<Current>,
}

struct Current {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Segments {
    pub(crate) fn new(dir: PathBuf, policy: LogPolicy) -> Self {
        Self { dir, policy, current: None }
    }

    pub(crate) fn set_policy(&mut self, policy: LogPolicy) {
        self.policy = policy;
    }

    /// Appends whole lines; `at_ms` names the file if a new one begins.
    pub(crate) fn append(&mut self, lines: &[u8], at_ms: u64) -> io::Result<()> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => open_newest(&self.dir, at_ms)?,
        };
        if current.bytes > 0 && current.bytes + lines.len() as u64 > SEGMENT_BYTES {
            current = begin(&self.dir, at_ms)?;
            keep_budget(&self.dir, &self.policy)?;
        }
        // After a failure, how much was written is unknown: the next try opens the file anew,
        // which ends a torn line.
        current.file.write_all(lines)?;
        current.bytes += lines.len() as u64;
        self.current = Some(current);
        Ok(())
    }

    fn mark(&self) -> Option<(PathBuf, u64)> {
        self.current.as_ref().map(|current| (current.path.clone(), current.bytes))
    }
}

/// The state of all files; right when nobody writes meanwhile, that is, in the writer.
pub(crate) fn marks(root: &Path, open: &BTreeMap<ServiceName, Segments>) -> io::Result<Marks> {
    let mut marks = Marks::new();
    for (service, dir) in services(root)? {
        let mark = match open.get(&service).and_then(Segments::mark) {
            Some(mark) => Some(mark),
            None => match paths(&dir)?.pop() {
                Some(newest) => Some((newest.clone(), fs::metadata(&newest)?.len())),
                None => None,
            },
        };
        marks.extend(mark.map(|mark| (service, mark)));
    }
    Ok(marks)
}

/// The directories of services; what else may lie there is not ours.
pub(crate) fn services(root: &Path) -> io::Result<Vec<(ServiceName, PathBuf)>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(service) = name.to_str().and_then(|name| ServiceName::new(name).ok()) {
            found.push((service, entry.path()));
        }
    }
    Ok(found)
}

/// Holds every directory below `root` to its budget.
pub(crate) fn tidy(root: &Path, policies: &BTreeMap<ServiceName, LogPolicy>) -> io::Result<()> {
    for (service, dir) in services(root)? {
        keep_budget(&dir, &policies.get(&service).copied().unwrap_or_default())?;
    }
    Ok(())
}

/// Deletes the oldest files that are over the size or past the age; never the newest, which may
/// be written to and is counted as if full.
fn keep_budget(dir: &Path, policy: &LogPolicy) -> io::Result<()> {
    let mut paths = paths(dir)?;
    paths.pop();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let meta = fs::metadata(&path)?;
        files.push((path, meta.len(), age(&meta)));
    }
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum::<u64>() + SEGMENT_BYTES;
    for (path, bytes, age) in files {
        let old = age.is_some_and(|age| age > policy.keep);
        if total > policy.max.0 || old {
            fs::remove_file(path)?;
            total -= bytes;
        }
    }
    Ok(())
}

/// Since the last write.
fn age(meta: &fs::Metadata) -> Option<Duration> {
    let now: SystemTime = archipel_rt::clock::wall();
    now.duration_since(meta.modified().ok()?).ok()
}

/// Goes on with the newest file when it has room.
fn open_newest(dir: &Path, at_ms: u64) -> io::Result<Current> {
    fs::create_dir_all(dir)?;
    if let Some(newest) = paths(dir)?.pop().filter(|newest| !sealed::is_sealed(newest))
        && let Some(current) = reopen(newest)?
    {
        return Ok(current);
    }
    begin(dir, at_ms)
}

fn begin(dir: &Path, at_ms: u64) -> io::Result<Current> {
    // Never before the newest: a clock that went back must not put new records under old names.
    let newest = paths(dir)?.pop();
    let newest_ms = newest.as_deref().and_then(began_ms).unwrap_or_default();
    let at_ms = at_ms.max(newest_ms);
    for n in 0..1_000 {
        let path = dir.join(format!("{at_ms:015}-{n:03}.ndjson"));
        if path.with_extension(sealed::SUFFIX).exists() {
            continue;
        }
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok(Current { path, file, bytes: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("a thousand segments began in one millisecond"))
}

pub(crate) fn began_ms(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.split('-').next()?.parse().ok()
}

fn reopen(path: PathBuf) -> io::Result<Option<Current>> {
    let mut file = OpenOptions::new().append(true).read(true).open(&path)?;
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
    Ok(Some(Current { path, file, bytes }))
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
        if path.extension().is_some_and(|of| of == "ndjson" || of == sealed::SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort();
    // Of a file that is just being sealed both are there; the sealed one sorts first.
    paths.dedup_by(|later, earlier| later.file_stem() == earlier.file_stem());
    Ok(paths)
}
