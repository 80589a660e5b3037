//! Carts and their lines.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use store_kit::{CartId, Currency, CustomerId, Money, Problem, Sku, Timestamp, Tx, text_enum};

pub(crate) const LINES_MAX: usize = 50;
pub(crate) const QTY_MAX: u32 = 99;

text_enum! {
    pub(crate) enum State { Open = "OPEN", Closed = "CLOSED" }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) sku: Sku,
    pub(crate) qty: u32,
    /// What the buyer was shown; never what is charged.
    pub(crate) seen_price: Option<Money>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cart {
    pub(crate) id: CartId,
    pub(crate) owner: Option<CustomerId>,
    pub(crate) state: State,
    pub(crate) version: i64,
    pub(crate) currency: String,
    pub(crate) lines: Vec<Line>,
    #[serde(skip)]
    pub(crate) closed_by: Option<String>,
    #[serde(skip)]
    pub(crate) merged_into: Option<CartId>,
}

/// The cart with its lines in the order in which they came.
pub(crate) fn find(conn: &Connection, id: &CartId) -> Result<Option<Cart>, Problem> {
    let cart = conn
        .prepare_cached(
            "SELECT owner, state, version, currency, closed_by, merged_into FROM cart WHERE id = ?",
        )?
        .query_row([id], |row| {
            Ok(Cart {
                id: id.clone(),
                owner: row.get(0)?,
                state: row.get(1)?,
                version: row.get(2)?,
                currency: row.get(3)?,
                lines: Vec::new(),
                closed_by: row.get(4)?,
                merged_into: row.get(5)?,
            })
        })
        .optional()?;
    let Some(mut cart) = cart else { return Ok(None) };
    let mut rows = conn
        .prepare_cached("SELECT sku, qty, seen_minor FROM line WHERE cart_id = ? ORDER BY place")?;
    let rows = rows.query_map([id], |row| {
        let seen: Option<i64> = row.get(2)?;
        Ok(Line { sku: row.get(0)?, qty: row.get(1)?, seen_price: seen.map(Money::eur) })
    })?;
    cart.lines = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Some(cart))
}

pub(crate) fn get(conn: &Connection, id: &CartId) -> Result<Cart, Problem> {
    find(conn, id)?.ok_or_else(|| Problem::not_found(format!("cart {id}")))
}

/// The cart, if it can still be changed.
///
/// # Errors
/// 404; 409 `cart-closed`; 412 when `expected` names only other versions.
pub(crate) fn get_open(
    conn: &Connection,
    id: &CartId,
    expected: Option<&[i64]>,
) -> Result<Cart, Problem> {
    let cart = get(conn, id)?;
    if cart.state == State::Closed {
        return Err(Problem::new(409, "cart-closed", "The cart is closed")
            .detail("It was ordered or merged into another; start a new one."));
    }
    if expected.is_some_and(|versions| !versions.contains(&cart.version)) {
        return Err(Problem::stale_version(format!("The cart is at version {}.", cart.version))
            .with("version", cart.version));
    }
    Ok(cart)
}

/// The open cart of an owner.
pub(crate) fn open_of(conn: &Connection, owner: &CustomerId) -> Result<Option<Cart>, Problem> {
    let id: Option<CartId> = conn
        .prepare_cached("SELECT id FROM cart WHERE owner = ? AND state = 'OPEN'")?
        .query_row([owner], |row| row.get(0))
        .optional()?;
    id.map_or(Ok(None), |id| find(conn, &id))
}

pub(crate) fn create(tx: &Tx<'_>, owner: Option<&CustomerId>) -> Result<Cart, Problem> {
    let id = CartId::new();
    tx.prepare_cached(
        "INSERT INTO cart(id, owner, state, created_at, updated_at) VALUES(?1, ?2, 'OPEN', ?3, ?3)",
    )?
    .execute(params![id, owner, tx.now()])?;
    get(tx, &id)
}

/// Sets a line. A price that is not given stays as it was; a line that is as it should be makes
/// no new version.
pub(crate) fn put(
    tx: &Tx<'_>,
    cart: &Cart,
    sku: &Sku,
    qty: u32,
    seen: Option<Money>,
) -> Result<Cart, Problem> {
    let before = cart.lines.iter().find(|line| &line.sku == sku);
    let seen = seen.or_else(|| before.and_then(|line| line.seen_price));
    if before.is_some_and(|line| line.qty == qty && line.seen_price == seen) {
        return Ok(cart.clone());
    }
    if before.is_none() && cart.lines.len() >= LINES_MAX {
        return Err(too_many());
    }
    write_line(tx, &cart.id, &Line { sku: sku.clone(), qty, seen_price: seen })?;
    changed(tx, &cart.id)
}

