//! What can be broken, and how it is healed.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use archipel_e2e::App;

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
const EDGES: [(&str, &str); 11] = [
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
];

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
    all.extend(SMALL_DISKS.map(Fault::DiskFull));
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
            Self::KillArchipel => f.write_str("kill archipel"),
            Self::KillEverything => f.write_str("kill everything"),
        }
    }
}

impl Fault {
    /// Begins it.
    pub(crate) fn strike(&self, app: &App) {
        match *self {
            // `again` does the killing.
            Self::Kill(_) => self.again(app),
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
    }

    /// Every few seconds while it lasts.
    pub(crate) fn again(&self, app: &App) {
        if let Self::Kill(name) = self {
            chaos(app, &["kill", name]);
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

fn kill(pid: i32) {
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
}
