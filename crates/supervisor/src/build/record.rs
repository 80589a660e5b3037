//! The last successful build of a service, on disk.

use std::fs;
use std::path::{Path, PathBuf};

use archipel_model::ServiceName;

use super::inputs::Files;
use crate::record::write_whole;

const VERSION: u32 = 1;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct BuildRecord {
    version: u32,
    pub(super) hash: String,
    took_ms: u64,
    at_ms: u64,
    pub(super) files: Files,
}

impl BuildRecord {
    pub(super) fn new(hash: String, took_ms: u64, at_ms: u64, files: Files) -> Self {
        Self { version: VERSION, hash, took_ms, at_ms, files }
    }

    pub(super) fn path(dir: &Path, service: &ServiceName) -> PathBuf {
        dir.join(format!("{service}.json"))
    }

    /// One that is missing, damaged or of another version means: build.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (record.version == VERSION).then_some(record)
    }

    /// Not stored means: built once more than needed, so it is not worth failing for.
    pub(super) fn write(&self, path: &Path) {
        let done = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .and_then(|bytes| write_whole(path, &bytes));
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "cannot store the build's record");
        }
    }
}
