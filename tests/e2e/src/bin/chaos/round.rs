//! One round: load, fault, heal, rest, audit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use archipel_e2e::App;

use crate::fault::{DISK_BYTES, Fault, SMALL_DISKS};
use crate::load::{Load, Seen};

/// While a fault lasts, it strikes again this often.
const AGAIN: Duration = Duration::from_secs(3);

pub(crate) struct Round {
    pub(crate) name: String,
    pub(crate) seen: Seen,
    /// From the end of the load until nothing moved any more, audit included.
    pub(crate) rest: Duration,
    /// Lines of the audit.
    pub(crate) violations: Vec<String>,
}

/// The store, running.
pub(crate) struct Stage {
    app: App,
    load: PathBuf,
    audit: PathBuf,
    /// Where lists of promised orders are kept.
    dir: tempfile::TempDir,
    promised: Vec<String>,
    mounts: Vec<PathBuf>,
}

impl Stage {
    pub(crate) fn open(faults: &[Fault]) -> Self {
        let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("started by cargo");
        let root = Path::new(&root).join("../..").canonicalize().expect("the repository");
        let store = root.join("store");
        let build =
            ["build", "--quiet", "--release", "--locked", "-p", "store-load", "-p", "store-audit"];
        let built = Command::new("cargo").args(build).current_dir(&store).status();
        assert!(built.is_ok_and(|status| status.success()), "store-load and store-audit build");
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
        let bin = |name: &str| store.join("target/release").join(name);
        Self {
            app,
            load: bin("store-load"),
            audit: bin("store-audit"),
            dir: tempfile::tempdir().expect("a directory"),
            promised: Vec::new(),
            mounts,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a fault lasts for a time, and time is measured")]
    pub(crate) fn round(&mut self, faults: &[Fault], third: Duration, seed: u64) -> Round {
        let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let load = Load::start(&self.load, &self.app.url(""), third, seed, self.dir.path());
        let begin = Instant::now();
        std::thread::sleep(third);
        for fault in faults {
            fault.strike(&self.app);
        }
        while begin.elapsed() < 2 * third {
            std::thread::sleep(AGAIN.min((2 * third).saturating_sub(begin.elapsed())));
            if begin.elapsed() < 2 * third {
                faults.iter().for_each(|fault| fault.again(&self.app));
            }
        }
        for fault in faults {
            fault.heal(&self.app);
        }
        let seen = load.finish();
        let ended = Instant::now();
        self.promised.extend(seen.promised.iter().cloned());
        let mut violations = self.audit();
        violations.extend(self.unready());
        Round { name: names.join(" + "), seen, rest: ended.elapsed(), violations }
    }

    fn audit(&self) -> Vec<String> {
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
    fn unready(&self) -> Vec<String> {
        let wait = self.app.run(&["wait", "--timeout", "60s"]);
        if wait.code == 0 { Vec::new() } else { vec![format!("not ready again: {}", wait.err)] }
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
