//! The real program as a process of its own, which can be killed and started again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use store_kit::Callee;

const START_MAX: Duration = Duration::from_secs(30);

/// A running service. Dropping it kills it.
pub struct Program {
    child: Child,
    pub address: String,
    log: Receiver<String>,
}

impl Program {
    /// Starts `binary` (`env!("CARGO_BIN_EXE_…")`) with its database at `db`, on a free port
    /// unless `vars` says otherwise, and waits until it listens.
    pub fn start(binary: &str, db: &Path, vars: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env("PORT", "0")
            .env("DATABASE_URL", format!("sqlite:///{}", db.display()));
        command.envs(vars.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let out = child.stdout.take().expect("its output is piped");
        let (lines, log) = channel();
        std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(lines.send(line)))
        });
        let mut program = Self { child, address: String::new(), log };
        program.address = program.listening();
        program
    }

    fn listening(&self) -> String {
        let until = Instant::now() + START_MAX;
        let mut said = Vec::new();
        while let Ok(line) = self.log.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            let entry: Value =
                serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if entry["msg"] == "listening" {
                return entry["addr"].as_str().expect("addr").to_owned();
            }
            said.push(line);
        }
        panic!("the program does not listen; it said:\n{}", said.join("\n"));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port, to start it again at the same place.
    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap_or_default()
    }

    pub fn callee(&self) -> Callee {
        Callee::new("program", &self.url()).expect("a URL").with_timeout(Duration::from_secs(10))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(self) {
        drop(self);
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.child.wait().expect("it ends")
    }

    /// The log lines since the last call.
    pub fn log(&self) -> Vec<Value> {
        self.log.try_iter().filter_map(|line| serde_json::from_str(&line).ok()).collect()
    }

    /// Resident memory in KiB and processor time so far, as the kernel counts them.
    pub fn usage(&self) -> (u64, Duration) {
        let file = |name: &str| {
            std::fs::read_to_string(PathBuf::from(format!("/proc/{}/{name}", self.pid())))
        };
        let status = file("status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss =
            rss.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        let stat = file("stat").unwrap_or_default();
        // Fields 14 and 15, counted after the name in parentheses, in hundredths of a second.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        (rss, Duration::from_millis((ticks(11) + ticks(12)) * 10))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until `condition` gives a value, and says what it saw last if it never does.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(seen) if Instant::now() > until => {
                panic!("{what}: not within 30 s; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
