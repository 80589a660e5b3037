package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
)

// SchemaVersion is the version this program creates. A file of a later version
// is used as it is: migrations only add, so that the program before and the
// program after a deployment can both run on it.
const SchemaVersion = 1

var migrations = []string{
	// 1: fulfilments, what the carrier said, and the three tables of the protocol
	`
CREATE TABLE fulfilment (
  order_id           TEXT PRIMARY KEY,
  customer_id        TEXT NOT NULL DEFAULT '',
  state              TEXT NOT NULL CHECK (state IN ('NEW','PICKING','PACKED','SHORT','CANCELLED','DISPATCHED','DELIVERED')),
  -- Set before the carrier is asked, so it also says that a release has begun.
  release_capture_id TEXT CHECK (release_capture_id <> ''),
  tracking           TEXT UNIQUE,
  carrier            TEXT,
  shipping_option    TEXT NOT NULL DEFAULT 'standard',
  weight_g           INTEGER NOT NULL DEFAULT 0 CHECK (weight_g >= 0),
  excepted           INTEGER NOT NULL DEFAULT 0,  -- the carrier reported trouble
  robot_at           INTEGER NOT NULL DEFAULT 0,  -- when the robot takes the next step, unix ms
  poll_at            INTEGER NOT NULL DEFAULT 0,  -- when the carrier is asked next, unix ms
  polls              INTEGER NOT NULL DEFAULT 0,
  traceparent        TEXT NOT NULL DEFAULT '',
  created_at         TEXT NOT NULL,
  updated_at         TEXT NOT NULL,
  -- Nothing leaves the house unpaid, whatever the program above believes.
  CHECK (state NOT IN ('DISPATCHED','DELIVERED') OR release_capture_id IS NOT NULL),
  CHECK (state NOT IN ('DISPATCHED','DELIVERED') OR tracking IS NOT NULL)
);
CREATE INDEX fulfilment_state ON fulfilment(state);
CREATE INDEX fulfilment_robot ON fulfilment(robot_at) WHERE state IN ('NEW','PICKING');
CREATE INDEX fulfilment_poll  ON fulfilment(poll_at)  WHERE state = 'DISPATCHED';

CREATE TABLE package_line (
  order_id TEXT NOT NULL REFERENCES fulfilment(order_id),
  sku      TEXT NOT NULL,
  qty      INTEGER NOT NULL CHECK (qty > 0),
  title    TEXT NOT NULL DEFAULT '',
  weight_g INTEGER NOT NULL DEFAULT 0 CHECK (weight_g >= 0),
  PRIMARY KEY (order_id, sku)
) WITHOUT ROWID;

CREATE TABLE carrier_event (
  id          TEXT PRIMARY KEY,
  tracking    TEXT NOT NULL,
  status      TEXT NOT NULL,
  received_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE outbox (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  topic       TEXT NOT NULL,
  type        TEXT NOT NULL,
  subject     TEXT NOT NULL,
  data        TEXT NOT NULL,
  traceparent TEXT NOT NULL DEFAULT '',
  created_at  TEXT NOT NULL
);

CREATE TABLE inbox (
  source      TEXT NOT NULL,
  id          TEXT NOT NULL,
  topic       TEXT NOT NULL,
  received_at TEXT NOT NULL,
  PRIMARY KEY (source, id)
) WITHOUT ROWID;

CREATE TABLE idempotency (
  key         TEXT NOT NULL,
  route       TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  status      INTEGER NOT NULL,
  body        TEXT NOT NULL,
  created_at  TEXT NOT NULL,
  PRIMARY KEY (key, route)
) WITHOUT ROWID;
`,
}

func migrate(conn *sql.Conn) error {
	ctx := context.Background()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := migrateWithin(ctx, conn)
	if err != nil {
		_, _ = conn.ExecContext(ctx, "ROLLBACK")
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

func migrateWithin(ctx context.Context, conn *sql.Conn) error {
	var have int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have > SchemaVersion {
		slog.Warn("the database was made by a later version of this service; using it as it is",
			"schema_version", have, "known", SchemaVersion)
		return nil
	}
	for version := have; version < SchemaVersion; version++ {
		if _, err := conn.ExecContext(ctx, migrations[version]); err != nil {
			return fmt.Errorf("migration to schema %d: %w", version+1, err)
		}
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", SchemaVersion))
	return err
}
