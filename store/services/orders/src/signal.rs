//! What an order's workflow is told, kept until the order has heard it.
//!
//! Whatever an order hears (that it begins, a fact, a wish) is written here as a letter, in the
//! transaction that takes it: it is taken when that is committed, and brought afterwards
//! (`postman`), again and again. A letter goes when the row says that the order has heard it, so
//! neither a crash here, nor one of the engine, nor a workflow that is ended and begun again
//! loses anything. Its number makes a repetition harmless: an order does not hear a number twice.
//!
//! A letter that cannot be brought, while those of others can, is laid aside in `dead_letter`
//! for a person; `saga:retry` sends it again.

use std::sync::Arc;

use rusqlite::Connection;
use store_kit::{OrderId, Problem, Tx};
use tokio::sync::Notify;

use crate::App;
use crate::machine::{Input, Status};
use crate::order::statuses;

/// Wakes who brings letters; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail(pub(crate) Arc<Notify>);

/// One thing that an order is to hear.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) seq: i64,
    pub(crate) order: OrderId,
    /// `None`: the order begins. Text that is no input of ours any more can never be heard.
    pub(crate) input: Option<Result<Input, String>>,
}

/// Puts in the mail that the order begins.
pub(crate) fn begin(app: &App, tx: &Tx<'_>, id: &OrderId) -> Result<(), Problem> {
    put(app, tx, id, None)
}

/// Puts in the mail what an order is to hear.
pub(crate) fn tell(app: &App, tx: &Tx<'_>, id: &OrderId, input: &Input) -> Result<(), Problem> {
    put(app, tx, id, Some(serde_json::to_string(input)?))
}

fn put(app: &App, tx: &Tx<'_>, id: &OrderId, input: Option<String>) -> Result<(), Problem> {
    tx.prepare_cached("INSERT INTO signal(order_id, input) VALUES(?, ?)")?.execute((id, input))?;
    wake(app, tx);
    Ok(())
}

/// Tells every order that asks one of these parties, all at once.
pub(crate) fn tell_all(
    app: &App,
    tx: &Tx<'_>,
    among: &[Status],
    input: &Input,
) -> Result<(), Problem> {
    tx.prepare_cached(
        "INSERT INTO signal(order_id, input) SELECT id, ?1 FROM orders \
         WHERE status IN (SELECT value FROM json_each(?2))",
    )?
    .execute((serde_json::to_string(input)?, serde_json::to_string(among)?))?;
    wake(app, tx);
    Ok(())
}

fn wake(app: &App, tx: &Tx<'_>) {
    let mail = app.mail.clone();
    tx.after_commit(move || mail.0.notify_one());
}

/// Every open order has its workflow. Those of before there were workflows get theirs, as do
/// all if the engine has lost its memory; where there is one already, nothing happens.
pub(crate) fn begin_all(tx: &Tx<'_>) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO signal(order_id) SELECT id FROM orders \
         WHERE status IN (SELECT value FROM json_each(?))",
        [statuses(Status::is_open)?],
    )?;
    Ok(())
}

/// The next ones behind `after`.
pub(crate) fn unread(conn: &Connection, after: i64, max: u32) -> Result<Vec<Letter>, Problem> {
    let mut rows = conn.prepare_cached(
        "SELECT seq, order_id, input FROM signal WHERE seq > ? ORDER BY seq LIMIT ?",
    )?;
    let rows = rows.query_map((after, max), letter)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Those of one order, from the number `from` to `to`.
pub(crate) fn of_order(
    conn: &Connection,
    id: &OrderId,
    (from, to): (i64, i64),
) -> Result<Vec<Letter>, Problem> {
    let mut rows = conn.prepare_cached(
        "SELECT seq, order_id, input FROM signal \
         WHERE order_id = ? AND seq BETWEEN ? AND ? ORDER BY seq",
    )?;
    let rows = rows.query_map((id, from, to), letter)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn letter(row: &rusqlite::Row<'_>) -> rusqlite::Result<Letter> {
    let input: Option<String> = row.get(2)?;
    let input = input.map(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    Ok(Letter { seq: row.get(0)?, order: row.get(1)?, input })
}

/// Takes away what was brought and heard, up to the number `told`; what is kept for an order of
/// `aside` was not brought yet.
pub(crate) fn tidy(tx: &Tx<'_>, told: i64, aside: &[OrderId]) -> Result<(), Problem> {
    tx.prepare_cached(
        "DELETE FROM signal WHERE seq <= ?1 AND order_id NOT IN (SELECT value FROM json_each(?2)) \
         AND (input IS NULL OR EXISTS(SELECT 1 FROM orders o JOIN saga s ON s.order_id = o.id \
           WHERE o.id = signal.order_id AND (s.heard >= signal.seq \
             OR o.status IN (SELECT value FROM json_each(?3)))))",
    )?
    .execute((told, serde_json::to_string(aside)?, statuses(Status::is_final)?))?;
    Ok(())
}

/// Lays a letter aside that cannot be brought.
pub(crate) fn give_up(tx: &Tx<'_>, seq: i64, tries: u32, why: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO dead_letter(seq, order_id, input, tries, why, at) \
         SELECT seq, order_id, input, ?2, ?3, ?4 FROM signal WHERE seq = ?1",
        (seq, tries, why, tx.now()),
    )?;
    tx.execute("DELETE FROM signal WHERE seq = ?", [seq])?;
    Ok(())
}

/// Sends the letters of an order again that were laid aside.
pub(crate) fn send_again(app: &App, tx: &Tx<'_>, id: &OrderId) -> Result<usize, Problem> {
    let sent = tx.execute(
        "INSERT INTO signal(order_id, input) \
         SELECT order_id, input FROM dead_letter WHERE order_id = ? ORDER BY seq",
        [id],
    )?;
    tx.execute("DELETE FROM dead_letter WHERE order_id = ?", [id])?;
    wake(app, tx);
    Ok(sent)
}
