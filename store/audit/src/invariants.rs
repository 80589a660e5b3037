//! What must hold. Each is a query that finds what is wrong, and so must find nothing.
//!
//! The numbers are those by which people talk about them: A any time, C also a constraint in its
//! owner's database, Q only at rest.

use rusqlite::types::ValueRef;

use crate::copy::{Copied, Missing};
use crate::report::Verdict;

/// How many rows of a violation are shown.
const ROWS_SHOWN: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    AnyTime,
    AtRest,
}

#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    pub id: &'static str,
    pub title: &'static str,
    pub when: When,
    /// Services whose databases it reads.
    pub needs: &'static [&'static str],
    sql: &'static str,
}

const fn any_time(
    id: &'static str,
    title: &'static str,
    needs: &'static [&'static str],
    sql: &'static str,
) -> Invariant {
    Invariant { id, title, when: When::AnyTime, needs, sql }
}

const fn at_rest(
    id: &'static str,
    title: &'static str,
    needs: &'static [&'static str],
    sql: &'static str,
) -> Invariant {
    Invariant { id, title, when: When::AtRest, needs, sql }
}

pub fn all() -> Vec<Invariant> {
    ALL.to_vec()
}

const ALL: &[Invariant] = &[
    any_time(
        "A1",
        "nothing leaves unpaid",
        &["warehouse", "payments"],
        "SELECT f.order_id, f.state FROM wh_fulfilment f WHERE f.state IN ('DISPATCHED', 'DELIVERED')
         AND NOT EXISTS (SELECT 1 FROM pay_payment p WHERE p.order_id = f.order_id AND p.captured_minor > 0)",
    ),
    any_time(
        "A2",
        "\"delivered\" is only said of what was paid for and delivered",
        &["orders", "notifications", "payments", "warehouse"],
        "SELECT o.id AS order_id, 'order page: ' || o.status AS said FROM ord_order o
         WHERE o.status IN ('DELIVERED', 'COMPLETED') AND (
           NOT EXISTS (SELECT 1 FROM pay_payment p WHERE p.order_id = o.id AND p.captured_minor > 0)
           OR NOT EXISTS (SELECT 1 FROM wh_fulfilment f WHERE f.order_id = o.id AND f.state = 'DELIVERED'))
         UNION ALL
         SELECT m.order_id, 'message: ' || m.state FROM ntf_message m
         WHERE m.template = 'delivered' AND m.state IN ('QUEUED', 'SENT')
         AND NOT EXISTS (SELECT 1 FROM pay_payment p WHERE p.order_id = m.order_id AND p.captured_minor > 0)",
    ),
    any_time(
        "A3",
        "a release quotes a real capture of its order",
        &["warehouse", "payments"],
        "SELECT f.order_id, f.release_capture_id FROM wh_fulfilment f WHERE f.release_capture_id IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM pay_operation c WHERE c.id = f.release_capture_id AND c.kind = 'CAPTURE'
           AND c.state = 'SUCCESS' AND c.order_id = f.order_id)",
    ),
    any_time(
        "C4",
        "stock is never negative, never over-promised",
        &["inventory"],
        "SELECT sku, on_hand, reserved FROM inv_stock WHERE on_hand < 0 OR reserved < 0 OR reserved > on_hand",
    ),
    any_time(
        "A5",
        "the shelf is explained by movements, promises by live reservations",
        &["inventory"],
        "SELECT s.sku, s.on_hand, coalesce(m.n, 0) AS moved, s.reserved, coalesce(l.n, 0) AS promised FROM inv_stock s
         LEFT JOIN (SELECT sku, sum(qty) AS n FROM inv_movement GROUP BY sku) m ON m.sku = s.sku
         LEFT JOIN (SELECT l.sku, sum(l.qty) AS n FROM inv_res_line l JOIN inv_reservation r ON r.order_id = l.order_id
                    WHERE r.state IN ('HELD', 'CONFIRMED') GROUP BY l.sku) l ON l.sku = s.sku
         WHERE s.on_hand <> coalesce(m.n, 0) OR s.reserved <> coalesce(l.n, 0)",
    ),
    any_time(
        "A6",
        "every movement of money sums to zero",
        &["payments"],
        "SELECT tx_id, currency, sum(amount_minor) AS off_by FROM pay_ledger GROUP BY tx_id, currency
         HAVING sum(amount_minor) <> 0",
    ),
    any_time(
        "C7",
        "captured is within authorised, refunded within captured",
        &["payments"],
        "SELECT id, authorised_minor, captured_minor, refunded_minor FROM pay_payment
         WHERE captured_minor > authorised_minor OR refunded_minor > captured_minor OR refunded_minor < 0",
    ),
    any_time(
        "A8",
        "the world's money is constant",
        &["psp-sim"],
        "SELECT sum(balance_minor) AS now, sum(initial_minor) AS at_first FROM psp_account
         HAVING sum(balance_minor) <> sum(initial_minor)",
    ),
    at_rest(
        "Q9",
        "our books are the provider's books",
        &["payments", "psp-sim"],
        "SELECT coalesce(p.provider_ref, x.ref) AS ref, coalesce(p.order_id, x.order_ref) AS order_id,
           p.captured_minor AS our_captured, x.captured_minor AS their_captured,
           p.refunded_minor AS our_refunded, x.refunded_minor AS their_refunded
         FROM (SELECT * FROM pay_payment WHERE provider_ref IS NOT NULL OR captured_minor > 0) p
         FULL JOIN psp_intent x ON x.ref = p.provider_ref
         WHERE coalesce(p.captured_minor, 0) <> coalesce(x.captured_minor, 0)
            OR coalesce(p.refunded_minor, 0) <> coalesce(x.refunded_minor, 0)",
    ),
    any_time(
        "A10",
        "nobody is charged or held twice for one order",
        &["psp-sim"],
        "SELECT order_ref, count(*) AS times FROM psp_intent WHERE status IN ('requires_capture', 'succeeded')
         AND refunded_minor < captured_minor + held_minor GROUP BY order_ref HAVING count(*) > 1",
    ),
    at_rest(
        "Q11",
        "every order ends",
        &["orders"],
        "SELECT id, status FROM ord_order
         WHERE status NOT IN ('COMPLETED', 'CANCELLED', 'REFUNDED', 'AWAITING_ACTION', 'AWAITING_METHOD')",
    ),
    at_rest(
        "Q12",
        "an order that was undone holds nothing",
        &["orders", "payments", "inventory", "warehouse"],
        "SELECT o.id AS order_id, o.status, p.state AS payment, p.captured_minor - p.refunded_minor AS kept_minor,
           r.state AS reservation, f.state AS fulfilment
         FROM ord_order o LEFT JOIN pay_payment p ON p.order_id = o.id
         LEFT JOIN inv_reservation r ON r.order_id = o.id LEFT JOIN wh_fulfilment f ON f.order_id = o.id
         WHERE o.status IN ('CANCELLED', 'REFUNDED') AND (coalesce(p.captured_minor - p.refunded_minor, 0) <> 0
           OR p.state = 'AUTHORISED' OR r.state IN ('HELD', 'CONFIRMED') OR f.state IN ('PACKED', 'DISPATCHED', 'DELIVERED'))",
    ),
    at_rest(
        "Q13",
        "a customer pays exactly the order",
        &["orders", "payments"],
        "SELECT o.id AS order_id, o.total_minor, o.agreed_refund_minor, coalesce(p.n, 0) AS paid_minor FROM ord_order o
         LEFT JOIN (SELECT order_id, sum(captured_minor - refunded_minor) AS n FROM pay_payment GROUP BY order_id) p
           ON p.order_id = o.id
         WHERE o.status = 'COMPLETED' AND coalesce(p.n, 0) <> o.total_minor - o.agreed_refund_minor",
    ),
    at_rest(
        "Q14",
        "a total is its parts, a subtotal its lines",
        &["orders"],
        "SELECT o.id AS order_id, o.total_minor, o.subtotal_minor, l.n AS lines_minor FROM ord_order o
         LEFT JOIN (SELECT order_id, sum(qty * unit_minor) AS n FROM ord_line GROUP BY order_id) l ON l.order_id = o.id
         WHERE o.total_minor <> o.subtotal_minor - o.discount_minor + o.shipping_minor + o.tax_minor
            OR o.subtotal_minor <> coalesce(l.n, 0)",
    ),
    at_rest(
        "Q15",
        "what left the house is what the shelf was counted down by",
        &["warehouse", "inventory"],
        "SELECT coalesce(a.sku, b.sku) AS sku, coalesce(a.n, 0) AS shipped, coalesce(b.n, 0) AS counted FROM
           (SELECT l.sku, sum(l.qty) AS n FROM wh_package_line l JOIN wh_fulfilment f ON f.order_id = l.order_id
            WHERE f.state IN ('DISPATCHED', 'DELIVERED') GROUP BY l.sku) a
         FULL JOIN (SELECT sku, -sum(qty) AS n FROM inv_movement WHERE kind = 'SHIP' GROUP BY sku) b ON a.sku = b.sku
         WHERE coalesce(a.n, 0) <> coalesce(b.n, 0)",
    ),
    at_rest(
        "Q16",
        "no accepted order is lost",
        &["orders", "checkout"],
        "SELECT s.at_submit AS order_id, 'checkout.submitted' AS promised_by FROM published s
         WHERE s.topic = 'checkout.submitted' AND NOT EXISTS (SELECT 1 FROM ord_order o WHERE o.id = s.at_submit)
         UNION ALL
         SELECT a.order_id, 'the list of accepted orders' FROM accepted a
         WHERE NOT EXISTS (SELECT 1 FROM ord_order o WHERE o.id = a.order_id)",
    ),
    at_rest(
        "Q17",
        "one text says that we have an order, never two",
        &["sms-sim"],
        "SELECT order_ref, count(*) AS texts FROM sms_accepted WHERE template = 'received' AND order_ref <> ''
         GROUP BY order_ref HAVING count(*) <> 1",
    ),
    at_rest(
        "Q18",
        "every order is announced, and no unknown one",
        &["orders", "notifications", "sms-sim"],
        "SELECT o.id AS order_id, 'no message' AS wrong FROM ord_order o
         WHERE NOT EXISTS (SELECT 1 FROM ntf_message m WHERE m.order_id = o.id AND m.template = 'received')
         UNION ALL
         SELECT s.order_ref, 'a text of an unknown order' FROM sms_accepted s
         WHERE s.order_ref <> '' AND NOT EXISTS (SELECT 1 FROM ord_order o WHERE o.id = s.order_ref)",
    ),
    // What a dead letter holds is missing from its subscriber's inbox, so it is found here too.
    at_rest(
        "Q19",
        "every event reached every subscriber",
        &["orders", "inventory", "payments", "warehouse", "notifications", "checkout", "catalog", "customers", "cart"],
        "SELECT b.topic, b.id, b.subject, s.subscriber AS missed_by FROM published b
         JOIN subscription s ON b.topic GLOB s.topic
         WHERE NOT EXISTS (SELECT 1 FROM received r WHERE r.id = b.id AND r.subscriber = s.subscriber
           AND r.source = '/store/' || b.publisher)",
    ),
    at_rest(
        "Q20",
        "nothing is left to do: no open operation, no queued message, no letter laid aside",
        &["payments", "notifications", "orders"],
        "SELECT 'operation ' || id AS what, order_id, state FROM pay_operation WHERE state NOT IN ('SUCCESS', 'FAILURE')
         UNION ALL SELECT 'message ' || template, order_id, state FROM ntf_message WHERE state = 'QUEUED'
         UNION ALL SELECT 'letter', order_id, why FROM ord_dead_letter",
    ),
    any_time(
        "A21",
        "every order's log is a path of the machine",
        &["orders"],
        "SELECT l.order_id, l.version, l.from_state, l.to_state, 'no such transition' AS wrong FROM ord_saga_log l
         WHERE NOT EXISTS (SELECT 1 FROM allowed a WHERE a.f = l.from_state AND a.t = l.to_state)
         UNION ALL
         SELECT order_id, version, from_state, to_state, 'does not follow the one before' FROM
           (SELECT *, lag(version, 1, 0) OVER w AS before, lag(to_state, 1, '') OVER w AS was FROM ord_saga_log
            WINDOW w AS (PARTITION BY order_id ORDER BY version))
         WHERE version <> before + 1 OR from_state <> was
         UNION ALL
         SELECT o.id, o.version, l.to_state, o.status, 'the order is not where its log ends' FROM ord_order o
         LEFT JOIN (SELECT order_id, max(version) AS version, to_state FROM ord_saga_log GROUP BY order_id) l
           ON l.order_id = o.id
         WHERE l.version IS NOT o.version OR l.to_state IS NOT o.status",
    ),
];

