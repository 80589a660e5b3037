//! Promises to orders, and every way one can change.
//!
//! HELD -> CONFIRMED -> SHIPPED is the good path. HELD lapses to EXPIRED; an expired promise is
//! made again by whoever still wants it, in the same transaction, if the goods are there.
//! RELEASED is the end: whatever arrives for that order afterwards is late and is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde_json::json;
use store_kit::{OrderId, Problem, Timestamp, Tx};

use crate::shelf::{self, Line};

store_kit::text_enum! {
    pub(crate) enum State {
        Held = "HELD",
        Confirmed = "CONFIRMED",
        Released = "RELEASED",
        Expired = "EXPIRED",
        Shipped = "SHIPPED",
    }
}

/// A reservation as everybody sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reservation {
    pub(crate) order_id: OrderId,
    pub(crate) state: State,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) lines: Vec<Line>,
}

pub(crate) fn find(conn: &Connection, order: &OrderId) -> Result<Option<Reservation>, Problem> {
    let row = conn
        .prepare_cached("SELECT state, expires_at FROM reservation WHERE order_id = ?")?
        .query_row([order], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((state, expires_at)) = row else { return Ok(None) };
    let mut lines = conn
        .prepare_cached("SELECT sku, qty FROM reservation_line WHERE order_id = ? ORDER BY sku")?;
    let lines = lines.query_map([order], |row| Ok(Line { sku: row.get(0)?, qty: row.get(1)? }))?;
    let lines = lines.collect::<rusqlite::Result<_>>()?;
    Ok(Some(Reservation { order_id: order.clone(), state, expires_at, lines }))
}

/// Holds `lines` for `order` until `ttl` from now. Holding again what is promised already
/// answers what stands.
///
/// # Errors
/// 409 `out-of-stock`; 410 `order-tombstoned`; 422 when other lines are promised already.
pub(crate) fn hold(
    tx: &Tx<'_>,
    order: &OrderId,
    mut lines: Vec<Line>,
    ttl: Duration,
) -> Result<Reservation, Problem> {
    check(&lines)?;
    lines.sort();
    refuse_tombstoned(tx, order)?;
    let expires_at = Some(tx.now() + ttl);
    match find(tx, order)? {
        None => {
            shelf::promise(tx, &lines)?;
            insert(tx, order, &lines)?;
            let held =
                Reservation { order_id: order.clone(), state: State::Held, expires_at, lines };
            enter(tx, held, "reservation.held")
        }
        Some(found) if found.state == State::Released => Err(tombstoned(order)),
        Some(found) if found.lines != lines => {
            Err(Problem::validation("Other lines are reserved for this order.")
                .field("/lines", "differ"))
        }
        Some(found) if found.state == State::Expired => {
            shelf::promise(tx, &found.lines)?;
            enter(tx, Reservation { state: State::Held, expires_at, ..found }, "reservation.held")
        }
        Some(found) => Ok(found),
    }
}

/// Makes the promise last until the goods leave or the order is released.
///
/// # Errors
/// 409 `out-of-stock` when it had expired and the goods are gone; 410; 404.
pub(crate) fn confirm(tx: &Tx<'_>, order: &OrderId) -> Result<Reservation, Problem> {
    let found = live(tx, order)?;
    match found.state {
        State::Expired => shelf::promise(tx, &found.lines)?,
        State::Held => {}
        State::Confirmed | State::Shipped | State::Released => return Ok(found),
    }
    enter(
        tx,
        Reservation { state: State::Confirmed, expires_at: None, ..found },
        "reservation.confirmed",
    )
}

/// Holds on for at least `ttl` from now.
///
/// # Errors
/// As [`confirm`].
pub(crate) fn extend(tx: &Tx<'_>, order: &OrderId, ttl: Duration) -> Result<Reservation, Problem> {
    let found = live(tx, order)?;
    let expires_at = found.expires_at.max(Some(tx.now() + ttl));
    match found.state {
        State::Held => {
            let held = Reservation { expires_at, ..found };
            store(tx, &held)?;
            Ok(held)
        }
        State::Expired => {
            shelf::promise(tx, &found.lines)?;
            enter(tx, Reservation { state: State::Held, expires_at, ..found }, "reservation.held")
        }
        State::Confirmed | State::Shipped | State::Released => Ok(found),
    }
}

/// Gives the goods back. An order that was never seen is closed for what may still be on its way.
///
/// # Errors
/// 409 `too-late-to-cancel` when the goods have left.
pub(crate) fn release(tx: &Tx<'_>, order: &OrderId) -> Result<Reservation, Problem> {
    let Some(found) = find(tx, order)? else {
        tx.prepare_cached(
            "INSERT INTO tombstone(order_id, at) VALUES(?,?) ON CONFLICT DO NOTHING",
        )?
        .execute(params![order, tx.now()])?;
        return Ok(Reservation {
            order_id: order.clone(),
            state: State::Released,
            expires_at: None,
            lines: vec![],
        });
    };
    match found.state {
        State::Released => return Ok(found),
        State::Shipped => {
            return Err(Problem::new(409, "too-late-to-cancel", "The goods have left")
                .detail(format!("The goods of {order} were shipped.")));
        }
        State::Held | State::Confirmed => shelf::unpromise(tx, &found.lines)?,
        State::Expired => {}
    }
    enter(
        tx,
        Reservation { state: State::Released, expires_at: None, ..found },
        "reservation.released",
    )
}

/// Lets the promises lapse whose time is over, at most `max` at once. Says when the next one is
/// due.
pub(crate) fn expire(tx: &Tx<'_>, max: u32) -> Result<Option<Timestamp>, Problem> {
    let due: Vec<OrderId> = {
        let sql = "SELECT order_id FROM reservation WHERE state = 'HELD' AND expires_at <= ? ORDER BY expires_at LIMIT ?";
        let mut due = tx.prepare_cached(sql)?;
        due.query_map(params![tx.now(), max], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    for order in due {
        let Some(found) = find(tx, &order)? else { continue };
        shelf::unpromise(tx, &found.lines)?;
        enter(
            tx,
            Reservation { state: State::Expired, expires_at: None, ..found },
            "reservation.expired",
        )?;
    }
    let next = "SELECT min(expires_at) FROM reservation WHERE state = 'HELD'";
    Ok(tx.prepare_cached(next)?.query_row([], |row| row.get(0))?)
}

/// The goods of a confirmed reservation have left.
pub(crate) fn ship(tx: &Tx<'_>, found: Reservation) -> Result<Reservation, Problem> {
    shelf::ship(tx, &found.order_id, &found.lines)?;
    enter(
        tx,
        Reservation { state: State::Shipped, expires_at: None, ..found },
        "reservation.shipped",
    )
}

/// The reservation of an order that is not closed.
fn live(tx: &Tx<'_>, order: &OrderId) -> Result<Reservation, Problem> {
    refuse_tombstoned(tx, order)?;
    let found =
        find(tx, order)?.ok_or_else(|| Problem::not_found(format!("reservation of {order}")))?;
    if found.state == State::Released { Err(tombstoned(order)) } else { Ok(found) }
}

fn refuse_tombstoned(tx: &Tx<'_>, order: &OrderId) -> Result<(), Problem> {
    let closed =
        tx.prepare_cached("SELECT 1 FROM tombstone WHERE order_id = ?")?.exists([order])?;
    if closed { Err(tombstoned(order)) } else { Ok(()) }
}

fn tombstoned(order: &OrderId) -> Problem {
    Problem::new(410, "order-tombstoned", "The order is closed")
        .detail(format!("The reservation of {order} was released; this came too late."))
}

fn check(lines: &[Line]) -> Result<(), Problem> {
    let mut problem = Problem::validation("These lines cannot be reserved.");
    if lines.is_empty() || lines.len() > 50 {
        problem = problem.field("/lines", "1 to 50 lines");
    }
    let mut seen = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        if !(1..=99).contains(&line.qty) {
            problem = problem.field(format!("/lines/{at}/qty"), "1 to 99");
        }
        if !seen.insert(&line.sku) {
            problem = problem.field(format!("/lines/{at}/sku"), "stands here twice");
        }
    }
    if problem.has_fields() { Err(problem) } else { Ok(()) }
}

fn insert(tx: &Tx<'_>, order: &OrderId, lines: &[Line]) -> Result<(), Problem> {
    // EXPIRED promises nothing; `enter` follows in the same transaction.
    tx.prepare_cached("INSERT INTO reservation(order_id, state, created_at, updated_at) VALUES(?1, 'EXPIRED', ?2, ?2)")?
        .execute(params![order, tx.now()])?;
    for line in lines {
        tx.prepare_cached("INSERT INTO reservation_line(order_id, sku, qty) VALUES(?,?,?)")?
            .execute(params![order, line.sku, line.qty])?;
    }
    Ok(())
}

fn store(tx: &Tx<'_>, new: &Reservation) -> Result<(), Problem> {
    tx.prepare_cached(
        "UPDATE reservation SET state = ?, expires_at = ?, updated_at = ? WHERE order_id = ?",
    )?
    .execute(params![new.state, new.expires_at, tx.now(), new.order_id])?;
    Ok(())
}

/// Stores the new state and publishes it.
fn enter(tx: &Tx<'_>, new: Reservation, topic: &str) -> Result<Reservation, Problem> {
    store(tx, &new)?;
    tx.publish(topic, &new.order_id, &json!({"order_id": new.order_id, "lines": new.lines}))?;
    Ok(new)
}
