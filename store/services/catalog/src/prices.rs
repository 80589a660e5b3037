//! What things cost. The only place in the store where a price comes from.

use axum::extract::State;
use axum::response::Response;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store_kit::{Command, Currency, Db, Input, Money, Problem, Reply, Sku, Tx};

use crate::locale::Lang;
use crate::product;

const LINES_MAX: usize = 50;
const QTY_MAX: u32 = 99;
/// Ten thousand euros: above that a slip of the finger is likelier than a price.
const AMOUNT_MAX: i64 = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resolve {
    lines: Vec<Wanted>,
    currency: Currency,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    sku: Sku,
    qty: u32,
}

#[derive(Debug, Serialize)]
struct Resolved {
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    sku: String,
    qty: u32,
    title: String,
    slug: String,
    image: String,
    unit: Money,
    price_version: i64,
    weight_g: i64,
}

pub(crate) async fn resolve(
    State(db): State<Db>,
    lang: Lang,
    Input(wanted): Input<Resolve>,
) -> Result<Response, Problem> {
    let mut wrong = Problem::validation("Some lines cannot be priced.");
    if wanted.currency != Currency::EUR {
        wrong = wrong.field("/currency", "the store sells in EUR");
    }
    if wanted.lines.len() > LINES_MAX {
        wrong = wrong.field("/lines", "at most 50 lines");
    }
    for (i, line) in wanted.lines.iter().enumerate() {
        if !(1..=QTY_MAX).contains(&line.qty) {
            wrong = wrong.field(format!("/lines/{i}/qty"), "1 to 99");
        }
    }
    if wrong.has_fields() {
        return Err(wrong);
    }
    let lines = db
        .read(move |conn| {
            let mut lines = Vec::with_capacity(wanted.lines.len());
            for (i, Wanted { sku, qty }) in wanted.lines.iter().enumerate() {
                match product::variant(conn, lang, sku.as_str())? {
                    Some(found) => lines.push(line(found, *qty)),
                    None => {
                        wrong =
                            wrong.field(format!("/lines/{i}/sku"), format!("unknown sku `{sku}`"))
                    }
                }
            }
            if wrong.has_fields() { Err(wrong) } else { Ok(lines) }
        })
        .await?;
    Ok(lang.json(&Resolved { lines }))
}

fn line(found: product::Variant, qty: u32) -> Line {
    let options: Vec<String> = found.options.colour.into_iter().chain(found.options.size).collect();
    let title = if options.is_empty() {
        found.title
    } else {
        format!("{} – {}", found.title, options.join(", "))
    };
    Line {
        sku: found.sku,
        qty,
        title,
        slug: found.slug,
        image: found.image,
        unit: found.price,
        price_version: found.price_version,
        weight_g: found.weight_g,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPrice {
    sku: Sku,
    amount: Money,
}

/// `POST /v1/prices`: closes the open price and opens another at the same moment.
pub(crate) async fn set(
    State(db): State<Db>,
    Command { key, body }: Command<NewPrice>,
) -> Result<Reply, Problem> {
    db.once(key, move |tx| change(tx, &body)).await
}

fn change(tx: &Tx<'_>, new: &NewPrice) -> Result<Reply, Problem> {
    if new.amount.currency != Currency::EUR || !(1..=AMOUNT_MAX).contains(&new.amount.amount_minor)
    {
        let rule = "an amount in EUR from 1 to 1000000 cents";
        return Err(Problem::validation("This cannot be a price.").field("/amount", rule));
    }
    let sku = new.sku.as_str();
    let version: i64 = tx
        .query_row("SELECT max(version) FROM price WHERE sku = ?", [sku], |row| {
            row.get::<_, Option<i64>>(0)
        })
        .optional()?
        .flatten()
        .ok_or_else(|| Problem::not_found(format!("sku {sku}")))?
        + 1;
    let now = tx.now();
    tx.execute(
        "UPDATE price SET valid_to = max(valid_from, ?) WHERE sku = ? AND currency = 'EUR' AND valid_to IS NULL",
        params![now, sku],
    )?;
    tx.execute(
        "INSERT INTO price(sku, version, currency, amount_minor, valid_from) VALUES(?,?,'EUR',?,?)",
        params![sku, version, new.amount.amount_minor, now],
    )?;
    tx.execute(
        "UPDATE product SET low_minor = (SELECT min(e.amount_minor) FROM variant v JOIN price e ON e.sku = v.sku AND e.currency = 'EUR' AND e.valid_to IS NULL WHERE v.product = product.seq)
         WHERE seq = (SELECT product FROM variant WHERE sku = ?)",
        [sku],
    )?;
    let fact = json!({"sku": sku, "amount": new.amount, "price_version": version});
    tx.publish("price.changed", sku, &fact)?;
    Reply::json(201, &fact)
}