fn write_line(tx: &Tx<'_>, cart: &CartId, line: &Line) -> Result<(), Problem> {
    let seen = line.seen_price.map(|price| price.amount_minor);
    tx.prepare_cached(
        "INSERT INTO line(cart_id, sku, qty, seen_minor, place) \
         VALUES(?1, ?2, ?3, ?4, (SELECT coalesce(max(place), 0) + 1 FROM line WHERE cart_id = ?1)) \
         ON CONFLICT(cart_id, sku) DO UPDATE SET qty = excluded.qty, seen_minor = excluded.seen_minor",
    )?
    .execute(params![cart, line.sku, line.qty, seen])?;
    Ok(())
}

pub(crate) fn remove(tx: &Tx<'_>, cart: &Cart, sku: &Sku) -> Result<Cart, Problem> {
    let gone = tx
        .prepare_cached("DELETE FROM line WHERE cart_id = ? AND sku = ?")?
        .execute(params![cart.id, sku])?;
    if gone == 0 { Ok(cart.clone()) } else { changed(tx, &cart.id) }
}

/// Moves the lines of `from` into `into` and closes `from`. The same merge again changes nothing.
///
/// # Errors
/// 403 when the carts belong to different owners; 409 `cart-closed`; 422 when the lines together
/// are too many: then nothing is moved.
pub(crate) fn merge(tx: &Tx<'_>, into: &Cart, from: &Cart) -> Result<Cart, Problem> {
    if into.id == from.id {
        return Err(Problem::validation("A cart cannot be merged into itself.")
            .field("/from", "name another cart"));
    }
    if from.merged_into.as_ref() == Some(&into.id) {
        return Ok(into.clone());
    }
    if from.owner.is_some() && from.owner != into.owner {
        return Err(Problem::forbidden("The other cart belongs to somebody else."));
    }
    get_open(tx, &from.id, None)?;
    let lines = merged(&into.lines, &from.lines);
    if lines.len() > LINES_MAX {
        return Err(too_many());
    }
    for line in &lines {
        write_line(tx, &into.id, line)?;
    }
    tx.prepare_cached("DELETE FROM line WHERE cart_id = ?")?.execute([&from.id])?;
    tx.prepare_cached(
        "UPDATE cart SET state = 'CLOSED', merged_into = ?, version = version + 1, updated_at = ? WHERE id = ?",
    )?
    .execute(params![into.id, tx.now(), from.id])?;
    if lines == into.lines { Ok(into.clone()) } else { changed(tx, &into.id) }
}

/// Both carts' lines; what both have is added up. The price that was seen last in time is not
/// known, so the one of the cart that stays counts.
fn merged(into: &[Line], from: &[Line]) -> Vec<Line> {
    let mut lines = into.to_vec();
    for other in from {
        match lines.iter_mut().find(|line| line.sku == other.sku) {
            Some(line) => {
                line.qty = (line.qty + other.qty).min(QTY_MAX);
                line.seen_price = line.seen_price.or(other.seen_price);
            }
            None => lines.push(other.clone()),
        }
    }
    lines
}

/// Takes units out, as far as they are there.
pub(crate) fn take_out(tx: &Tx<'_>, cart: &Cart, units: &[(Sku, u32)]) -> Result<(), Problem> {
    let mut any = false;
    for (sku, qty) in units {
        let Some(line) = cart.lines.iter().find(|line| &line.sku == sku) else { continue };
        any = true;
        match line.qty.saturating_sub(*qty) {
            0 => {
                remove(tx, cart, sku)?;
            }
            left => write_line(tx, &cart.id, &Line { qty: left, ..line.clone() })?,
        }
    }
    if any { changed(tx, &cart.id).map(drop) } else { Ok(()) }
}

fn changed(tx: &Tx<'_>, id: &CartId) -> Result<Cart, Problem> {
    touch(tx, id, tx.now())?;
    get(tx, id)
}

fn touch(tx: &Tx<'_>, id: &CartId, now: Timestamp) -> Result<(), Problem> {
    tx.prepare_cached("UPDATE cart SET version = version + 1, updated_at = ? WHERE id = ?")?
        .execute(params![now, id])?;
    Ok(())
}

fn too_many() -> Problem {
    Problem::validation(format!("A cart has at most {LINES_MAX} lines."))
        .field("", "remove something first")
}

/// A price that a buyer can have seen in this store.
pub(crate) fn check_price(seen: Option<Money>) -> Result<(), Problem> {
    match seen {
        Some(price) if price.currency != Currency::EUR || price.amount_minor < 0 => {
            Err(Problem::validation("The store sells in EUR.")
                .field("/seen_price", "an amount in EUR of at least 0"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, qty: u32, seen: Option<i64>) -> Line {
        Line { sku: sku.parse().unwrap(), qty, seen_price: seen.map(Money::eur) }
    }

    #[test]
    fn merging_adds_up_keeps_the_order_and_stays_within_bounds() {
        let into = [line("A", 60, Some(100)), line("B", 1, None)];
        let from = [line("C", 2, None), line("A", 60, Some(90)), line("B", 3, Some(7))];
        let expected = [line("A", 99, Some(100)), line("B", 4, Some(7)), line("C", 2, None)];
        assert_eq!(merged(&into, &from), expected);
        assert_eq!(merged(&into, &[]), into);
    }
}
