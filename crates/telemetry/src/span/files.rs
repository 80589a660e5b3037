//! The files of the span store: segments of whole groups, and the tail.
//!
//! ```text
//! spans/<first span's time>-<first group's number>.arcs   whole groups, appended, then left alone
//! spans/<first span's time>-<first group's number>t.arcs  what thinning left of one (`thin`)
//! spans/tail-<number>-<generation>.arcs                   what the next group has so far
//! ```
//!
//! The tail is saved every second as small groups, and becomes one full group when there are
//! enough spans; only then it is deleted. A crash between these two leaves a tail whose number is
//! that of a sealed group: it is recognised and deleted. A torn group at the end of a file is cut
//! off at the next open.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::group::{Load, inflate};
use super::index::{ColumnPlace, HEADER_BYTES, Index};

const SUFFIX: &str = "arcs";
/// At the end of the name of a segment that has been thinned.
const THIN: char = 't';

/// A group in a file. The file may be deleted meanwhile; it can be read as long as this lives.
pub(crate) struct Group {
    pub(crate) index: Index,
    file: Arc<File>,
    body_at: u64,
}

impl Load for Group {
    fn load(&self, place: &ColumnPlace) -> io::Result<Vec<u8>> {
        let mut stored = vec![0; place.stored as usize];
        self.file.read_exact_at(&mut stored, self.body_at + u64::from(place.offset))?;
        inflate(place, stored)
    }
}

/// A file that groups are appended to.
pub(crate) struct Appending {
    pub(crate) path: PathBuf,
    file: Arc<File>,
    pub(crate) bytes: u64,
}

impl Appending {
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).mode(0o600).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file: Arc::new(file), bytes })
    }

    /// Writes a group through to the disk; a failed write leaves no part of it.
    pub(crate) fn append(&mut self, index: Index, group: &[u8]) -> io::Result<Arc<Group>> {
        let written = (&*self.file).write_all(group).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // If this fails too, the next open cuts the torn group off.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        let body_at = self.bytes + (group.len() as u64 - index.body_bytes());
        self.bytes += group.len() as u64;
        Ok(Arc::new(Group { index, file: self.file.clone(), body_at }))
    }
}

/// The whole groups of a file, and how far they reach.
pub(crate) fn scan(path: &Path) -> io::Result<(Vec<Arc<Group>>, u64)> {
    let file = Arc::new(OpenOptions::new().read(true).write(true).open(path)?);
    let length = file.metadata()?.len();
    let (mut groups, mut at) = (Vec::new(), 0);
    while at < length {
        match scan_group(&file, at, length) {
            Ok((group, end)) => {
                groups.push(group);
                at = end;
            }
            Err(error) => {
                tracing::warn!(
                    path = %path.display(), at, lost = length - at, %error,
                    "the end of a telemetry file was not written whole; it is cut off"
                );
                file.set_len(at)?;
                break;
            }
        }
    }
    Ok((groups, at))
}

fn scan_group(file: &Arc<File>, at: u64, length: u64) -> io::Result<(Arc<Group>, u64)> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, at)?;
    let (index_bytes, body_bytes) = Index::lengths(&header)?;
    let body_at = at + HEADER_BYTES as u64 + u64::from(index_bytes);
    let end = body_at + u64::from(body_bytes);
    if end > length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut index = vec![0; index_bytes as usize];
    file.read_exact_at(&mut index, at + HEADER_BYTES as u64)?;
    let group = Group { index: Index::read(&header, &index)?, file: file.clone(), body_at };
    if end == length {
        // Of the last group the blocks may be missing, though the length is there.
        for place in &group.index.columns {
            group.load(place)?;
        }
    }
    Ok((Arc::new(group), end))
}

pub(crate) fn segment_path(dir: &Path, start_ms: u64, number: u64) -> PathBuf {
    dir.join(format!("{start_ms:013}-{number:010}.{SUFFIX}"))
}

pub(crate) fn tail_path(dir: &Path, number: u64, generation: u64) -> PathBuf {
    dir.join(format!("tail-{number:010}-{generation:010}.{SUFFIX}"))
}

/// Segments by the number of their first group, oldest first.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = named(dir, number_of)?;
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Of the first group of a segment, from its name without ending.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let (_, number) = name.split_once('-')?;
    number.strip_suffix(THIN).unwrap_or(number).parse().ok()
}

pub(crate) fn is_thin(segment: &Path) -> bool {
    segment.file_stem().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(THIN))
}

/// What a segment is called when it is thin.
pub(crate) fn thin_path(segment: &Path) -> PathBuf {
    let name = segment.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    segment.with_file_name(format!("{name}{THIN}.{SUFFIX}"))
}

/// Tails as (number, generation), path.
pub(crate) fn tails(dir: &Path) -> io::Result<Vec<((u64, u64), PathBuf)>> {
    let mut found = named(dir, |name| {
        let (number, generation) = name.strip_prefix("tail-")?.split_once('-')?;
        Some((number.parse().ok()?, generation.parse().ok()?))
    })?;
    found.sort();
    Ok(found)
}

fn named<T>(dir: &Path, parse: impl Fn(&str) -> Option<T>) -> io::Result<Vec<(T, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(SUFFIX)?.strip_suffix('.'));
        if let Some(key) = name.and_then(&parse) {
            found.push((key, path));
        }
    }
    Ok(found)
}

/// Deletes the oldest segments over the size or past the age, never the newest. Returns what is
/// left, by path.
pub(crate) fn keep_budget(dir: &Path, bytes_max: u64, age_max: Duration) -> io::Result<bool> {
    let mut paths = segments(dir)?;
    let newest = paths.pop();
    let mut left = newest.map_or(0, |path| fs::metadata(path).map_or(0, |meta| meta.len()));
    let now = archipel_rt::clock::wall();
    let mut deleted = false;
    for path in paths.iter().rev() {
        let meta = fs::metadata(path)?;
        left += meta.len();
        // By the last write, which is when its newest span came.
        let age = meta.modified().ok().and_then(|at| now.duration_since(at).ok());
        if left > bytes_max || age.is_some_and(|age| age > age_max) {
            fs::remove_file(path)?;
            deleted = true;
        }
    }
    Ok(deleted)
}
