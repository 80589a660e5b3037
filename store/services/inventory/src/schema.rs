//! The tables. Their names and columns are part of the contract: the audit reads them.

pub const MIGRATIONS: &[&str] = &["
CREATE TABLE stock(
  sku TEXT PRIMARY KEY,
  on_hand INTEGER NOT NULL,
  reserved INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL DEFAULT 1,
  level TEXT NOT NULL DEFAULT 'out' CHECK(level IN ('in', 'low', 'out')),
  CHECK(0 <= reserved AND reserved <= on_hand)
) WITHOUT ROWID;

CREATE TABLE movement(
  id INTEGER PRIMARY KEY,
  sku TEXT NOT NULL REFERENCES stock(sku),
  kind TEXT NOT NULL CHECK(kind IN ('RECEIPT', 'SHIP', 'RETURN', 'ADJUST')),
  qty INTEGER NOT NULL CHECK(CASE kind WHEN 'SHIP' THEN qty < 0 WHEN 'ADJUST' THEN qty <> 0 ELSE qty > 0 END),
  order_id TEXT,
  at TEXT NOT NULL
);
CREATE INDEX movement_sku ON movement(sku);
CREATE UNIQUE INDEX movement_ships_once ON movement(order_id, sku) WHERE kind = 'SHIP';
CREATE TRIGGER movement_is_not_changed BEFORE UPDATE ON movement
  BEGIN SELECT RAISE(ABORT, 'movement is append-only'); END;
CREATE TRIGGER movement_is_not_deleted BEFORE DELETE ON movement
  BEGIN SELECT RAISE(ABORT, 'movement is append-only'); END;

CREATE TABLE reservation(
  order_id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK(state IN ('HELD', 'CONFIRMED', 'RELEASED', 'EXPIRED', 'SHIPPED')),
  expires_at TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  CHECK((state = 'HELD') = (expires_at IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX reservation_due ON reservation(expires_at) WHERE state = 'HELD';

CREATE TABLE reservation_line(
  order_id TEXT NOT NULL REFERENCES reservation(order_id),
  sku TEXT NOT NULL REFERENCES stock(sku),
  qty INTEGER NOT NULL CHECK(qty > 0),
  PRIMARY KEY(order_id, sku)
) WITHOUT ROWID;

CREATE TABLE tombstone(order_id TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
"];