/// Runs one, if what it reads is there.
pub(crate) fn run(copied: &Copied, invariant: &Invariant) -> rusqlite::Result<Verdict> {
    let mut absent = Vec::new();
    for service in invariant.needs {
        match copied.missing.get(service) {
            Some(Missing::Unreadable(why)) => {
                return Ok(Verdict::Unreadable { why: format!("{service}: {why}") });
            }
            Some(Missing::NoFile) => absent.push(*service),
            None => {}
        }
    }
    if absent.is_empty() {
        return find(copied, invariant.sql);
    }
    let why = absent.join(", ");
    // Events between those services that are there can be checked without the others, and the
    // list of accepted orders without checkout.
    let partly = match invariant.id {
        "Q16" => copied.accepted && absent == ["checkout"],
        "Q19" => absent.len() < invariant.needs.len(),
        _ => false,
    };
    if !partly {
        return Ok(Verdict::Skipped { why: format!("no database of {why}") });
    }
    Ok(match find(copied, invariant.sql)? {
        Verdict::Ok => Verdict::Partly { why: format!("without {why}") },
        violated => violated,
    })
}

fn find(copied: &Copied, sql: &str) -> rusqlite::Result<Verdict> {
    let mut query = copied.db.prepare(sql)?;
    let names: Vec<String> = query.column_names().map(str::to_owned).collect();
    let mut rows = query.query([])?;
    let (mut count, mut first) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        count += 1;
        if first.len() < ROWS_SHOWN {
            let shown = names
                .iter()
                .enumerate()
                .map(|(at, name)| Ok(format!("{name}={}", text(row.get_ref(at)?))));
            first.push(shown.collect::<rusqlite::Result<Vec<_>>>()?.join("  "));
        }
    }
    Ok(if count == 0 { Verdict::Ok } else { Verdict::Violated { rows: count, first } })
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}
