//! Copies what the invariants need into one database of the audit's own, each source in one
//! snapshot, effects before causes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use orders::machine::ALLOWED;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::subscriptions::{PUBLISHERS, SUBSCRIPTIONS};
use crate::{AuditError, Question, SERVICES, open_to_read};

/// What one table of the audit is copied from.
struct Projection {
    service: &'static str,
    table: &'static str,
    columns: &'static str,
    from: &'static str,
}

const fn projection(
    service: &'static str,
    table: &'static str,
    columns: &'static str,
    from: &'static str,
) -> Projection {
    Projection { service, table, columns, from }
}

const PROJECTIONS: &[Projection] = &[
    projection("sms-sim", "sms_accepted", "order_ref, template", "sms"),
    projection("notifications", "ntf_message", "id, order_id, template, channel, state", "message"),
    projection(
        "orders",
        "ord_order",
        "id, status, version, subtotal_minor, discount_minor, shipping_minor, tax_minor, total_minor, agreed_refund_minor",
        "orders",
    ),
    projection("orders", "ord_line", "order_id, sku, qty, unit_minor", "order_line"),
    projection("orders", "ord_saga_log", "order_id, version, from_state, to_state", "saga_log"),
    projection("orders", "ord_dead_letter", "order_id, why", "dead_letter"),
    projection("warehouse", "wh_fulfilment", "order_id, state, release_capture_id", "fulfilment"),
    projection("warehouse", "wh_package_line", "order_id, sku, qty", "package_line"),
    projection("inventory", "inv_stock", "sku, on_hand, reserved", "stock"),
    projection("inventory", "inv_movement", "sku, kind, qty, order_id", "movement"),
    projection("inventory", "inv_reservation", "order_id, state", "reservation"),
    projection("inventory", "inv_res_line", "order_id, sku, qty", "reservation_line"),
    projection(
        "payments",
        "pay_payment",
        "id, order_id, attempt, state, authorised_minor, captured_minor, refunded_minor, provider_ref",
        "payment",
    ),
    projection("payments", "pay_operation", "id, order_id, kind, state", "operation"),
    projection("payments", "pay_ledger", "tx_id, amount_minor, currency", "ledger_entry"),
    projection("psp-sim", "psp_account", "id, initial_minor, balance_minor", "account"),
    projection(
        "psp-sim",
        "psp_intent",
        "ref, order_ref, status, held_minor, captured_minor, refunded_minor",
        "intent",
    ),
];

/// The audit's database, and what could not be copied into it.
pub(crate) struct Copied {
    pub(crate) db: Connection,
    /// Why a service's tables are empty: it has no file, or the file cannot be read.
    pub(crate) missing: BTreeMap<&'static str, Missing>,
    pub(crate) accepted: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Missing {
    NoFile,
    Unreadable(String),
}

pub(crate) fn copy(question: &Question) -> Result<Copied, AuditError> {
    // A private file that vanishes with the connection.
    let db = Connection::open("")?;
    db.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")?;
    for p in PROJECTIONS {
        db.execute_batch(&format!("CREATE TABLE {}({})", p.table, p.columns))?;
    }
    db.execute_batch(
        "CREATE TABLE published(publisher, topic, id, subject, at_submit);
         CREATE TABLE received(subscriber, source, id);
         CREATE TABLE subscription(subscriber, topic);
         CREATE TABLE allowed(f, t);
         CREATE TABLE accepted(order_id)",
    )?;
    let mut copied = Copied { db, missing: BTreeMap::new(), accepted: question.accepted.is_some() };
    for service in SERVICES {
        let outcome = match question.files.get(service) {
            None => Err(Missing::NoFile),
            Some(path) => copy_service(&copied.db, service, path)
                .map_err(|why| Missing::Unreadable(why.to_string())),
        };
        if let Err(missing) = outcome {
            copied.missing.insert(service, missing);
        }
    }
    for (subscriber, topic) in
        SUBSCRIPTIONS.iter().filter(|(subscriber, _)| !copied.missing.contains_key(subscriber))
    {
        copied.db.execute("INSERT INTO subscription VALUES(?,?)", [subscriber, topic])?;
    }
    let first = [("", "RECEIVED")];
    let rest = ALLOWED.iter().map(|(from, to)| (from.as_str(), to.as_str()));
    for (from, to) in first.into_iter().chain(rest) {
        copied.db.execute("INSERT INTO allowed VALUES(?,?)", [from, to])?;
    }
    if let Some(path) = &question.accepted {
        accepted(&copied.db, path)?;
    }
    index(&copied.db)?;
    Ok(copied)
}

/// One snapshot of one service.
fn copy_service(db: &Connection, service: &'static str, path: &Path) -> rusqlite::Result<()> {
    let source = open_to_read(path)?;
    source.execute_batch("BEGIN")?;
    for p in PROJECTIONS.iter().filter(|p| p.service == service) {
        copy_rows(&source, db, p.table, &format!("SELECT {} FROM {}", p.columns, p.from))?;
    }
    if PUBLISHERS.contains(&service) {
        let rows = format!(
            "SELECT '{service}', topic, id, subject, \
             CASE topic WHEN 'checkout.submitted' THEN json_extract(data, '$.order_id') END FROM outbox"
        );
        copy_rows(&source, db, "published", &rows)?;
    }
    if SUBSCRIPTIONS.iter().any(|(subscriber, _)| *subscriber == service) {
        copy_rows(&source, db, "received", &format!("SELECT '{service}', source, id FROM inbox"))?;
    }
    Ok(())
}

fn copy_rows(
    source: &Connection,
    db: &Connection,
    table: &str,
    query: &str,
) -> rusqlite::Result<()> {
    let mut rows = source.prepare(query)?;
    let width = rows.column_count();
    let marks = vec!["?"; width].join(",");
    let mut insert = db.prepare(&format!("INSERT INTO {table} VALUES({marks})"))?;
    let mut rows = rows.query([])?;
    db.execute_batch("BEGIN")?;
    while let Some(row) = rows.next()? {
        let values: Vec<Value> =
            (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?;
        insert.execute(params_from_iter(values))?;
    }
    db.execute_batch("COMMIT")
}

/// Reads the ids of promised orders. A line may be the id alone or have it in some JSON.
fn accepted(db: &Connection, path: &Path) -> Result<(), AuditError> {
    let failed = |why| AuditError::Accepted { path: path.to_owned(), why };
    let file = std::fs::File::open(path).map_err(failed)?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(failed)?;
        let id = line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .find(|word| word.starts_with("ord_"));
        if let Some(id) = id {
            db.execute("INSERT INTO accepted VALUES(?)", params![id])?;
        }
    }
    Ok(())
}

fn index(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE INDEX a1 ON pay_payment(order_id); CREATE INDEX a2 ON wh_fulfilment(order_id);
         CREATE INDEX a3 ON pay_operation(id); CREATE INDEX a4 ON inv_movement(sku);
         CREATE INDEX a5 ON inv_res_line(sku); CREATE INDEX a6 ON inv_reservation(order_id);
         CREATE INDEX a7 ON ord_line(order_id); CREATE INDEX a8 ON ord_order(id);
         CREATE INDEX a9 ON ntf_message(order_id); CREATE INDEX a10 ON received(id, subscriber);
         CREATE INDEX a11 ON ord_saga_log(order_id, version); CREATE INDEX a12 ON wh_package_line(order_id);
         CREATE INDEX a13 ON psp_intent(ref); CREATE INDEX a14 ON pay_payment(provider_ref)",
    )
}
