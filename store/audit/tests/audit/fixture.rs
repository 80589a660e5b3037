//! A small store that is right: every database with orders that ended in every way.
//!
//! orders and inventory have their real tables; the others those columns that the contract
//! names.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use store_audit::{Files, Question, find_files};
use store_kit::{Db, OrderId, Sync};

const OUTBOX: &str = "CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, topic TEXT, type TEXT, subject TEXT, data TEXT, traceparent TEXT, created_at TEXT);";
const INBOX: &str = "CREATE TABLE inbox(source TEXT, id TEXT, topic TEXT, received_at TEXT, PRIMARY KEY(source, id));";

const PAYMENTS: &str = "
CREATE TABLE payment(id TEXT PRIMARY KEY, order_id TEXT, attempt INTEGER, state TEXT, currency TEXT, amount_minor INTEGER,
  authorised_minor INTEGER, captured_minor INTEGER, refunded_minor INTEGER, provider TEXT, provider_ref TEXT);
CREATE TABLE operation(id TEXT PRIMARY KEY, payment_id TEXT, order_id TEXT, kind TEXT, state TEXT, amount_minor INTEGER, idem_key TEXT);
CREATE TABLE ledger_entry(id INTEGER PRIMARY KEY, tx_id TEXT, account TEXT, amount_minor INTEGER, currency TEXT, at TEXT);";

const WAREHOUSE: &str = "
CREATE TABLE fulfilment(order_id TEXT PRIMARY KEY, state TEXT, release_capture_id TEXT, tracking TEXT,
  CHECK(state NOT IN ('DISPATCHED', 'DELIVERED') OR release_capture_id IS NOT NULL));
CREATE TABLE package_line(order_id TEXT, sku TEXT, qty INTEGER);";

const NOTIFICATIONS: &str = "
CREATE TABLE message(id TEXT PRIMARY KEY, order_id TEXT, customer_id TEXT, template TEXT, channel TEXT, state TEXT, body TEXT, provider_ref TEXT, created_at TEXT);
CREATE TABLE contact(customer_id TEXT);";

const PSP: &str = "
CREATE TABLE account(id TEXT PRIMARY KEY, initial_minor INTEGER, balance_minor INTEGER);
CREATE TABLE intent(ref TEXT PRIMARY KEY, order_ref TEXT, status TEXT, amount_minor INTEGER, held_minor INTEGER,
  captured_minor INTEGER, refunded_minor INTEGER, method_token TEXT, idem_key TEXT);";

const SMS: &str = "CREATE TABLE sms(id TEXT PRIMARY KEY, idem_key TEXT UNIQUE, to_number TEXT, body TEXT, order_ref TEXT, template TEXT, accepted_at TEXT);";

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Completed,
    /// With the second card.
    CompletedLater,
    OutOfStock,
    /// After it was authorised.
    Cancelled,
    /// After it was captured.
    Refunded,
    AwaitsCard,
}

pub struct Store {
    dir: tempfile::TempDir,
    /// One order of each end, twice.
    pub orders: Vec<(OrderId, End)>,
    events: u32,
}

const NOW: &str = "2026-01-31T12:00:00.000Z";
const TOTAL: i64 = 3490;

