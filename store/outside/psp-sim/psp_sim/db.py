"""The provider's database: one SQLite file, one connection, one writer at a time.

`account` is the truth about money in the whole store's world. Every change of a balance is a move
between two accounts in the same transaction, so the sum of balances equals the sum of initials at
every commit; the CHECK keeps any account from going below nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import Iterator

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE account (
    id             TEXT PRIMARY KEY,
    initial_minor  INTEGER NOT NULL CHECK (initial_minor >= 0),
    balance_minor  INTEGER NOT NULL CHECK (balance_minor >= 0)
) STRICT;

CREATE TABLE move (
    id            INTEGER PRIMARY KEY,
    intent        TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('hold', 'release', 'capture', 'refund')),
    from_account  TEXT NOT NULL REFERENCES account (id),
    to_account    TEXT NOT NULL REFERENCES account (id),
    amount_minor  INTEGER NOT NULL CHECK (amount_minor > 0),
    at            INTEGER NOT NULL
) STRICT;

CREATE TABLE intent (
    ref                  TEXT PRIMARY KEY,
    order_ref            TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (status IN ('requires_payment_method', 'requires_action',
                             'processing', 'requires_capture', 'succeeded', 'canceled')),
    amount_minor         INTEGER NOT NULL CHECK (amount_minor > 0),
    currency             TEXT NOT NULL,
    held_minor           INTEGER NOT NULL DEFAULT 0 CHECK (held_minor IN (0, amount_minor)),
    captured_minor       INTEGER NOT NULL DEFAULT 0 CHECK (captured_minor IN (0, amount_minor)),
    refunded_minor       INTEGER NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    method_token         TEXT NOT NULL,
    behaviour            TEXT NOT NULL,
    account              TEXT NOT NULL,
    idem_key             TEXT NOT NULL UNIQUE,
    return_url           TEXT,
    decline_code         TEXT,
    cancellation_reason  TEXT,
    due_at               INTEGER,
    created_at           INTEGER NOT NULL,
    CHECK ((status = 'requires_capture') = (held_minor > 0)),
    CHECK ((status = 'succeeded') = (captured_minor > 0))
) STRICT;
CREATE INDEX intent_order ON intent (order_ref);
CREATE INDEX intent_due ON intent (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE refund (
    id            TEXT PRIMARY KEY,
    intent        TEXT NOT NULL REFERENCES intent (ref),
    amount_minor  INTEGER NOT NULL CHECK (amount_minor > 0),
    idem_key      TEXT NOT NULL UNIQUE,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    key          TEXT PRIMARY KEY,
    route        TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    intent       TEXT,
    refund       TEXT,
    error        TEXT,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE webhook (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    intent        TEXT NOT NULL,
    body          TEXT NOT NULL,
    copies        INTEGER NOT NULL DEFAULT 1,
    tries         INTEGER NOT NULL DEFAULT 0,
    next_at       INTEGER NOT NULL,
    delivered_at  INTEGER,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_open ON webhook (next_at) WHERE delivered_at IS NULL;

INSERT INTO account VALUES ('merchant', 0, 0), ('holds', 0, 0);
"""


class Database:
    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._conn = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._conn.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "busy_timeout=5000", "foreign_keys=ON", "synchronous=FULL"):
            self._conn.execute(f"PRAGMA {pragma}")
        self._migrate()

    def _migrate(self) -> None:
        found = self._conn.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            raise SystemExit(
                f"the database has schema {found}, this program knows {SCHEMA_VERSION}: start a newer psp-sim"
            )
        if found == 0:
            # `executescript` commits by itself, so the whole step is one script.
            self._conn.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction; on return it is on disk, on an exception it never was."""
        with self._lock:
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                yield self._conn
                self._conn.execute("COMMIT")
            except BaseException:
                if self._conn.in_transaction:
                    self._conn.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._conn

    def close(self) -> None:
        with self._lock:
            self._conn.close()
