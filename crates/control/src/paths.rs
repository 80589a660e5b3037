//! Where Archipel keeps what it must remember, beside the manifest.
//!
//! ```text
//! .archipel/
//! ├── run/         control socket, log FIFOs
//! ├── secrets/     values and tokens, mode 0600
//! ├── certificates/ accounts and certificates by ACME, once there are some, mode 0600
//! ├── data/<svc>/  the service's own directory: its SQLite file; nobody else's process sees it
//! ├── events/      topics, cursors, dead letters
//! ├── workflows/   instances and their histories
//! ├── logs/<svc>/  what the services wrote
//! ├── spans/       traces
//! ├── instances/   identity of each running process, for adoption
//! └── builds/      what was built from which inputs
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use archipel_model::ServiceName;

#[derive(Debug, thiserror::Error)]
#[error("could not {action} `{}`", path.display())]
pub struct StateDirError {
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// The state directory of one application.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

/// `sun_path` holds 108 bytes with the final zero; deeper checkouts need a shorter place.
const SOCKET_PATH_MAX: usize = 100;

/// SQLite takes paths up to 512 bytes; the longest below the root is that of a service's database
/// with what SQLite appends to it.
const ROOT_PATH_MAX: usize = 360;

impl StateDir {
    /// Names the directory without touching the disk.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the directories, private to this user, and tells git to leave them alone.
    ///
    /// # Errors
    /// [`StateDirError`] with the path that could not be made, or that is somebody else's.
    pub fn create(&self) -> Result<(), StateDirError> {
        if self.is_foreign() {
            return Err(StateDirError {
                action: "keep state in",
                path: self.root.clone(),
                source: io::Error::other(
                    "it holds files that are not Archipel's, and would be closed to other users; \
                     name a new or an empty directory",
                ),
            });
        }
        self.check_length()?;
        private_dir(&self.root)?;
        for dir in [
            "run",
            "secrets",
            "data",
            "events",
            "workflows",
            "logs",
            "spans",
            "instances",
            "builds",
        ] {
            private_dir(&self.root.join(dir))?;
        }
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(|source| StateDirError {
                action: "write",
                path: ignore,
                source,
            })?;
        }
        Ok(())
    }

    /// Said here once, instead of by SQLite or a socket in words of their own.
    fn check_length(&self) -> Result<(), StateDirError> {
        let too_long = |path: &Path, most: usize, hint: &str| StateDirError {
            action: "keep state in",
            path: self.root.clone(),
            source: io::Error::other(format!(
                "`{}` would be a path of {} bytes, and {most} is the most: {hint}",
                path.display(),
                path.as_os_str().len()
            )),
        };
        let socket = self.socket();
        if self.root.as_os_str().len() > ROOT_PATH_MAX {
            return Err(too_long(&self.root, ROOT_PATH_MAX, "name a shorter directory"));
        }
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            let hint = "name a shorter state directory, or a shorter XDG_RUNTIME_DIR";
            return Err(too_long(&socket, SOCKET_PATH_MAX, hint));
        }
        Ok(())
    }

    /// A directory with something in it that no Archipel has used: `--state-dir /tmp` must not
    /// take `/tmp` away from everybody. What is called `.archipel` is ours by its name.
    fn is_foreign(&self) -> bool {
        let ours = self.root.ends_with(".archipel") || self.root.join("instances").is_dir();
        !ours && fs::read_dir(&self.root).is_ok_and(|mut entries| entries.next().is_some())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn data_root(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn data(&self, service: &ServiceName) -> PathBuf {
        self.data_root().join(service.as_str())
    }

    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// What services keep through the state API.
    pub fn services(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn workflows(&self) -> PathBuf {
        self.root.join("workflows")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Traces.
    pub fn spans(&self) -> PathBuf {
        self.root.join("spans")
    }

    /// Accounts and certificates that the gateway got by ACME.
    pub fn certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    /// Groups of errors.
    pub fn errors(&self) -> PathBuf {
        self.root.join("errors.json")
    }

    /// Which alerts fire and who was told.
    pub fn alerts(&self) -> PathBuf {
        self.root.join("alerts.json")
    }

    /// Processor, memory and the like over time.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics")
    }

    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Archipel's own log when it runs in the background.
    pub fn own_log(&self) -> PathBuf {
        self.root.join("archipel.log")
    }

    /// The control socket: in the state directory, or, when that path is too long for a socket,
    /// in the user's runtime directory under a name derived from it.
    pub fn socket(&self) -> PathBuf {
        let near = self.root.join("run").join("control.sock");
        if near.as_os_str().len() <= SOCKET_PATH_MAX {
            return near;
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        let digest = crate::digest::hex(self.root.as_os_str().as_encoded_bytes());
        runtime.join(format!("archipel-{}", &digest[..16])).join("control.sock")
    }
}

/// Makes a directory with mode 0700, or tightens the one that is there.
pub(crate) fn private_dir(path: &Path) -> Result<(), StateDirError> {
    let error = |action| {
        let path = path.to_owned();
        move |source| StateDirError { action, path, source }
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(error("create the directory"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(error("make private the directory"))
}

/// Writes a file that only this user reads, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_state_directory_that_is_somebody_elses_is_left_alone() {
        let shared = tempfile::tempdir().unwrap();
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(shared.path().join("letter.txt"), "dear").unwrap();
        let error = StateDir::at(shared.path()).create().unwrap_err();
        assert!(error.source.to_string().contains("name a new or an empty directory"));
        assert_eq!(mode(shared.path()), 0o755);
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 1, "nothing was added");
    }

    #[test]
    fn a_path_too_long_for_what_lies_below_is_refused_in_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let deep = (0..8).fold(dir.path().to_owned(), |dir, _| dir.join("d".repeat(50)));
        let error = StateDir::at(&deep).create().unwrap_err();
        assert!(error.source.to_string().ends_with("360 is the most: name a shorter directory"));
        assert!(!dir.path().join("d".repeat(50)).exists(), "nothing was made");
    }

    #[test]
    fn an_empty_one_and_one_used_before_are_taken_and_made_private() {
        let empty = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            fs::set_permissions(empty.path(), fs::Permissions::from_mode(0o755)).unwrap();
            StateDir::at(empty.path()).create().unwrap();
            assert_eq!(mode(empty.path()), 0o700);
        }
    }
}
