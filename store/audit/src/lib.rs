//! Asks the databases of all services whether the store is right as a whole.
//!
//! No service can know that: each keeps its own books. The audit copies a few columns of every
//! database into one, and runs queries that must find nothing. It reads only, and knows of the
//! services what their contract says (`store/CONTRACTS.md`), their table and column names.
//!
//! Two kinds. *Any time*: also under load, because effects are read before their causes, so
//! whoever sees an effect must find its cause in the later snapshot. *At rest*: only when
//! nothing moves any more.

mod copy;
mod invariants;
mod report;
mod rest;
mod subscriptions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

pub use invariants::{Invariant, When, all as invariants};
pub use report::{Finding, Report, Verdict};
pub use rest::audit_at_rest;
pub use subscriptions::SUBSCRIPTIONS;

/// The databases that the audit reads, effects before causes.
pub const SERVICES: [&str; 11] = [
    "sms-sim",
    "notifications",
    "orders",
    "warehouse",
    "inventory",
    "payments",
    "psp-sim",
    "checkout",
    "cart",
    "catalog",
    "customers",
];

/// Which file belongs to which service.
pub type Files = BTreeMap<String, PathBuf>;

/// What the audit is asked to do.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub files: Files,
    pub at_rest: bool,
    /// Ids of orders that somebody was promised: one in a line.
    pub accepted: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot read the list of accepted orders {}: {why}", path.display())]
    Accepted { path: PathBuf, why: std::io::Error },
    #[error("the audit's own database failed")]
    Own(#[from] rusqlite::Error),
}

/// Finds `<data>/<service>/<service>.db`, or the only `.db` in that directory.
pub fn find_files(data: &Path) -> Files {
    let mut files = Files::new();
    for service in SERVICES {
        let dir = data.join(service);
        let usual = dir.join(format!("{service}.db"));
        if usual.is_file() {
            files.insert(service.to_owned(), usual);
            continue;
        }
        let entries =
            std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "db")).collect();
        if let (Some(only), true) = (found.pop(), found.is_empty()) {
            files.insert(service.to_owned(), only);
        }
    }
    files
}

/// Runs every invariant that can be run.
///
/// # Errors
/// Only of the audit itself; a database that cannot be read is a finding.
pub fn audit(question: &Question) -> Result<Report, AuditError> {
    let copied = copy::copy(question)?;
    let mut findings = Vec::new();
    for invariant in invariants::all() {
        let verdict = if invariant.when == When::AtRest && !question.at_rest {
            Verdict::Skipped { why: "only at rest (--at-rest)".to_owned() }
        } else {
            invariants::run(&copied, &invariant)?
        };
        findings.push(Finding { id: invariant.id, title: invariant.title, verdict });
    }
    Ok(Report { findings })
}

/// Opens somebody else's database so that nothing can be changed through it.
pub(crate) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(conn)
}
