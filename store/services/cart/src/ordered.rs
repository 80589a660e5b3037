//! What orders do to carts.
//!
//! The facts of one order may come in any order, so each leaves a row: an order that was
//! cancelled before it was heard of closes nothing any more.

use rusqlite::{OptionalExtension, params};
use serde::Deserialize;
use store_kit::{CartId, Event, OrderId, Problem, Sku, Tx, Verdict};

use crate::contents::{self, State};

#[derive(Deserialize)]
struct Received {
    order_id: OrderId,
    cart_id: CartId,
    cart_version: i64,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: Sku,
    qty: u32,
}

#[derive(Deserialize)]
struct Cancelled {
    order_id: OrderId,
    cart_id: CartId,
}

pub(crate) fn on_event(tx: &Tx<'_>, event: &Event) -> Result<Verdict, Problem> {
    let outcome = match event.topic() {
        "order.received" => event.data().map(|fact| received(tx, &fact)),
        "order.cancelled" => event.data().map(|fact| cancelled(tx, &fact)),
        other => Err(Verdict::Poison(format!("cart does not take `{other}`"))),
    };
    match outcome {
        Ok(done) => done.map(|()| Verdict::Applied),
        Err(verdict) => Ok(verdict),
    }
}

/// Closes the version that was ordered. A cart that has changed since stays open with what came
/// later: what it had more of than was ordered.
fn received(tx: &Tx<'_>, fact: &Received) -> Result<(), Problem> {
    let fresh = tx
        .prepare_cached("INSERT INTO ordered(order_id, at) VALUES(?, ?) ON CONFLICT DO NOTHING")?
        .execute(params![fact.order_id, tx.now()])?;
    let Some(cart) = contents::find(tx, &fact.cart_id)? else { return Ok(()) };
    if fresh == 0 || cart.state == State::Closed {
        return Ok(());
    }
    if cart.version > fact.cart_version {
        let units: Vec<_> = fact.lines.iter().map(|line| (line.sku.clone(), line.qty)).collect();
        contents::take_out(tx, &cart, &units)?;
        tracing::info!(order_id = %fact.order_id, "the cart has changed since; it stays open");
        return Ok(());
    }
    tx.prepare_cached(
        "UPDATE cart SET state = 'CLOSED', closed_by = ?, version = version + 1, updated_at = ? WHERE id = ?",
    )?
    .execute(params![fact.order_id, tx.now(), cart.id])?;
    tracing::info!(order_id = %fact.order_id, "cart closed");
    Ok(())
}

/// Opens the cart again that this order had closed, unless its owner has another by now.
fn cancelled(tx: &Tx<'_>, fact: &Cancelled) -> Result<(), Problem> {
    let before: Option<bool> = tx
        .prepare_cached("SELECT cancelled FROM ordered WHERE order_id = ?")?
        .query_row([&fact.order_id], |row| row.get(0))
        .optional()?;
    tx.prepare_cached(
        "INSERT INTO ordered(order_id, cancelled, at) VALUES(?, 1, ?) \
         ON CONFLICT(order_id) DO UPDATE SET cancelled = 1",
    )?
    .execute(params![fact.order_id, tx.now()])?;
    if before == Some(true) {
        return Ok(());
    }
    let Some(cart) = contents::find(tx, &fact.cart_id)? else { return Ok(()) };
    if cart.closed_by.as_deref() != Some(fact.order_id.as_str()) {
        return Ok(());
    }
    if let Some(owner) = &cart.owner
        && contents::open_of(tx, owner)?.is_some()
    {
        return Ok(());
    }
    tx.prepare_cached(
        "UPDATE cart SET state = 'OPEN', closed_by = NULL, version = version + 1, updated_at = ? WHERE id = ?",
    )?
    .execute(params![tx.now(), cart.id])?;
    tracing::info!(order_id = %fact.order_id, "cart opened again");
    Ok(())
}
