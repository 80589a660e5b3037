//! What a build is made of: the content of its input files.
//!
//! Reading thousands of files at every `up` would be slow, so a file whose size and times are as
//! remembered is not read again. A file changed within the last seconds is remembered with no
//! time at all: a second change in the same tick of the clock would go unnoticed (git calls such
//! an entry racy and does the same).

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use archipel_rt::clock;
use sha2::{Digest, Sha256};

/// Directories that hold what tools made, not what people wrote.
const IGNORED_DIRS: [&str; 20] = [
    ".archipel",
    ".cache",
    ".git",
    ".gradle",
    ".hg",
    ".idea",
    ".mypy_cache",
    ".next",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    ".vscode",
    "__pycache__",
    "dist",
    "node_modules",
    "target",
    "venv",
    "zig-cache",
];
const IGNORED_SUFFIXES: [&str; 5] = [".pyc", ".swp", "~", ".log", ".tsbuildinfo"];
/// Times of files this young do not prove anything.
const YOUNG: Duration = Duration::from_secs(2);

/// Every input by path, as text: paths compare part by part, which is slow for thousands.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Files(BTreeMap<String, Entry>);

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Entry {
    size: u64,
    /// Of content and of inode, in nanoseconds; `None`: too young to be trusted.
    times: Option<(i64, i64)>,
    /// Of the content.
    hash: String,
}

pub(super) struct Unreadable {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

impl Files {
    /// One number for command and content; times do not count.
    pub(super) fn digest(&self, argv: &[String], cwd: &Path) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(cwd.as_os_str().as_bytes());
        for word in argv {
            part(word.as_bytes());
        }
        part(b"files");
        for (path, entry) in &self.0 {
            part(path.as_bytes());
            part(entry.hash.as_bytes());
        }
        hex(&hash.finalize())
    }

    #[cfg(test)]
    fn names(&self) -> Vec<String> {
        self.0.keys().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
    }
}

/// Walks `roots`, leaving out artefacts and what tools make.
pub(super) fn hash_all(
    roots: &[PathBuf],
    artifacts: &[PathBuf],
    known: Option<&Files>,
) -> Result<Files, Unreadable> {
    let mut walk = Walk { artifacts, known, now: clock::wall(), files: Files::default() };
    for root in roots {
        walk.enter(root)?;
    }
    Ok(walk.files)
}

struct Walk<'a> {
    artifacts: &'a [PathBuf],
    known: Option<&'a Files>,
    now: SystemTime,
    files: Files,
}

impl Walk<'_> {
    fn enter(&mut self, path: &Path) -> Result<(), Unreadable> {
        let unreadable = |source| Unreadable { path: path.to_path_buf(), source };
        if self.artifacts.iter().any(|artifact| artifact == path) {
            return Ok(());
        }
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            // Gone between listing and looking, or an input that does not exist: no content.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        if meta.is_dir() {
            for entry in fs::read_dir(path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let name = entry.file_name();
                if name.to_str().is_none_or(|name| !is_ignored(name)) {
                    self.enter(&entry.path())?;
                }
            }
            return Ok(());
        }
        // Sockets and pipes are no content; a link is where it points to.
        if meta.is_file() || meta.is_symlink() {
            let entry = self.entry(path, &meta).map_err(unreadable)?;
            self.files.0.insert(key(path), entry);
        }
        Ok(())
    }

    fn entry(&self, path: &Path, meta: &Metadata) -> io::Result<Entry> {
        let size = meta.len();
        let times = times(meta);
        let known = self.known.and_then(|known| known.0.get(&key(path)));
        if let Some(known) = known
            && known.size == size
            && known.times == Some(times)
        {
            return Ok(known.clone());
        }
        let mut hash = Sha256::new();
        if meta.is_symlink() {
            hash.update(b"link ");
            hash.update(fs::read_link(path)?.as_os_str().as_bytes());
        } else {
            hash.update(if meta.mode() & 0o111 == 0 { b"file ".as_slice() } else { b"exec " });
            let mut file = File::open(path)?;
            let mut buffer = [0u8; 32 << 10];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => hash.update(&buffer[..n]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let changed = SystemTime::UNIX_EPOCH
            + Duration::from_nanos(times.0.max(times.1).try_into().unwrap_or(0));
        let old = self.now.duration_since(changed).is_ok_and(|age| age > YOUNG);
        Ok(Entry { size, times: old.then_some(times), hash: hex(&hash.finalize()) })
    }
}

/// A name that is not UTF-8 is told apart from its look-alikes by its bytes.
fn key(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.to_owned(),
        None => format!("{}\0{}", path.display(), hex(path.as_os_str().as_bytes())),
    }
}

fn times(meta: &Metadata) -> (i64, i64) {
    let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000) + nanos;
    (nanos(meta.mtime(), meta.mtime_nsec()), nanos(meta.ctime(), meta.ctime_nsec()))
}

fn is_ignored(name: &str) -> bool {
    IGNORED_DIRS.contains(&name) || IGNORED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(dir: &Path, artifacts: &[PathBuf], known: Option<&Files>) -> Files {
        hash_all(&[dir.to_path_buf()], artifacts, known).unwrap_or_else(|e| panic!("{}", e.source))
    }

    #[test]
    fn content_counts_and_times_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("main.rs");
        fs::write(&file, "fn main() {}").unwrap();
        for ignored in ["target/debug/x", "node_modules/y/z", ".git/HEAD", "a.pyc", "out/app"] {
            let path = dir.path().join(ignored);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "made").unwrap();
        }
        let artifacts = [dir.path().join("out/app")];
        let argv = ["cargo".to_owned(), "build".to_owned()];
        let first = look(dir.path(), &artifacts, None);
        assert_eq!(first.names(), ["main.rs"]);
        let digest = |files: &Files| files.digest(&argv, dir.path());
        // Written again with the same content.
        fs::write(&file, "fn main() {}").unwrap();
        assert_eq!(digest(&look(dir.path(), &artifacts, Some(&first))), digest(&first));
        // The same size, at once, other content.
        fs::write(&file, "fn niam() {}").unwrap();
        let second = look(dir.path(), &artifacts, Some(&first));
        assert_ne!(digest(&second), digest(&first));
        assert_ne!(second.digest(&argv[..1], dir.path()), digest(&second));
        fs::write(dir.path().join("new.rs"), "").unwrap();
        assert_ne!(digest(&look(dir.path(), &artifacts, Some(&second))), digest(&second));
    }

    #[test]
    fn a_quiet_tree_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("old.txt");
        fs::write(&file, "old").unwrap();
        let past = clock::wall() - Duration::from_secs(3600);
        File::options().write(true).open(&file).unwrap().set_modified(past).unwrap();
        let mut files = look(dir.path(), &[], None);
        // As if it had been seen long ago: the inode's own time cannot be set back.
        let meta = fs::symlink_metadata(&file).unwrap();
        let entry = files.0.get_mut(&key(&file)).unwrap();
        entry.times = Some(times(&meta));
        entry.hash = "remembered".into();
        let again = look(dir.path(), &[], Some(&files));
        assert_eq!(again, files);
    }
}
