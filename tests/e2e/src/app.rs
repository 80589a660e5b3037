//! One application under test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use archipel_testkit::eventually_blocking;
use serde_json::Value;

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

pub struct App {
    dir: tempfile::TempDir,
    root: PathBuf,
    state: PathBuf,
    pub gateway_port: u16,
    env: Vec<(String, String)>,
}

impl App {
    /// Writes `archipel.toml` and other files into a fresh directory. `{gateway}` in them stands
    /// for a free port, `{mark}` for the state directory, by which leftovers are found.
    pub fn new(manifest: &str, files: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let gateway_port = free_port()?;
        let mark = dir.path().join(".archipel").display().to_string();
        let fill = |text: &str| {
            text.replace("{gateway}", &gateway_port.to_string()).replace("{mark}", &mark)
        };
        for (path, text) in [("archipel.toml", manifest)].iter().chain(files) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().context("a file has a parent")?)?;
            fs::write(path, fill(text))?;
        }
        let root = dir.path().to_owned();
        let state = root.join(".archipel");
        Ok(Self { dir, root, state, gateway_port, env: Vec::new() })
    }

    /// An application that lies elsewhere, with a state directory of its own.
    pub fn at(root: &Path, gateway_port: u16) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let state = dir.path().join("state");
        Ok(Self { dir, root: root.to_owned(), state, gateway_port, env: Vec::new() })
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.gateway_port)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .current_dir(&self.root)
            .env("ARCHIPEL_STATE_DIR", &self.state)
            .env("NO_COLOR", "1")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs `archipel args…` to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().expect("the binary has been built");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts `archipel args…` and leaves it running.
    pub fn spawn(&self, args: &[&str]) -> Result<Child> {
        let log = fs::File::create(self.dir.path().join("spawned.log"))?;
        let mut command = self.command(args);
        Ok(command.stdout(log.try_clone()?).stderr(log).spawn()?)
    }

    pub fn spawned_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("spawned.log")).unwrap_or_default()
    }

    /// `archipel up -d` with everything ready.
    #[track_caller]
    pub fn up(&self) -> Outcome {
        self.run(&["up", "--detach", "--dashboard-port", "0"]).ok()
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.run(&["ps", "--json"]).ok().json()
    }

    /// The part of the status that is about one service.
    pub fn service(&self, name: &str) -> Result<Value> {
        let outcome = self.run(&["ps", "--json"]);
        if outcome.code != 0 {
            bail!("{}", outcome.err);
        }
        let services = outcome.json()["services"].as_array().cloned().unwrap_or_default();
        services.into_iter().find(|service| service["name"] == name).context("no such service")
    }

    pub fn pid(&self, service: &str) -> Result<i32> {
        let service = self.service(service)?;
        let pid = service["instances"][0]["pid"].as_i64().context("it has no process")?;
        Ok(i32::try_from(pid)?)
    }

    /// Waits until `check` on the service's status says yes.
    #[track_caller]
    pub fn wait_for(&self, service: &str, check: impl Fn(&Value) -> bool) -> Value {
        eventually_blocking(Duration::from_secs(60), || {
            let seen = self.service(service).map_err(|error| Value::from(error.to_string()))?;
            if check(&seen) { Ok(seen) } else { Err(seen) }
        })
    }

    /// The process id of Archipel itself.
    pub fn archipel_pid(&self) -> i32 {
        let pid = self.status()["pid"].as_i64().unwrap_or_default();
        i32::try_from(pid).unwrap_or_default()
    }

    /// Processes whose environment names this application's state directory: Archipel itself,
    /// and every service that has a database or the mark of the fixtures.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mark = self.state.display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            let environ = String::from_utf8_lossy(&environ);
            if environ.contains(&mark) {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let outcome = self.run(&["down"]);
        if std::thread::panicking() {
            let log = fs::read_to_string(self.state.join("archipel.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("── archipel.log ──");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            eprintln!("── down: {outcome:?}");
            return;
        }
        assert_eq!(outcome.code, 0, "down: {outcome:?}");
        assert_eq!(self.processes(), [], "processes are left after `down`");
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The binary under test: `ARCHIPEL_BIN`, or the one that this build made.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ARCHIPEL_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a program knows itself");
    // A test lies in `target/<profile>/deps`, a program one level above.
    let near = own.ancestors().skip(1).take(2).map(|dir| dir.join("archipel"));
    near.clone().find(|path| path.is_file()).or_else(|| near.last()).expect("a directory above it")
}
