//! An order as it is stored: what was agreed, which never changes, and how far its saga is
//! recorded. Pages, the API and the audit read this; the workflow writes it, and nobody else.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store_kit::{
    CartId, CheckoutId, Currency, CustomerId, Money, OrderId, Problem, Sku, Timestamp, Trace, Tx,
};

use crate::conductor::Work;
use crate::live::Live;
use crate::machine::{Effect, Saga, Status};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cart {
    pub(crate) id: CartId,
    pub(crate) version: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) sku: Sku,
    pub(crate) title: String,
    pub(crate) qty: u32,
    pub(crate) unit: Money,
    pub(crate) weight_g: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Totals {
    pub(crate) subtotal: Money,
    pub(crate) discount: Money,
    pub(crate) shipping: Money,
    pub(crate) tax: Money,
    pub(crate) total: Money,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) line1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line2: Option<String>,
    pub(crate) postcode: String,
    pub(crate) city: String,
    pub(crate) country: String,
}

/// What was agreed with the customer.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) id: OrderId,
    pub(crate) checkout_id: CheckoutId,
    pub(crate) customer_id: CustomerId,
    pub(crate) cart: Cart,
    pub(crate) lines: Vec<Line>,
    pub(crate) totals: Totals,
    pub(crate) ship_to: Address,
    pub(crate) shipping_option: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) agreed: Agreed,
    /// As far as it is recorded.
    pub(crate) saga: Saga,
    /// Of what is recorded.
    pub(crate) revision: u32,
    /// The last signal that is in it.
    pub(crate) heard: i64,
    /// The card of the current attempt, as the provider names it.
    pub(crate) method_token: String,
    pub(crate) trace: Option<Trace>,
    pub(crate) created_at: Timestamp,
    pub(crate) texted_at: Option<Timestamp>,
    pub(crate) counted_down_at: Option<Timestamp>,
}

const COLUMNS: &str = "o.id, o.checkout_id, o.customer_id, o.cart_id, o.cart_version, o.subtotal_minor, \
    o.discount_minor, o.shipping_minor, o.tax_minor, o.total_minor, o.currency, o.ship_to, o.shipping_option, \
    o.status, o.version, s.revision, s.cancel_requested, s.pay_attempt, s.capture_id, s.action_url, o.tracking, \
    o.reason, o.payment_state, o.fulfilment_state, o.traceparent, o.created_at, o.texted_at, o.counted_down_at, \
    (SELECT c.token FROM card c WHERE c.order_id = o.id AND c.attempt = s.pay_attempt), s.heard";

impl Order {
    pub(crate) fn find(conn: &Connection, id: &OrderId) -> Result<Option<Self>, Problem> {
        let sql = format!(
            "SELECT {COLUMNS} FROM orders o JOIN saga s ON s.order_id = o.id WHERE o.id = ?"
        );
        let order = conn.prepare_cached(&sql)?.query_row([id], from_row).optional()?;
        order.map(|order| order.with_lines(conn)).transpose()
    }

