"""What was accepted, in one SQLite file.

A text is one row under the key of the one who sent it: asked again with the
same key the answer is the same and no second text exists. The row is on disk
before the answer is given, so neither side of a kill -9 can lose or double it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE sms (
  id          TEXT PRIMARY KEY,
  idem_key    TEXT NOT NULL UNIQUE,
  to_number   TEXT NOT NULL,
  body        TEXT NOT NULL,
  order_ref   TEXT NOT NULL,
  template    TEXT NOT NULL,
  accepted_at TEXT NOT NULL
);
CREATE INDEX sms_order ON sms(order_ref);
PRAGMA user_version = 1;
"""

_COLUMNS = "id, to_number, body, order_ref, template, accepted_at"


@dataclass(frozen=True, slots=True)
class Sms:
    id: str
    to: str
    body: str
    order_ref: str
    template: str
    accepted_at: str


class KeyReused(Exception):
    """The key came before with another text."""


def new_id() -> str:
    """`sms_` and a UUIDv7 without hyphens."""
    ms = time.time_ns() // 1_000_000
    tail = (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    return f"sms_{(ms << 80 | tail):032x}"


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Book:
    """Safe for use by many threads: one connection, one lock."""

    def __init__(self, path: str) -> None:
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-512"):
            self._db.execute(f"PRAGMA {pragma}")
        self._migrate()

    def _migrate(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            (have,) = self._db.execute("PRAGMA user_version").fetchone()
            if have < SCHEMA_VERSION:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def accept(self, key: str, to: str, body: str, order_ref: str, template: str) -> tuple[Sms, bool]:
        """The text as it is kept, and whether it is new."""
        with self._lock:
            fresh = Sms(new_id(), to, body, order_ref, template, now())
            added = self._db.execute(
                "INSERT INTO sms(id, idem_key, to_number, body, order_ref, template, accepted_at) VALUES(?,?,?,?,?,?,?)"
                " ON CONFLICT(idem_key) DO NOTHING",
                (fresh.id, key, to, body, order_ref, template, fresh.accepted_at)).rowcount
            if added == 1:
                return fresh, True
            row = self._db.execute(f"SELECT {_COLUMNS} FROM sms WHERE idem_key = ?", (key,)).fetchone()
        kept = Sms(*row)
        if (kept.to, kept.body, kept.order_ref, kept.template) != (to, body, order_ref, template):
            raise KeyReused
        return kept, False

    def newest(self, order_ref: str | None, limit: int) -> list[Sms]:
        """The newest texts, newest last."""
        where, values = ("WHERE order_ref = ?", (order_ref, limit)) if order_ref else ("", (limit,))
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM sms {where} ORDER BY rowid DESC LIMIT ?", values).fetchall()
        return [Sms(*row) for row in reversed(rows)]

    def answers(self) -> bool:
        try:
            with self._lock:
                self._db.execute("SELECT 1 FROM sms LIMIT 1").fetchone()
            return True
        except sqlite3.Error:
            return False

    def close(self) -> None:
        with self._lock:
            self._db.close()
