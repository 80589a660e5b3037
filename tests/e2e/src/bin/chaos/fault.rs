//! What can be broken, and how it is healed.

use std::fmt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use archipel_e2e::App;

use crate::memory;

pub(crate) const SERVICES: [&str; 13] = [
    "storefront",
    "catalog",
    "customers",
    "cart",
    "checkout",
    "orders",
    "inventory",
    "payments",
    "warehouse",
    "notifications",
    "psp-sim",
    "carrier-sim",
    "sms-sim",
];

/// The calls that an order needs, and those of the pages before it.
const EDGES: [(&str, &str); 15] = [
    ("storefront", "catalog"),
    ("storefront", "checkout"),
    ("storefront", "orders"),
    ("checkout", "cart"),
    ("checkout", "catalog"),
    ("checkout", "orders"),
    ("orders", "inventory"),
    ("orders", "payments"),
    ("orders", "warehouse"),
    ("payments", "psp-sim"),
    ("warehouse", "carrier-sim"),
    // Webhooks, and the text to the telephone.
    ("psp-sim", "payments"),
    ("carrier-sim", "warehouse"),
    ("notifications", "sms-sim"),
    ("storefront", "cart"),
];

/// Who answers 503 for a time.
const REFUSALS: [(&str, &str); 4] = [
    ("storefront", "checkout"),
    ("orders", "inventory"),
    ("orders", "payments"),
    ("payments", "psp-sim"),
];

/// Whose database has one writer, which somebody can keep busy.
const LOCKED: [&str; 4] = ["orders", "payments", "inventory", "cart"];

