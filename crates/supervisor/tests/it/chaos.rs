//! Kills by seed: services, what they forked, the supervisor itself. Whatever the order, the
//! next supervisor knows every process, and after it has gone down none is left.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_testkit::{Rng, eventually_blocking, seeds};
use serde_json::Value;

use crate::support::{LONG, example, kill, marked, open_to_all};

/// The directory of one test. When the test fails, its processes end all the same.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for _ in 0..10 {
            marked(&mark(self.path())).into_iter().for_each(kill);
        }
    }
}

struct Host {
    process: Child,
    stdin: ChildStdin,
    latest: Arc<Mutex<Value>>,
    reader: std::thread::JoinHandle<()>,
}

impl Host {
    fn start(dir: &Path) -> Self {
        let host = example("host");
        Self::start_from(dir, &[], Path::new(&host).parent().unwrap())
    }

    /// With the programs from `bin`, through another program such as `setpriv`.
    fn start_from(dir: &Path, wrapper: &[&str], bin: &Path) -> Self {
        let host = bin.join("host");
        let host = host.to_str().unwrap();
        let words = wrapper.iter().copied().chain([host]).collect::<Vec<_>>();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .arg(dir.join("state"))
            .arg(bin.join("fixture"))
            .arg(dir)
            .env("ARC_WORLD", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let latest = Arc::new(Mutex::new(Value::Null));
        let sink = latest.clone();
        let reader = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                *sink.lock().unwrap() = serde_json::from_str(&line).unwrap_or(Value::Null);
            }
        });
        Self { process, stdin, latest, reader }
    }

    /// Waits until every instance is where it belongs; returns the processes by instance.
    fn settled(&self) -> BTreeMap<String, i32> {
        eventually_blocking(LONG, || {
            let latest = self.latest.lock().unwrap().clone();
            let all = latest.as_array().cloned().unwrap_or_default();
            let mut pids = BTreeMap::new();
            for one in &all {
                let name = one["id"]["service"].as_str().unwrap_or_default().to_owned();
                let state = one["state"].as_str().unwrap_or_default();
                let Some(pid) = one["pid"].as_i64() else { continue };
                if state == "ready" && name != "crashes" {
                    pids.insert(name, i32::try_from(pid).unwrap());
                }
            }
            if pids.len() == 5 { Ok(pids) } else { Err(latest) }
        })
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.reader.join().unwrap();
    }

    fn down(mut self) {
        self.stdin.write_all(b"down\n").unwrap();
        self.process.wait().unwrap();
        self.reader.join().unwrap();
    }
}

fn mark(dir: &Path) -> String {
    format!("ARC_WORLD={}", dir.display())
}

fn round(host: Host, dir: &Path, rng: &mut Rng) -> Host {
    match rng.below(4) {
        0 => {
            // In the middle of whatever it does, or after it has settled.
            if rng.below(2) == 0 {
                host.settled();
            }
            host.kill();
            Host::start(dir)
        }
        1 => {
            let pids: Vec<i32> = host.settled().into_values().collect();
            kill(*rng.pick(&pids));
            host
        }
        _ => {
            let mut all = marked(&mark(dir));
            all.retain(|pid| *pid != i32::try_from(host.process.id()).unwrap());
            if !all.is_empty() {
                kill(*rng.pick(&all));
            }
            host
        }
    }
}

#[test]
fn whatever_is_killed_no_process_is_forgotten() {
    seeds(6, |seed| {
        let mut rng = Rng::new(seed);
        let dir = Place::new();
        let mut host = Host::start(dir.path());
        for _ in 0..6 {
            host = round(host, dir.path(), &mut rng);
        }
        host.settled();
        host.down();
        assert_eq!(marked(&mark(dir.path())), [0; 0], "seed {seed}: processes are left");
    });
}

#[test]
fn a_killed_supervisor_costs_no_service_its_process() {
    let dir = Place::new();
    let host = Host::start(dir.path());
    let before = host.settled();
    host.kill();
    for pid in before.values() {
        assert!(Path::new(&format!("/proc/{pid}")).exists(), "{before:?}");
    }
    let jobs = || -> Vec<i32> {
        let all = marked(&mark(dir.path()));
        all.into_iter().filter(|pid| environ(*pid).contains("/once-long/")).collect()
    };
    let job = jobs();
    assert!(!job.is_empty(), "its grandchild has survived, for now");
    let host = Host::start(dir.path());
    assert_eq!(host.settled(), before);
    // Nobody waits for that command any more: only the new one's is there.
    assert!(jobs().iter().all(|pid| !job.contains(pid)));
    // The exit of a process that is not its child is seen, and told as far as the kernel tells it.
    let told = archipel_supervisor::capabilities(dir.path()).adopted_exit_status;
    let signal = serde_json::json!({ "signal": 9 });
    // Where it does not, whoever looks before init has reaped the zombie knows all the same.
    let wanted = if told { vec![signal] } else { vec![signal, "unknown".into()] };
    kill(before["shop"]);
    eventually_blocking(LONG, || {
        let latest = host.latest.lock().unwrap().clone();
        let all = latest.as_array().cloned().unwrap_or_default();
        let shop = all.iter().find(|one| one["id"]["service"] == "shop").cloned();
        match shop {
            Some(shop) if wanted.contains(&shop["last_exit"]["exit"]) => Ok(()),
            other => Err(other),
        }
    });
    assert_ne!(host.settled()["shop"], before["shop"]);
    host.down();
    assert_eq!(marked(&mark(dir.path())), [0; 0]);
}

fn environ(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn down_without_a_supervisor_stops_what_a_killed_one_left() {
    let dir = Place::new();
    let host = Host::start(dir.path());
    host.settled();
    let state = dir.path().join("state");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(archipel_supervisor::sweep(&state)).unwrap_err();
    assert!(error.to_string().contains("already runs"), "{error}");
    host.kill();
    let swept = runtime.block_on(archipel_supervisor::sweep(&state)).unwrap();
    assert!(swept >= 5, "{swept}");
    assert_eq!(marked(&mark(dir.path())), [0; 0]);
    assert_eq!(runtime.block_on(archipel_supervisor::sweep(&state)).unwrap(), 0);
    assert_eq!(std::fs::read_dir(state.join("instances")).unwrap().count(), 0);
    // Nothing of it disturbs the next one.
    let host = Host::start(dir.path());
    host.settled();
    host.down();
}

/// The tier of a plain user: no control groups of their own, user namespaces.
#[test]
fn a_plain_user_loses_no_process_either() {
    if !rustix::process::geteuid().is_root() {
        return; // the other tests have just shown it
    }
    let dir = tempfile::Builder::new().prefix("archipel").tempdir_in("/var/tmp");
    let dir = Place(dir.unwrap());
    let nobody = Some(rustix::fs::Uid::from_raw(65_534));
    rustix::fs::chown(dir.path(), nobody, None).unwrap();
    // The programs themselves may lie where this user cannot go.
    for name in ["host", "fixture"] {
        let copy = dir.path().join(name);
        std::fs::copy(example(name), &copy).unwrap();
        open_to_all(&copy);
    }
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let start = || Host::start_from(dir.path(), &user, dir.path());
    let host = start();
    let before = host.settled();
    host.kill();
    let host = start();
    assert_eq!(host.settled(), before);
    kill(before["forks"]);
    let grandchildren = marked(&mark(dir.path()));
    assert!(!grandchildren.is_empty());
    host.settled();
    host.down();
    eventually_blocking(Duration::from_secs(1), || {
        let left = marked(&mark(dir.path()));
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
