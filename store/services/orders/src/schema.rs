//! The tables. Their names and columns are part of the contract: the audit reads them.

pub const MIGRATIONS: &[&str] = &["
CREATE TABLE orders(
  id TEXT PRIMARY KEY,
  checkout_id TEXT NOT NULL UNIQUE,
  customer_id TEXT NOT NULL,
  cart_id TEXT NOT NULL,
  cart_version INTEGER NOT NULL,
  status TEXT NOT NULL,
  payment_state TEXT NOT NULL,
  fulfilment_state TEXT NOT NULL,
  subtotal_minor INTEGER NOT NULL,
  discount_minor INTEGER NOT NULL,
  shipping_minor INTEGER NOT NULL,
  tax_minor INTEGER NOT NULL,
  total_minor INTEGER NOT NULL CHECK(total_minor = subtotal_minor - discount_minor + shipping_minor + tax_minor),
  agreed_refund_minor INTEGER NOT NULL DEFAULT 0 CHECK(agreed_refund_minor BETWEEN 0 AND total_minor),
  currency TEXT NOT NULL,
  version INTEGER NOT NULL,
  ship_to TEXT NOT NULL,
  shipping_option TEXT NOT NULL,
  tracking TEXT,
  reason TEXT,
  texted_at TEXT,
  counted_down_at TEXT,
  fingerprint TEXT NOT NULL,
  traceparent TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX orders_of_customer ON orders(customer_id, id DESC);
CREATE INDEX orders_status ON orders(status);

CREATE TABLE order_line(
  order_id TEXT NOT NULL REFERENCES orders(id),
  sku TEXT NOT NULL,
  title TEXT NOT NULL,
  qty INTEGER NOT NULL CHECK(qty > 0),
  unit_minor INTEGER NOT NULL CHECK(unit_minor >= 0),
  weight_g INTEGER NOT NULL,
  PRIMARY KEY(order_id, sku)
) WITHOUT ROWID;

CREATE TABLE saga(
  order_id TEXT PRIMARY KEY REFERENCES orders(id),
  next_run_at TEXT,
  deadline TEXT,
  attempt INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  looking INTEGER NOT NULL,
  cancel_requested INTEGER NOT NULL,
  pay_attempt INTEGER NOT NULL,
  method_token TEXT NOT NULL,
  hold_extended INTEGER NOT NULL,
  capture_id TEXT,
  action_url TEXT
) WITHOUT ROWID;
CREATE INDEX saga_due ON saga(next_run_at) WHERE next_run_at IS NOT NULL;

CREATE TABLE saga_log(
  order_id TEXT NOT NULL REFERENCES orders(id),
  version INTEGER NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  at TEXT NOT NULL,
  why TEXT NOT NULL,
  PRIMARY KEY(order_id, version)
) WITHOUT ROWID;
CREATE TRIGGER saga_log_is_not_changed BEFORE UPDATE ON saga_log
  BEGIN SELECT RAISE(ABORT, 'saga_log is append-only'); END;
CREATE TRIGGER saga_log_is_not_deleted BEFORE DELETE ON saga_log
  BEGIN SELECT RAISE(ABORT, 'saga_log is append-only'); END;
", "
-- The workflow leads an order and knows when it is due; here stands what others look at.
-- A program from before this does not lead orders any more: there is no way back.
DROP INDEX saga_due;
CREATE TABLE card(
  order_id TEXT NOT NULL REFERENCES orders(id),
  attempt INTEGER NOT NULL,
  token TEXT NOT NULL,
  PRIMARY KEY(order_id, attempt)
) WITHOUT ROWID;
INSERT INTO card(order_id, attempt, token) SELECT order_id, pay_attempt, method_token FROM saga;
ALTER TABLE saga DROP COLUMN next_run_at;
ALTER TABLE saga DROP COLUMN deadline;
ALTER TABLE saga DROP COLUMN attempt;
ALTER TABLE saga DROP COLUMN generation;
ALTER TABLE saga DROP COLUMN looking;
ALTER TABLE saga DROP COLUMN hold_extended;
ALTER TABLE saga DROP COLUMN method_token;
ALTER TABLE saga ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE saga ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;

-- What workflows are told; input NULL: the order begins. A number is never used twice.
CREATE TABLE signal(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  order_id TEXT NOT NULL REFERENCES orders(id),
  input TEXT
);
", "
-- What is told is kept until it was heard; what cannot be told is laid aside for a person.
CREATE INDEX signal_of_order ON signal(order_id);
CREATE TABLE dead_letter(
  seq INTEGER PRIMARY KEY,
  order_id TEXT NOT NULL REFERENCES orders(id),
  input TEXT,
  tries INTEGER NOT NULL,
  why TEXT NOT NULL,
  at TEXT NOT NULL
);
"];