/// Whose database lies on a disk of its own, which can be filled.
pub(crate) const SMALL_DISKS: [&str; 3] = ["orders", "payments", "inventory"];
pub(crate) const DISK_BYTES: u64 = 48 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Killed again and again.
    Kill(&'static str),
    /// Frozen: it holds its connections and says nothing.
    Pause(&'static str),
    Slow(&'static str),
    /// Requests do not arrive.
    Cut(&'static str, &'static str),
    /// Requests are carried out, answers get lost.
    Lose(&'static str, &'static str),
    /// Requests arrive long after their sender gave up.
    Late(&'static str, &'static str),
    /// Events and pulls.
    EventsTwice,
    EventsOutOfOrder,
    EverythingTwice,
    DiskFull(&'static str),
    /// Somebody in its control group takes all memory that it may have.
    MemoryFull(&'static str),
    /// Its callee has too much to do.
    Refuse(&'static str, &'static str),
    /// Somebody else holds the lock that a writer needs.
    Locked(&'static str),
    KillArchipel,
    KillEverything,
}

pub(crate) fn all() -> Vec<Fault> {
    let mut all = vec![
        Fault::EventsTwice,
        Fault::EventsOutOfOrder,
        Fault::EverythingTwice,
        Fault::KillArchipel,
        Fault::KillEverything,
    ];
    all.extend(SERVICES.map(Fault::Kill));
    all.extend(SERVICES.map(Fault::Pause));
    all.extend(SERVICES.map(Fault::Slow));
    all.extend(EDGES.map(|(from, to)| Fault::Cut(from, to)));
    all.extend(EDGES.map(|(from, to)| Fault::Lose(from, to)));
    all.extend(EDGES.map(|(from, to)| Fault::Late(from, to)));
    all.extend(REFUSALS.map(|(from, to)| Fault::Refuse(from, to)));
    all.extend(SMALL_DISKS.map(Fault::DiskFull));
    // Ours, whose own work should never reach their limits.
    let ours = SERVICES.into_iter().filter(|name| !name.ends_with("-sim"));
    all.extend(ours.map(Fault::MemoryFull));
    all.extend(LOCKED.map(Fault::Locked));
    all
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(name) => write!(f, "kill {name}"),
            Self::Pause(name) => write!(f, "pause {name}"),
            Self::Slow(name) => write!(f, "slow {name}"),
            Self::Cut(from, to) => write!(f, "cut {from}→{to}"),
            Self::Lose(from, to) => write!(f, "lose {from}→{to}"),
            Self::Late(from, to) => write!(f, "late {from}→{to}"),
            Self::EventsTwice => f.write_str("events twice"),
            Self::EventsOutOfOrder => f.write_str("events out of order"),
            Self::EverythingTwice => f.write_str("everything twice"),
            Self::DiskFull(name) => write!(f, "disk full {name}"),
            Self::MemoryFull(name) => write!(f, "memory full {name}"),
            Self::Refuse(from, to) => write!(f, "refuse {from}→{to}"),
            Self::Locked(name) => write!(f, "locked {name}"),
            Self::KillArchipel => f.write_str("kill archipel"),
            Self::KillEverything => f.write_str("kill everything"),
        }
    }
}

impl Fault {
    /// Begins it. Whoever does it for as long as it lasts is handed back.
    pub(crate) fn strike(&self, app: &App) -> Option<Child> {
        match *self {
            // `again` does it.
            Self::Kill(_) | Self::MemoryFull(_) => self.again(app),
            Self::Pause(name) => chaos(app, &["pause", name]),
            Self::Slow(name) => chaos(app, &["delay", name, "1s..3s"]),
            Self::Cut(from, to) => chaos(app, &["cut", to, "--from", from]),
            Self::Lose(from, to) => chaos(app, &["lose", to, "--from", from]),
            Self::Late(from, to) => {
                chaos(app, &["late", to, "5s..40s", "--from", from, "--percent", "50"]);
            }
            Self::EventsTwice => {
                chaos(app, &["twice", "*", "--from", "archipel", "--percent", "30"]);
            }
            Self::EventsOutOfOrder => {
                chaos(app, &["delay", "*", "0s..3s", "--from", "archipel", "--percent", "50"]);
            }
            Self::EverythingTwice => chaos(app, &["twice", "*", "--percent", "30"]),
            Self::DiskFull(name) => {
                // More than fits: what is left of the disk is taken to the last byte.
                let _ = std::fs::write(ballast(app, name), vec![0; DISK_BYTES as usize]);
            }
            Self::Refuse(from, to) => chaos(app, &["refuse", to, "--from", from]),
            Self::Locked(name) => return hold_lock(app, name),
            Self::KillArchipel => {
                kill(app.archipel_pid());
                app.run(&["up", "--detach", "--dashboard-port", "0"]);
            }
            Self::KillEverything => {
                for (pid, _) in app.processes() {
                    kill(pid);
                }
                app.run(&["up", "--detach", "--dashboard-port", "0"]);
            }
        }
        None
    }

    /// Every few seconds while it lasts.
    pub(crate) fn again(&self, app: &App) {
        match self {
            Self::Kill(name) => chaos(app, &["kill", name]),
            Self::MemoryFull(name) => memory::fill(app, name),
            _ => {}
        }
    }

    /// What is to be seen of it afterwards, and is not.
    pub(crate) fn untold(&self, app: &App) -> Option<String> {
        match self {
            Self::MemoryFull(name) => memory::untold(app, name),
            _ => None,
        }
    }

    pub(crate) fn heal(&self, app: &App) {
        if let Self::DiskFull(name) = self {
            let _ = std::fs::remove_file(ballast(app, name));
        }
        chaos(app, &["heal"]);
    }
}

fn ballast(app: &App, service: &str) -> PathBuf {
    app.state().join("data").join(service).join("ballast")
}

/// A fault that cannot be made is told; the round then shows an undisturbed store.
fn chaos(app: &App, words: &[&str]) {
    let outcome = app.run(&[&["chaos"], words].concat());
    if outcome.code != 0 {
        eprintln!("chaos {}: {}", words.join(" "), outcome.err.trim());
    }
}

/// Holds the lock of a database's writer until it is killed.
fn hold_lock(app: &App, service: &str) -> Option<Child> {
    const HOLD: &str = "\
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
c.execute('BEGIN IMMEDIATE')
time.sleep(600)
";
    let database = app.state().join("data").join(service).join(format!("{service}.db"));
    let child =
        Command::new("python3").args(["-c", HOLD]).arg(database).stdin(Stdio::null()).spawn();
    child.inspect_err(|error| eprintln!("chaos: nobody holds the lock: {error}")).ok()
}

fn kill(pid: i32) {
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
}
