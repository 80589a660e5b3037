//! Audits once nothing moves any more.

use std::time::{Duration, Instant};

use crate::{AuditError, Files, Question, Report, audit, open_to_read};

const POLL: Duration = Duration::from_millis(250);
/// How long nothing may have changed before we believe that it is over.
const QUIET: Duration = Duration::from_millis(750);
/// How long we believe that somebody still carries an event about.
const QUIET_BUT_WRONG: Duration = Duration::from_secs(10);
/// How long we believe that an open order is only waiting for its next try: tries are at most
/// half a minute apart.
const QUIET_BUT_OPEN: Duration = Duration::from_secs(40);

/// By service: what is open, and what changes as long as something happens.
const SIGNS: &[(&str, &str, &str)] = &[
    (
        "orders",
        "SELECT count(*) FROM orders WHERE status NOT IN ('COMPLETED','CANCELLED','REFUNDED','AWAITING_ACTION','AWAITING_METHOD')",
        "SELECT coalesce(sum(version), 0) FROM orders",
    ),
    (
        "payments",
        "SELECT count(*) FROM operation WHERE state NOT IN ('SUCCESS','FAILURE')",
        "SELECT coalesce(max(seq), 0) FROM outbox",
    ),
    (
        "notifications",
        "SELECT count(*) FROM message WHERE state = 'QUEUED'",
        "SELECT (SELECT count(*) FROM inbox) + (SELECT coalesce(max(seq), 0) FROM outbox)",
    ),
    (
        "warehouse",
        "SELECT 0",
        "SELECT (SELECT count(*) FROM inbox) + (SELECT coalesce(max(seq), 0) FROM outbox)",
    ),
    (
        "inventory",
        "SELECT 0",
        "SELECT (SELECT count(*) FROM inbox) + (SELECT coalesce(max(seq), 0) FROM outbox)",
    ),
    (
        "checkout",
        "SELECT 0",
        "SELECT (SELECT count(*) FROM inbox) + (SELECT coalesce(max(seq), 0) FROM outbox)",
    ),
    (
        "catalog",
        "SELECT 0",
        "SELECT (SELECT count(*) FROM inbox) + (SELECT coalesce(max(seq), 0) FROM outbox)",
    ),
    ("cart", "SELECT 0", "SELECT count(*) FROM inbox"),
];

/// Waits, at most `limit`, for the store to come to rest, and audits it then. What is wrong at
/// that moment gets a little time to come right, in case an event is still on its way.
///
/// # Errors
/// Those of [`audit`].
pub fn audit_at_rest(question: &Question, limit: Duration) -> Result<Report, AuditError> {
    let began = Instant::now();
    let (mut seen, mut since) = (signs(&question.files), Instant::now());
    loop {
        std::thread::sleep(POLL);
        let now = signs(&question.files);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        let (quiet, over) = (since.elapsed(), began.elapsed() >= limit);
        if quiet < QUIET && !over {
            continue;
        }
        if seen.open > 0 && quiet < QUIET_BUT_OPEN && !over {
            continue;
        }
        let report = audit(question)?;
        if report.is_clean() || quiet >= QUIET_BUT_WRONG || over {
            return Ok(report);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Signs {
    open: i64,
    progress: Vec<i64>,
}

/// A database that cannot be read shows nothing here; the audit itself says why.
fn signs(files: &Files) -> Signs {
    let mut signs = Signs { open: 0, progress: Vec::new() };
    for (service, open, progress) in SIGNS {
        let Some(conn) = files.get(*service).and_then(|path| open_to_read(path).ok()) else {
            continue;
        };
        let ask = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
        signs.open += ask(open);
        signs.progress.push(ask(progress));
    }
    signs
}
