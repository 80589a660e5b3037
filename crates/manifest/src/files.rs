//! Where files come from: the disk, or nowhere when a text is parsed by itself.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Larger files are refused before they are read as a whole.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Missing,
    /// Cannot be told; then nothing is reported.
    Unknown,
}

/// What loading asks of a file system.
pub trait Files {
    /// At most one byte more than the limit, so that a larger file is noticed and not read.
    ///
    /// # Errors
    /// As reading a file does.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    fn kind(&self, path: &Path) -> Kind;

    /// Names in a directory, for "did you mean".
    fn names_in(&self, directory: &Path) -> Vec<String>;
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        use io::Read as _;
        // Opening a FIFO or a terminal would wait for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn kind(&self, path: &Path) -> Kind {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Kind::Directory,
            Ok(_) => Kind::File,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Kind::Missing
            }
            Err(_) => Kind::Unknown,
        }
    }

    fn names_in(&self, directory: &Path) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(1_000).collect();
        names.sort();
        names
    }
}

/// Texts in memory: for tests, editors and fuzzing. Paths that are not among them are
/// [`Kind::Unknown`], so nothing is reported as missing.
#[derive(Debug, Clone, Default)]
pub struct Memory(pub BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.0.get(path) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn kind(&self, path: &Path) -> Kind {
        if self.0.contains_key(path) { Kind::File } else { Kind::Unknown }
    }

    fn names_in(&self, directory: &Path) -> Vec<String> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(directory));
        inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }
}

/// `path` seen from `directory`, with `.` and `..` worked out in the text alone: symbolic links
/// stay as the user wrote them.
pub(crate) fn resolve(directory: &Path, path: impl AsRef<Path>) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                // Above `/` is `/`.
                if !out.pop() && !out.has_root() {
                    out.push("..");
                }
            }
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_worked_out_without_the_disk() {
        for (directory, path, expected) in [
            ("/a/b", "c/./d", "/a/b/c/d"),
            ("/a/b", "../c", "/a/c"),
            ("/a", "../../c", "/c"),
            ("/a", "/c", "/c"),
            ("", "x/..", "."),
            ("", "../x", "../x"),
        ] {
            assert_eq!(
                resolve(Path::new(directory), path),
                Path::new(expected),
                "{directory} {path}"
            );
        }
    }
}
