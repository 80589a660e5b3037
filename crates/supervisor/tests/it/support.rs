//! A supervisor in a directory of its own, and words to ask about it.

#![expect(unreachable_pub, reason = "shared by the modules of one test program")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_model::{
    AppName, Backoff, Check, Health, InstanceId, InstanceState, Probe, Protocol, Restart, Stop,
};
use archipel_rt::{CancellationToken, channel};
use archipel_supervisor::{
    Config, InstanceSpec, InstanceStatus, Isolation, LogLine, Ports, Shutdown, Stream, Supervisor,
};
use archipel_testkit::eventually;

pub const LONG: Duration = Duration::from_secs(30);

pub struct World {
    pub dir: tempfile::TempDir,
    pub supervisor: Supervisor,
    pub ports: Ports,
    lines: Arc<Mutex<Vec<LogLine>>>,
    _stop: CancellationToken,
}

pub fn config(dir: &Path) -> Config {
    let mut config = Config::new(AppName::new("test").unwrap(), dir.join("state"));
    config.seed = Some(17);
    config
}

async fn launch(
    config: &Config,
    lines: &Arc<Mutex<Vec<LogLine>>>,
) -> (Supervisor, CancellationToken) {
    let (logs, mut receiver) = channel("test.logs", 1024);
    let stop = CancellationToken::new();
    let supervisor = Supervisor::start(config.clone(), logs, &stop).await.unwrap();
    let sink = lines.clone();
    let tasks = archipel_rt::Tasks::new(&stop);
    tasks.spawn("test.logs", async move {
        while let Some(line) = receiver.recv().await {
            sink.lock().unwrap().push(line);
        }
    });
    (supervisor, stop)
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        Self::open(dir, config).await
    }

    async fn open(dir: tempfile::TempDir, config: Config) -> Self {
        let lines: Arc<Mutex<Vec<LogLine>>> = Arc::default();
        let (supervisor, stop) = launch(&config, &lines).await;
        let ports = Ports::open(&config.state_dir, config.port_range.clone()).unwrap();
        Self { dir, supervisor, ports, lines, _stop: stop }
    }

    /// Ends this supervisor, leaving its services, and starts the next one, which has printed
    /// nothing yet.
    pub async fn reopen(&mut self) {
        self.supervisor.shutdown(Shutdown::Leave).await;
        self.lines = Arc::default();
        (self.supervisor, self._stop) = launch(&config(self.dir.path()), &self.lines).await;
    }

    /// With a mark in every environment by which this world's processes are found.
    pub async fn apply(&self, mut specs: Vec<InstanceSpec>) {
        for spec in &mut specs {
            spec.env.insert("ARC_WORLD".into(), self.mark());
        }
        self.supervisor.apply(specs, std::collections::BTreeSet::new()).await;
    }

    pub fn mark(&self) -> String {
        self.dir.path().to_str().unwrap().to_owned()
    }

    /// Live processes of this world.
    pub fn processes(&self) -> Vec<i32> {
        marked(&format!("ARC_WORLD={}", self.mark()))
    }

    pub async fn down(&self) {
        self.supervisor.shutdown(Shutdown::Down).await;
    }

    pub fn status(&self, id: &str) -> Option<Arc<InstanceStatus>> {
        let id: InstanceId = id.parse().unwrap();
        self.supervisor.watch().borrow().iter().find(|status| status.id == id).cloned()
    }

    pub async fn wait(
        &self,
        id: &str,
        wanted: impl Fn(&InstanceStatus) -> bool,
    ) -> Arc<InstanceStatus> {
        eventually(LONG, || async {
            match self.status(id) {
                Some(status) if wanted(&status) => Ok(status),
                other => Err(other),
            }
        })
        .await
    }

    pub async fn wait_state(&self, id: &str, state: InstanceState) -> Arc<InstanceStatus> {
        self.wait(id, |status| status.state == state).await
    }

    pub fn lines(&self, id: &str, stream: Stream) -> Vec<String> {
        let id: InstanceId = id.parse().unwrap();
        let lines = self.lines.lock().unwrap();
        let mine = lines.iter().filter(|line| line.instance == id && line.stream == stream);
        mine.map(|line| line.text.clone()).collect()
    }

    pub async fn wait_line(&self, id: &str, part: &str) -> String {
        eventually(LONG, || async {
            let lines = self.lines(id, Stream::Stdout);
            lines.iter().find(|line| line.contains(part)).cloned().ok_or(lines)
        })
        .await
    }

    /// An instance that answers HTTP, with probes fast enough for a test.
    pub fn server(&self, id: &str) -> InstanceSpec {
        let port = self.ports.get(&format!("instance/{id}")).unwrap();
        let mut spec = program(id, &[&fixture(), "serve"]);
        spec.port = Some(port);
        spec.env.insert("PORT".into(), port.to_string());
        let check = Check::Http { path: "/healthz".into() };
        spec.health = Health {
            startup: Probe { every: Duration::from_millis(20), ..Probe::startup(check.clone()) },
            ready: Probe { every: Duration::from_millis(50), ..Probe::ready(check) },
            live: None,
        };
        spec
    }
}

/// A test that fails must not leave processes; one that passes has none left.
impl Drop for World {
    fn drop(&mut self) {
        for _ in 0..10 {
            self.processes().into_iter().for_each(kill);
        }
    }
}

/// An instance without a port.
pub fn program(id: &str, argv: &[&str]) -> InstanceSpec {
    InstanceSpec {
        id: id.parse().unwrap(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        cwd: PathBuf::from("/"),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
        port: None,
        protocol: Protocol::Http,
        health: Health::default(),
        memory: None,
        stop: Stop { drain: Duration::ZERO, grace: Duration::from_secs(5), ..Stop::default() },
        restart: Restart {
            backoff: Backoff { min: Duration::from_millis(100), max: Duration::from_millis(400) },
            ..Restart::default()
        },
        isolate: Isolation::default(),
        spec_hash: "1".into(),
        level: 0,
    }
}

pub fn sh(id: &str, script: &str) -> InstanceSpec {
    program(id, &["sh", "-c", script])
}

/// `examples/fixture.rs`, built beside this test by `cargo test`.
pub fn fixture() -> String {
    example("fixture")
}

pub fn example(name: &str) -> String {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo test` without `--test`", path.display());
    path.to_str().unwrap().to_owned()
}

/// A copy of a program, or a directory made for one, is for everybody, whatever the umask says.
pub fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Live processes (no zombies) with `text` somewhere in their environment.
pub fn marked(text: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let zombie = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
        if !zombie && String::from_utf8_lossy(&environ).contains(text) {
            found.push(pid);
        }
    }
    found
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // It may be gone already.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}
