//! The tables.

pub const MIGRATIONS: &[&str] = &["
CREATE TABLE cart(
  id TEXT PRIMARY KEY,
  owner TEXT,
  state TEXT NOT NULL CHECK(state IN ('OPEN', 'CLOSED')),
  version INTEGER NOT NULL DEFAULT 1 CHECK(version > 0),
  currency TEXT NOT NULL DEFAULT 'EUR',
  closed_by TEXT,      -- the order that was made of it
  merged_into TEXT,    -- the cart that took its lines
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  CHECK((state = 'OPEN') = (closed_by IS NULL AND merged_into IS NULL))
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_open_cart_an_owner ON cart(owner) WHERE state = 'OPEN' AND owner IS NOT NULL;
CREATE INDEX cart_age ON cart(updated_at);

CREATE TABLE line(
  cart_id TEXT NOT NULL REFERENCES cart(id) ON DELETE CASCADE,
  sku TEXT NOT NULL,
  qty INTEGER NOT NULL CHECK(qty BETWEEN 1 AND 99),
  seen_minor INTEGER CHECK(seen_minor >= 0),
  place INTEGER NOT NULL,
  PRIMARY KEY(cart_id, sku)
) WITHOUT ROWID;

-- What was heard of orders, because their facts may come in any order.
CREATE TABLE ordered(
  order_id TEXT PRIMARY KEY,
  cancelled INTEGER NOT NULL DEFAULT 0,
  at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX ordered_age ON ordered(at);
"];
