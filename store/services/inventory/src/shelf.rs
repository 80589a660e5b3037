//! Counting: units on hand, units promised, and the level that customers see.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store_kit::{OrderId, Problem, Sku, Tx};

/// Some units of one sku.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) sku: Sku,
    pub(crate) qty: u32,
}

/// What one sku's row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stock {
    pub(crate) sku: Sku,
    pub(crate) on_hand: u32,
    pub(crate) reserved: u32,
    pub(crate) free: u32,
    pub(crate) level: String,
}

impl Stock {
    pub(crate) const COLUMNS: &str = "sku, on_hand, reserved, level";

    pub(crate) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let (on_hand, reserved): (u32, u32) = (row.get(1)?, row.get(2)?);
        let free = on_hand.saturating_sub(reserved);
        Ok(Self { sku: row.get(0)?, on_hand, reserved, free, level: row.get(3)? })
    }
}

/// Why units change hands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Movement<'a> {
    Receipt,
    Ship(&'a OrderId),
}

fn level(free: u32) -> &'static str {
    match free {
        0 => "out",
        1..=3 => "low",
        _ => "in",
    }
}

pub(crate) fn find(tx: &Tx<'_>, sku: &Sku) -> Result<Option<Stock>, Problem> {
    let sql = format!("SELECT {} FROM stock WHERE sku = ?", Stock::COLUMNS);
    Ok(tx.prepare_cached(&sql)?.query_row([sku], Stock::from_row).optional()?)
}

/// Promises all of these units, or none and says which are missing.
///
/// # Errors
/// 409 `out-of-stock` with `shortages`.
pub(crate) fn promise(tx: &Tx<'_>, lines: &[Line]) -> Result<(), Problem> {
    let mut shortages = Vec::new();
    for line in lines {
        let free = find(tx, &line.sku)?.map_or(0, |stock| stock.free);
        if free < line.qty {
            shortages.push(json!({"sku": line.sku, "wanted": line.qty, "free": free}));
        }
    }
    if !shortages.is_empty() {
        return Err(Problem::new(409, "out-of-stock", "Not enough in stock")
            .detail(format!(
                "{} of {} lines are short; nothing was reserved.",
                shortages.len(),
                lines.len()
            ))
            .with("shortages", shortages));
    }
    lines.iter().try_for_each(|line| change(tx, &line.sku, 0, i64::from(line.qty)))
}

/// Takes a promise back: the units are free again.
pub(crate) fn unpromise(tx: &Tx<'_>, lines: &[Line]) -> Result<(), Problem> {
    lines.iter().try_for_each(|line| change(tx, &line.sku, 0, -i64::from(line.qty)))
}

/// Promised units leave the shelf.
pub(crate) fn ship(tx: &Tx<'_>, order: &OrderId, lines: &[Line]) -> Result<(), Problem> {
    lines.iter().try_for_each(|line| {
        let qty = -i64::from(line.qty);
        record(tx, &line.sku, Movement::Ship(order), qty)?;
        change(tx, &line.sku, qty, qty)
    })
}

/// Units arrive; the sku may be new. Returns the number of the movement.
pub(crate) fn receive(tx: &Tx<'_>, sku: &Sku, qty: u32) -> Result<i64, Problem> {
    tx.prepare_cached("INSERT INTO stock(sku, on_hand) VALUES(?, 0) ON CONFLICT DO NOTHING")?
        .execute([sku])?;
    let movement = record(tx, sku, Movement::Receipt, i64::from(qty))?;
    change(tx, sku, i64::from(qty), 0)?;
    Ok(movement)
}

/// What is there when the store opens. Nobody is told: whoever cares has the same generator, and
/// a large store would begin with a hundred thousand events.
pub(crate) fn first_day(tx: &Tx<'_>, sku: &Sku, qty: u32) -> Result<(), Problem> {
    tx.prepare_cached("INSERT INTO stock(sku, on_hand, level) VALUES(?,?,?)")?.execute(params![
        sku,
        qty,
        level(qty)
    ])?;
    if qty > 0 {
        record(tx, sku, Movement::Receipt, i64::from(qty))?;
    }
    Ok(())
}

fn record(tx: &Tx<'_>, sku: &Sku, movement: Movement<'_>, qty: i64) -> Result<i64, Problem> {
    let (kind, order) = match movement {
        Movement::Receipt => ("RECEIPT", None),
        Movement::Ship(order) => ("SHIP", Some(order)),
    };
    tx.prepare_cached("INSERT INTO movement(sku, kind, qty, order_id, at) VALUES(?,?,?,?,?)")?
        .execute(params![sku, kind, qty, order, tx.now()])?;
    Ok(tx.last_insert_rowid())
}

/// Changes the counts and, when the level changed with them, tells the world. The constraint of
/// the table refuses what must not be.
fn change(tx: &Tx<'_>, sku: &Sku, on_hand: i64, reserved: i64) -> Result<(), Problem> {
    let sql = format!(
        "UPDATE stock SET on_hand = on_hand + ?2, reserved = reserved + ?3, version = version + 1 \
         WHERE sku = ?1 RETURNING {}",
        Stock::COLUMNS
    );
    let stock =
        tx.prepare_cached(&sql)?.query_row(params![sku, on_hand, reserved], Stock::from_row)?;
    let now = level(stock.free);
    if now != stock.level {
        tx.prepare_cached("UPDATE stock SET level = ? WHERE sku = ?")?
            .execute(params![now, sku])?;
        let data = json!({"sku": sku, "level": now, "free": stock.free});
        tx.publish("stock.level_changed", sku, &data)?;
    }
    Ok(())
}
