//! The store, running, with what is needed to break and to judge it.

use std::path::{Path, PathBuf};
use std::process::Command;

use archipel_e2e::App;

use crate::fault::{DISK_BYTES, Fault, SMALL_DISKS};

pub(crate) struct Stage {
    pub(crate) app: App,
    pub(crate) load: PathBuf,
    audit: PathBuf,
    /// Where lists of promised orders are kept.
    pub(crate) dir: tempfile::TempDir,
    pub(crate) promised: Vec<String>,
    mounts: Vec<PathBuf>,
}

impl Stage {
    pub(crate) fn open(faults: &[Fault]) -> Self {
        let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("started by cargo");
        let root = Path::new(&root).join("../..").canonicalize().expect("the repository");
        let store = root.join("store");
        let tools = tools(&store);
        let mut app = App::at(&store, 0).expect("a directory").env("ARCHIPEL_PROFILE", "test");
        let outcome = app.run(&["up", "--detach", "--dashboard-port", "0", "--timeout", "30m"]);
        assert_eq!(outcome.code, 0, "{}", outcome.err);
        let url = app.status()["gateway"]["url"].as_str().expect("a gateway").to_owned();
        app.gateway_port = url.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
        let mounts = SMALL_DISKS
            .iter()
            .filter(|name| faults.contains(&Fault::DiskFull(name)))
            .map(|name| {
                app.run(&["stop", name]).ok();
                let path = small_disk(&app.state().join("data").join(name));
                app.run(&["start", name]).ok();
                path
            })
            .collect();
        Self {
            app,
            load: tools.join("store-load"),
            audit: tools.join("store-audit"),
            dir: tempfile::tempdir().expect("a directory"),
            promised: Vec::new(),
            mounts,
        }
    }

    /// Lines of what is wrong, once nothing moves any more.
    pub(crate) fn audit(&self) -> Vec<String> {
        let accepted = self.dir.path().join("accepted");
        let lines: String = self.promised.iter().map(|id| format!("{id}\n")).collect();
        std::fs::write(&accepted, lines).expect("the disk has room");
        let output = Command::new(&self.audit)
            .arg("--data")
            .arg(self.app.state().join("data"))
            .arg("--accepted")
            .arg(&accepted)
            .arg("--at-rest")
            .output()
            .expect("store-audit has been built");
        if output.status.success() {
            return Vec::new();
        }
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let wrong = out.lines().filter(|line| !line.trim_end().ends_with("OK"));
        wrong.chain(err.lines()).map(str::to_owned).collect()
    }

    /// After the fault everybody is well again, or a person would have to come.
    pub(crate) fn unready(&self) -> Vec<String> {
        let wait = self.app.run(&["wait", "--timeout", "60s"]);
        if wait.code == 0 { Vec::new() } else { vec![format!("not ready again: {}", wait.err)] }
    }

    /// How many of these orders have this status.
    pub(crate) fn orders(&self, ids: &[String], statuses: &[&str]) -> u64 {
        let listed = |texts: Vec<String>| texts.join(",");
        let ids = listed(ids.iter().map(|id| format!("'{id}'")).collect());
        let statuses = listed(statuses.iter().map(|status| format!("'{status}'")).collect());
        let sql =
            format!("SELECT count(*) FROM orders WHERE id IN ({ids}) AND status IN ({statuses})");
        let said = self.app.run(&["db", "shell", "orders", "-c", &sql]).out;
        let digits = |word: &str| word.parse().ok();
        said.split(|c: char| !c.is_ascii_digit()).find_map(digits).unwrap_or_default()
    }

    /// Takes the store down, and keeps a copy of what it has written.
    pub(crate) fn keep(self, to: &Path) {
        let _ = std::fs::remove_dir_all(to);
        let _ = std::fs::create_dir_all(to);
        let copied = Command::new("cp").arg("-r").arg(self.app.state()).arg(to).status();
        eprintln!("    its databases and logs: {} ({copied:?})", to.display());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.mounts.is_empty() {
            self.app.run(&["down"]);
        }
        for path in &self.mounts {
            let _ = Command::new("umount").arg(path).status();
        }
    }
}

/// Where `store-load` and `store-audit` are: in `STORE_TOOLS`, or built now.
fn tools(store: &Path) -> PathBuf {
    if let Some(dir) = std::env::var_os("STORE_TOOLS") {
        return dir.into();
    }
    let build =
        ["build", "--quiet", "--release", "--locked", "-p", "store-load", "-p", "store-audit"];
    let built = Command::new("cargo").args(build).current_dir(store).status();
    assert!(built.is_ok_and(|status| status.success()), "store-load and store-audit build");
    store.join("target/release")
}

/// A disk of its own for one database, with what it holds already.
fn small_disk(path: &Path) -> PathBuf {
    let files: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(path)
        .expect("a database has a directory")
        .flatten()
        .filter_map(|entry| Some((entry.path(), std::fs::read(entry.path()).ok()?)))
        .collect();
    let size = format!("size={DISK_BYTES},mode=0700");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).status();
    assert!(mounted.is_ok_and(|s| s.success()), "faults named `disk full` need root");
    for (file, content) in files {
        std::fs::write(file, content).expect("it fits");
    }
    path.to_owned()
}