impl Store {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Self { dir, orders: Vec::new(), events: 0 };
        for (service, migrations) in
            [("orders", orders::MIGRATIONS), ("inventory", inventory::MIGRATIONS)]
        {
            // Opening makes the tables; the rest is plain SQL.
            drop(Db::open(&store.path(service), Sync::Normal, migrations).unwrap());
        }
        for (service, tables) in [
            ("payments", vec![PAYMENTS, OUTBOX]),
            ("warehouse", vec![WAREHOUSE, OUTBOX, INBOX]),
            ("notifications", vec![NOTIFICATIONS, OUTBOX, INBOX]),
            ("checkout", vec![OUTBOX, INBOX]),
            ("catalog", vec![OUTBOX, INBOX]),
            ("customers", vec![OUTBOX]),
            ("cart", vec![INBOX]),
            ("psp-sim", vec![PSP]),
            ("sms-sim", vec![SMS]),
        ] {
            std::fs::create_dir_all(store.path(service).parent().unwrap()).unwrap();
            store.sql(service, &tables.concat());
        }
        store.sql("psp-sim", "INSERT INTO account VALUES('merchant', 0, 0), ('holds', 0, 0), ('card', 1000000, 1000000)");
        store.sql("inventory", "INSERT INTO stock(sku, on_hand, level) VALUES('LAMP-1', 100, 'in'), ('ROPE-1', 100, 'in')");
        store.sql("inventory", &format!("INSERT INTO movement(sku, kind, qty, at) VALUES('LAMP-1', 'RECEIPT', 100, '{NOW}'), ('ROPE-1', 'RECEIPT', 100, '{NOW}')"));
        store.publish("catalog", "price.changed", "LAMP-1", "{}");
        store.publish("customers", "customer.registered", "cus_1", "{}");
        for _ in 0..2 {
            for end in [
                End::Completed,
                End::CompletedLater,
                End::OutOfStock,
                End::Cancelled,
                End::Refunded,
                End::AwaitsCard,
            ] {
                store.order(end);
            }
        }
        store
    }

    /// Another store with the same content.
    pub fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let copy = Self { dir, orders: self.orders.clone(), events: self.events };
        for (service, file) in self.files() {
            std::fs::create_dir_all(copy.path(&service).parent().unwrap()).unwrap();
            std::fs::copy(file, copy.path(&service)).unwrap();
        }
        copy
    }

    pub fn path(&self, service: &str) -> PathBuf {
        self.dir.path().join(service).join(format!("{service}.db"))
    }

    pub fn data(&self) -> &Path {
        self.dir.path()
    }

    pub fn open(&self, service: &str) -> Connection {
        let db = Connection::open(self.path(service)).unwrap();
        // Corruptions come past the constraints that would refuse them.
        db.execute_batch(
            "PRAGMA ignore_check_constraints=ON; PRAGMA foreign_keys=OFF; PRAGMA synchronous=OFF",
        )
        .unwrap();
        db
    }

    pub fn sql(&self, service: &str, sql: &str) {
        self.open(service).execute_batch(sql).unwrap_or_else(|e| panic!("{service}: {e}: {sql}"));
    }

    pub fn question(&self) -> Question {
        Question { files: self.files(), at_rest: true, accepted: None }
    }

    pub fn files(&self) -> Files {
        find_files(self.data())
    }

    /// The first order that ended so.
    pub fn one(&self, end: End) -> &OrderId {
        &self.orders.iter().find(|(_, its)| *its == end).unwrap().0
    }

    /// A fact in the outbox of its publisher and the inbox of every subscriber.
    fn publish(&mut self, publisher: &str, topic: &str, subject: &str, data: &str) {
        self.events += 1;
        let id = format!("evt_{}", self.events);
        self.open(publisher)
            .execute(
                "INSERT INTO outbox(id, topic, type, subject, data, created_at) VALUES(?,?,?,?,?,?)",
                params![id, topic, format!("store.{topic}.v1"), subject, data, NOW],
            )
            .unwrap();
        for (subscriber, pattern) in store_audit::SUBSCRIPTIONS {
            if pattern
                .strip_suffix('*')
                .map_or(*pattern == topic, |family| topic.starts_with(family))
            {
                let row = params![format!("/store/{publisher}"), id, topic, NOW];
                self.open(subscriber).execute("INSERT INTO inbox VALUES(?,?,?,?)", row).unwrap();
            }
        }
    }

    fn order(&mut self, end: End) {
        let id = OrderId::new();
        let path: &[&str] = match end {
            End::Completed => &[
                "RECEIVED",
                "RESERVED",
                "AUTHORISED",
                "CONFIRMED",
                "PACKED",
                "CAPTURED",
                "RELEASED",
                "DISPATCHED",
                "DELIVERED",
                "COMPLETED",
            ],
            End::CompletedLater => &[
                "RECEIVED",
                "RESERVED",
                "AWAITING_METHOD",
                "RESERVED",
                "AWAITING_ACTION",
                "AUTHORISED",
                "CONFIRMED",
                "PACKED",
                "CAPTURED",
                "RELEASED",
                "DISPATCHED",
                "DELIVERED",
                "COMPLETED",
            ],
            End::OutOfStock => &["RECEIVED", "COMP_INV", "CANCELLED"],
            End::Cancelled => &[
                "RECEIVED",
                "RESERVED",
                "AUTHORISED",
                "CONFIRMED",
                "COMP_WH",
                "COMP_PAY",
                "COMP_INV",
                "CANCELLED",
            ],
            End::Refunded => &[
                "RECEIVED",
                "RESERVED",
                "AUTHORISED",
                "CONFIRMED",
                "PACKED",
                "CAPTURED",
                "COMP_WH",
                "COMP_PAY",
                "COMP_INV",
                "REFUNDED",
            ],
            End::AwaitsCard => &["RECEIVED", "RESERVED", "AWAITING_METHOD"],
        };
        self.order_rows(&id, end, path);
        self.stock_rows(&id, end);
        self.money_rows(&id, end);
        self.parcel_rows(&id, end);
        self.messages(&id, end);
        self.publish(
            "checkout",
            "checkout.submitted",
            "chk_1",
            &format!(r#"{{"order_id":"{id}"}}"#),
        );
        self.publish("orders", "order.received", id.as_str(), "{}");
        self.publish("payments", "payment.authorised", id.as_str(), "{}");
        self.publish("warehouse", "fulfilment.packed", id.as_str(), "{}");
        self.publish("inventory", "reservation.shipped", id.as_str(), "{}");
        self.publish("notifications", "message.sent", id.as_str(), "{}");
        self.orders.push((id, end));
    }

    fn order_rows(&self, id: &OrderId, end: End, path: &[&str]) {
        let db = self.open("orders");
        let refund = if end == End::Refunded { TOTAL } else { 0 };
        db.execute(
            "INSERT INTO orders(id, checkout_id, customer_id, cart_id, cart_version, status, payment_state, fulfilment_state,
             subtotal_minor, discount_minor, shipping_minor, tax_minor, total_minor, agreed_refund_minor, currency, version,
             ship_to, shipping_option, fingerprint, created_at, updated_at)
             VALUES(?1, ?1, 'cus_1', 'crt_1', 1, ?2, '', '', 3000, 0, 490, 0, ?3, ?4, 'EUR', ?5, '{}', 'standard', '', ?6, ?6)",
            params![id, path.last(), TOTAL, refund, path.len() as i64, NOW],
        )
        .unwrap();
        for (sku, qty, unit) in [("LAMP-1", 2, 1250), ("ROPE-1", 1, 500)] {
            db.execute(
                "INSERT INTO order_line VALUES(?,?,'t',?,?,100)",
                params![id, sku, qty, unit],
            )
            .unwrap();
        }
        for (version, to) in (1_i64..).zip(path) {
            let from = if version == 1 { "" } else { path[version as usize - 2] };
            db.execute(
                "INSERT INTO saga_log VALUES(?,?,?,?,?,'')",
                params![id, version, from, to, NOW],
            )
            .unwrap();
        }
    }

    fn stock_rows(&self, id: &OrderId, end: End) {
        let (state, reserved, shipped) = match end {
            End::Completed | End::CompletedLater => ("SHIPPED", false, true),
            End::AwaitsCard => ("HELD", true, false),
            End::OutOfStock => return,
            End::Cancelled | End::Refunded => ("RELEASED", false, false),
        };
        let db = self.open("inventory");
        let expires = reserved.then_some(NOW);
        db.execute(
            "INSERT INTO reservation VALUES(?1,?2,?3,?4,?4)",
            params![id, state, expires, NOW],
        )
        .unwrap();
        for (sku, qty) in [("LAMP-1", 2), ("ROPE-1", 1)] {
            db.execute("INSERT INTO reservation_line VALUES(?,?,?)", params![id, sku, qty])
                .unwrap();
            if reserved {
                db.execute(
                    "UPDATE stock SET reserved = reserved + ? WHERE sku = ?",
                    params![qty, sku],
                )
                .unwrap();
            }
            if shipped {
                db.execute(
                    "UPDATE stock SET on_hand = on_hand - ? WHERE sku = ?",
                    params![qty, sku],
                )
                .unwrap();
                db.execute(
                    "INSERT INTO movement(sku, kind, qty, order_id, at) VALUES(?,'SHIP',?,?,?)",
                    params![sku, -qty, id, NOW],
                )
                .unwrap();
            }
        }
    }

    fn money_rows(&self, id: &OrderId, end: End) {
        match end {
            End::OutOfStock => {}
            End::Completed => self.payment(id, 1, "CAPTURED", TOTAL, 0),
            End::CompletedLater => {
                self.payment(id, 1, "DECLINED", 0, 0);
                self.payment(id, 2, "CAPTURED", TOTAL, 0);
            }
            End::Cancelled => self.payment(id, 1, "VOIDED", 0, 0),
            End::Refunded => self.payment(id, 1, "REFUNDED", TOTAL, TOTAL),
            End::AwaitsCard => self.payment(id, 1, "DECLINED", 0, 0),
        }
    }

    fn payment(&self, id: &OrderId, attempt: u32, state: &str, captured: i64, refunded: i64) {
        let (db, psp) = (self.open("payments"), self.open("psp-sim"));
        let (pay, reference) = (format!("pay_{id}_{attempt}"), format!("pi_{id}_{attempt}"));
        let authorised = if state == "DECLINED" { 0 } else { TOTAL };
        db.execute(
            "INSERT INTO payment VALUES(?,?,?,?,'EUR',?,?,?,?,'psp',?)",
            params![pay, id, attempt, state, TOTAL, authorised, captured, refunded, reference],
        )
        .unwrap();
        let operation = |op: &str, kind: &str, ok: bool| {
            let row = params![
                op,
                pay,
                id,
                kind,
                if ok { "SUCCESS" } else { "FAILURE" },
                TOTAL,
                format!("{op}-key")
            ];
            db.execute("INSERT INTO operation VALUES(?,?,?,?,?,?,?)", row).unwrap();
        };
        operation(&format!("op_{id}_{attempt}"), "AUTHORISE", authorised > 0);
        if captured > 0 {
            operation(&format!("cap_{id}"), "CAPTURE", true);
            for (account, amount) in [("provider:settled", captured), ("sales", -captured)] {
                let row = params![format!("tx_{pay}"), account, amount, NOW];
                db.execute("INSERT INTO ledger_entry(tx_id, account, amount_minor, currency, at) VALUES(?,?,?,'EUR',?)", row).unwrap();
            }
        }
        let status = match state {
            "CAPTURED" | "REFUNDED" => "succeeded",
            "DECLINED" => "requires_payment_method",
            _ => "canceled",
        };
        psp.execute(
            "INSERT INTO intent VALUES(?,?,?,?,0,?,?,'tok_ok',?)",
            params![reference, id, status, TOTAL, captured, refunded, pay],
        )
        .unwrap();
        psp.execute(
            "UPDATE account SET balance_minor = balance_minor + ? WHERE id = 'merchant'",
            [captured - refunded],
        )
        .unwrap();
        psp.execute(
            "UPDATE account SET balance_minor = balance_minor - ? WHERE id = 'card'",
            [captured - refunded],
        )
        .unwrap();
    }

    fn parcel_rows(&self, id: &OrderId, end: End) {
        let db = self.open("warehouse");
        let capture = format!("cap_{id}");
        let (state, capture) = match end {
            End::Completed | End::CompletedLater => ("DELIVERED", Some(capture)),
            End::Cancelled | End::Refunded => ("CANCELLED", None),
            End::OutOfStock | End::AwaitsCard => return,
        };
        db.execute("INSERT INTO fulfilment VALUES(?,?,?,'T')", params![id, state, capture])
            .unwrap();
        for (sku, qty) in [("LAMP-1", 2), ("ROPE-1", 1)] {
            db.execute("INSERT INTO package_line VALUES(?,?,?)", params![id, sku, qty]).unwrap();
        }
    }

    fn messages(&self, id: &OrderId, end: End) {
        let mut templates = vec!["received"];
        if matches!(end, End::Completed | End::CompletedLater) {
            templates.push("delivered");
        }
        for template in templates {
            let key = format!("{id}:{template}");
            self.open("notifications")
                .execute(
                    "INSERT INTO message VALUES(?1,?2,'cus_1',?3,'sms','SENT','',?1,?4)",
                    params![key, id, template, NOW],
                )
                .unwrap();
            self.open("sms-sim")
                .execute(
                    "INSERT INTO sms VALUES(?1,?1,'+440','',?2,?3,?4)",
                    params![key, id, template, NOW],
                )
                .unwrap();
        }
    }
}