    /// The order, or 404.
    pub(crate) fn require(conn: &Connection, id: &OrderId) -> Result<Self, Problem> {
        Self::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("order {id}")))
    }

    /// The customer's orders, the newest first, older than `before`.
    pub(crate) fn of_customer(
        conn: &Connection,
        customer: &CustomerId,
        before: Option<&OrderId>,
        limit: u32,
    ) -> Result<Vec<Self>, Problem> {
        let sql = format!(
            "SELECT {COLUMNS} FROM orders o JOIN saga s ON s.order_id = o.id \
             WHERE o.customer_id = ?1 AND (?2 IS NULL OR o.id < ?2) ORDER BY o.id DESC LIMIT ?3"
        );
        let mut rows = conn.prepare_cached(&sql)?;
        let rows = rows.query_map(params![customer, before, limit], from_row)?;
        rows.map(|order| order?.with_lines(conn)).collect()
    }

    /// Open orders that have not changed since `then`, behind `after`; without those whose
    /// workflow is still to be begun.
    pub(crate) fn open_since(
        conn: &Connection,
        then: Timestamp,
        after: Option<&OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderId>, Problem> {
        let mut rows = conn.prepare_cached(
            "SELECT id FROM orders WHERE status IN (SELECT value FROM json_each(?1)) \
             AND updated_at < ?2 AND (?3 IS NULL OR id > ?3) AND NOT EXISTS \
             (SELECT 1 FROM signal WHERE order_id = orders.id AND input IS NULL) ORDER BY id LIMIT ?4",
        )?;
        let rows = rows
            .query_map(params![statuses(Status::is_open)?, then, after, limit], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn with_lines(mut self, conn: &Connection) -> Result<Self, Problem> {
        let currency = self.agreed.totals.total.currency;
        let mut rows = conn.prepare_cached(
            "SELECT sku, title, qty, unit_minor, weight_g FROM order_line WHERE order_id = ? ORDER BY sku",
        )?;
        let rows = rows.query_map([&self.agreed.id], |row| {
            let unit = Money::new(row.get(3)?, currency);
            Ok(Line {
                sku: row.get(0)?,
                title: row.get(1)?,
                qty: row.get(2)?,
                unit,
                weight_g: row.get(4)?,
            })
        })?;
        self.agreed.lines = rows.collect::<rusqlite::Result<_>>()?;
        Ok(self)
    }

    /// Writes a new order, its first line of the log, and publishes that it was received.
    pub(crate) fn insert(
        tx: &Tx<'_>,
        agreed: &Agreed,
        saga: &Saga,
        method_token: &str,
        print: &str,
    ) -> Result<(), Problem> {
        let (id, totals) = (&agreed.id, &agreed.totals);
        let trace = tx.trace().map(Trace::as_str);
        tx.prepare_cached(
            "INSERT INTO orders(id, checkout_id, customer_id, cart_id, cart_version, status, payment_state, \
             fulfilment_state, subtotal_minor, discount_minor, shipping_minor, tax_minor, total_minor, currency, \
             version, ship_to, shipping_option, fingerprint, traceparent, created_at, updated_at) \
             VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?20)",
        )?
        .execute(params![
            id, agreed.checkout_id, agreed.customer_id, agreed.cart.id, agreed.cart.version, saga.status,
            saga.payment, saga.fulfilment, totals.subtotal.amount_minor, totals.discount.amount_minor,
            totals.shipping.amount_minor, totals.tax.amount_minor, totals.total.amount_minor,
            totals.total.currency.as_str(), saga.version, serde_json::to_string(&agreed.ship_to)?,
            agreed.shipping_option, print, trace, tx.now(),
        ])?;
        for line in &agreed.lines {
            tx.prepare_cached(
                "INSERT INTO order_line(order_id, sku, title, qty, unit_minor, weight_g) VALUES(?,?,?,?,?,?)",
            )?
            .execute(params![id, line.sku, line.title, line.qty, line.unit.amount_minor, line.weight_g])?;
        }
        tx.prepare_cached(
            "INSERT INTO saga(order_id, revision, cancel_requested, pay_attempt) VALUES(?,0,0,1)",
        )?
        .execute([id])?;
        Self::add_card(tx, id, 1, method_token)?;
        log(tx, id, 1, "", saga.status.as_str(), "the checkout submitted it")?;
        let skus: Vec<Value> =
            agreed.lines.iter().map(|line| json!({"sku": line.sku, "qty": line.qty})).collect();
        let mut data = agreed.cart_data();
        data["total"] = json!(totals.total);
        data["lines"] = json!(skus);
        tx.publish("order.received", id, &data)
    }

    /// The card of an attempt, unless it has one. Says which one it has now.
    pub(crate) fn add_card(
        tx: &Tx<'_>,
        id: &OrderId,
        attempt: u32,
        token: &str,
    ) -> Result<String, Problem> {
        tx.prepare_cached("INSERT OR IGNORE INTO card(order_id, attempt, token) VALUES(?,?,?)")?
            .execute((id, attempt, token))?;
        Ok(tx
            .prepare_cached("SELECT token FROM card WHERE order_id = ? AND attempt = ?")?
            .query_row((id, attempt), |row| row.get(0))?)
    }

    /// The order where `saga` has it, which its record may be only about to say.
    pub(crate) fn at(conn: &Connection, id: &OrderId, saga: Saga) -> Result<Option<Self>, Problem> {
        let Some(mut order) = Self::find(conn, id)? else { return Ok(None) };
        if saga.pay_attempt != order.saga.pay_attempt {
            let sql = "SELECT token FROM card WHERE order_id = ? AND attempt = ?";
            let mut card = conn.prepare_cached(sql)?;
            let card = card.query_row((id, saga.pay_attempt), |row| row.get(0)).optional()?;
            order.method_token = card.unwrap_or_default();
        }
        Ok(Some(Self { saga, ..order }))
    }

    /// Writes what became of an order, and publishes what follows. What is written already is
    /// not written again. `false`: there is no such order.
    pub(crate) fn record(
        live: &Live,
        tx: &Tx<'_>,
        id: &OrderId,
        work: &Work,
    ) -> Result<bool, Problem> {
        let Some(order) = Self::find(tx, id)? else { return Ok(false) };
        if work.revision > order.revision {
            order.write(tx, work)?;
            let (live, changed) = (live.clone(), id.clone());
            tx.after_commit(move || live.changed(&changed));
        }
        Ok(true)
    }

    fn write(&self, tx: &Tx<'_>, work: &Work) -> Result<(), Problem> {
        let (id, saga) = (&self.agreed.id, &work.saga);
        let news = || work.entries.iter().filter(|entry| entry.version > self.saga.version);
        let gapless = (self.saga.version + 1..=saga.version).eq(news().map(|e| e.version));
        if !gapless {
            return Err(Problem::internal(format!(
                "{id} is at version {}, and its workflow does not say how it came to {}",
                self.saga.version, saga.version
            )));
        }
        tx.prepare_cached(
            "UPDATE saga SET revision = ?2, cancel_requested = ?3, pay_attempt = ?4, capture_id = ?5, action_url = ?6, heard = ?7 \
             WHERE order_id = ?1",
        )?
        .execute(params![
            id, work.revision, saga.cancel_requested, saga.pay_attempt, saga.capture_id, saga.action_url, work.heard,
        ])?;
        let refunded = news().any(|entry| entry.effects.contains(&Effect::Refunded));
        let refund = if refunded { self.agreed.totals.total.amount_minor } else { 0 };
        tx.prepare_cached(
            "UPDATE orders SET status = ?2, payment_state = ?3, fulfilment_state = ?4, version = ?5, tracking = ?6, \
             reason = ?7, updated_at = ?8, agreed_refund_minor = max(agreed_refund_minor, ?9) WHERE id = ?1",
        )?
        .execute(params![
            id, saga.status, saga.payment, saga.fulfilment, saga.version, saga.tracking, saga.reason, tx.now(),
            refund,
        ])?;
        for entry in news() {
            let (from, to, why) = (entry.from.as_str(), entry.to.as_str(), &entry.why);
            log(tx, id, entry.version, from, to, why)?;
            tracing::info!(order_id = %id, from, to, why, "order moved");
            entry.effects.iter().try_for_each(|effect| self.publish(tx, *effect, saga))?;
        }
        Ok(())
    }

    fn publish(&self, tx: &Tx<'_>, effect: Effect, saga: &Saga) -> Result<(), Problem> {
        let agreed = &self.agreed;
        let mut data = json!({"order_id": agreed.id, "customer_id": agreed.customer_id});
        let topic = match effect {
            Effect::Confirmed => {
                let line = |l: &Line| json!({"sku": l.sku, "qty": l.qty, "title": l.title, "weight_g": l.weight_g});
                data["lines"] = agreed.lines.iter().map(line).collect();
                data["shipping_option"] = json!(agreed.shipping_option);
                "order.confirmed"
            }
            Effect::AuthenticationNeeded => {
                data["kind"] = json!("authenticate");
                "order.payment_action_required"
            }
            Effect::NewCardNeeded => {
                data["kind"] = json!("new_card");
                "order.payment_action_required"
            }
            Effect::Dispatched => {
                data["tracking"] = json!(saga.tracking.as_deref().unwrap_or_default());
                "order.dispatched"
            }
            Effect::Delivered => "order.delivered",
            Effect::Completed => "order.completed",
            Effect::Refunded => {
                data["amount"] = json!(agreed.totals.total);
                "order.refunded"
            }
            Effect::Cancelled => {
                data = agreed.cart_data();
                data["reason"] = json!(saga.reason);
                "order.cancelled"
            }
        };
        tx.publish(topic, &agreed.id, &data)
    }

    /// How the order came to where it stands: `(status, when, why)`.
    pub(crate) fn log(
        &self,
        conn: &Connection,
    ) -> Result<Vec<(String, Timestamp, String)>, Problem> {
        let mut rows = conn.prepare_cached(
            "SELECT to_state, at, why FROM saga_log WHERE order_id = ? ORDER BY version",
        )?;
        let rows =
            rows.query_map([&self.agreed.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Agreed {
    fn cart_data(&self) -> Value {
        json!({
            "order_id": self.id, "customer_id": self.customer_id,
            "cart_id": self.cart.id, "cart_version": self.cart.version,
        })
    }
}

/// Those that are `chosen`, as SQL's `json_each` reads them.
pub(crate) fn statuses(chosen: impl Fn(Status) -> bool) -> Result<String, Problem> {
    let chosen: Vec<Status> = Status::ALL.iter().copied().filter(|s| chosen(*s)).collect();
    Ok(serde_json::to_string(&chosen)?)
}

fn log(
    tx: &Tx<'_>,
    id: &OrderId,
    version: u32,
    from: &str,
    to: &str,
    why: &str,
) -> Result<(), Problem> {
    tx.prepare_cached("INSERT INTO saga_log(order_id, version, from_state, to_state, at, why) VALUES(?,?,?,?,?,?)")?
        .execute(params![id, version, from, to, tx.now(), why])?;
    Ok(())
}

/// The order without its lines.
fn from_row(row: &Row<'_>) -> rusqlite::Result<Order> {
    let currency: String = row.get(10)?;
    let currency: Currency = currency.parse().map_err(|e| bad_column(10, e))?;
    let money = |at: usize| Ok::<_, rusqlite::Error>(Money::new(row.get(at)?, currency));
    let ship_to: String = row.get(11)?;
    let trace: Option<String> = row.get(24)?;
    Ok(Order {
        agreed: Agreed {
            id: row.get(0)?,
            checkout_id: row.get(1)?,
            customer_id: row.get(2)?,
            cart: Cart { id: row.get(3)?, version: row.get(4)? },
            lines: Vec::new(),
            totals: Totals {
                subtotal: money(5)?,
                discount: money(6)?,
                shipping: money(7)?,
                tax: money(8)?,
                total: money(9)?,
            },
            ship_to: serde_json::from_str(&ship_to).map_err(|e| bad_column(11, e))?,
            shipping_option: row.get(12)?,
        },
        saga: Saga {
            status: row.get(13)?,
            version: row.get(14)?,
            cancel_requested: row.get(16)?,
            pay_attempt: row.get(17)?,
            capture_id: row.get(18)?,
            action_url: row.get(19)?,
            tracking: row.get(20)?,
            reason: row.get(21)?,
            payment: row.get(22)?,
            fulfilment: row.get(23)?,
            // What only the workflow knows.
            next_run_at: None,
            deadline: None,
            attempt: 0,
            generation: 1,
            looking: false,
            hold_extended: false,
        },
        revision: row.get(15)?,
        heard: row.get(29)?,
        trace: trace.and_then(|text| Trace::parse(&text)),
        created_at: row.get(25)?,
        texted_at: row.get(26)?,
        counted_down_at: row.get(27)?,
        method_token: row.get::<_, Option<String>>(28)?.unwrap_or_default(),
    })
}

fn bad_column(
    at: usize,
    error: impl std::error::Error + Send + std::marker::Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(error))
}
