//! The workflow engine: `archipel sidecar`, as a process of its own, which can be killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Engine {
    binary: PathBuf,
    store: PathBuf,
    address: String,
    child: Child,
}

impl Engine {
    /// `None` when there is none on this machine; then it says so.
    pub fn start(dir: &Path) -> Option<Self> {
        let Some(binary) = binary() else {
            eprintln!("SKIPPED: no `archipel`; build it, or name one in ARCHIPEL_BIN");
            return None;
        };
        let store = dir.join("workflows.db");
        let (child, address) = run(&binary, &store, "0");
        Some(Self { binary, store, address, child })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// At the same place, with what it had written.
    pub fn restart(&mut self) {
        let port = self.address.rsplit(':').next().unwrap_or_default().to_owned();
        (self.child, self.address) = run(&self.binary, &self.store, &port);
    }

    /// Loses what it had written.
    pub fn forget(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.store.display()));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(binary: &Path, store: &Path, port: &str) -> (Child, String) {
    let mut command = Command::new(binary);
    command.args(["sidecar", "--full", "--app-id", "orders", "--port", port, "--store"]).arg(store);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the sidecar starts");
    let mut said = String::new();
    let out = child.stdout.take().expect("its output is piped");
    BufReader::new(out).read_line(&mut said).expect("its output can be read");
    let address = said.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    assert!(address.contains(':'), "the sidecar said `{said}`");
    (child, address)
}

fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ARCHIPEL_BIN") {
        return Some(named.into());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target");
    ["debug", "release"]
        .map(|kind| target.join(kind).join("archipel"))
        .into_iter()
        .find(|p| p.is_file())
}
