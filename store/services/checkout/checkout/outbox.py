"""Facts that we publish, and facts of others that we take once; and stored answers of keys."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from typing import Any

from . import ids, trace
from .db import Database
from .problems import Problem

OUTBOX_KEPT_MS = 7 * 24 * 3600 * 1000
INBOX_KEPT_MS = 30 * 24 * 3600 * 1000
KEYS_KEPT_MS = 14 * 24 * 3600 * 1000


def publish(tx: sqlite3.Connection, topic: str, subject: str, data: dict[str, Any]) -> None:
    tx.execute("INSERT INTO outbox (id, topic, type, subject, data, traceparent, created_at) VALUES (?,?,?,?,?,?,?)",
               (ids.new("evt"), topic, f"store.{topic}.v1", subject, json.dumps(data), trace.traceparent(),
                ids.timestamp(ids.now_ms())))


def first_time(tx: sqlite3.Connection, source: str, event_id: str, topic: str) -> bool:
    return tx.execute("INSERT OR IGNORE INTO inbox VALUES (?,?,?,?)",
                      (source, event_id, topic, ids.timestamp(ids.now_ms()))).rowcount > 0


def page(tx: sqlite3.Connection, after: int, limit: int) -> dict[str, Any]:
    rows = tx.execute("SELECT * FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)).fetchall()
    last = tx.execute("SELECT MAX(seq) FROM outbox").fetchone()[0]
    return {"events": [{"seq": r["seq"], "topic": r["topic"], "event": _event(r)} for r in rows], "last_seq": last or 0}


def _event(row: sqlite3.Row) -> dict[str, Any]:
    return {"specversion": "1.0", "id": row["id"], "source": "/store/checkout", "type": row["type"],
            "subject": row["subject"], "time": row["created_at"], "datacontenttype": "application/json",
            "correlationid": row["subject"], "partitionkey": row["subject"], "traceparent": row["traceparent"],
            "data": json.loads(row["data"])}


def stored(tx: sqlite3.Connection, key: str, route: str, fingerprint: str) -> tuple[int, str] | None:
    row = tx.execute("SELECT * FROM idempotency WHERE key=? AND route=?", (key, route)).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise Problem(422, "idempotency-key-reused", "The key was used for another request",
                      "this Idempotency-Key came before with another checkout or another body")
    return row["status"], row["body"]


def store(tx: sqlite3.Connection, key: str, route: str, fingerprint: str, status: int, body: str) -> None:
    tx.execute("INSERT INTO idempotency VALUES (?,?,?,?,?,?)", (key, route, fingerprint, status, body, ids.now_ms()))


def fingerprint(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def purge(tx: sqlite3.Connection) -> None:
    now = ids.now_ms()
    tx.execute("DELETE FROM idempotency WHERE created_at < ?", (now - KEYS_KEPT_MS,))
    tx.execute("DELETE FROM inbox WHERE received_at < ?", (ids.timestamp(now - INBOX_KEPT_MS),))
    tx.execute("DELETE FROM outbox WHERE created_at < ? AND seq < (SELECT MAX(seq) FROM outbox)",
               (ids.timestamp(now - OUTBOX_KEPT_MS),))


class Readers:
    """Lets readers of the outbox wait for the next commit."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        db.on_commit = self._committed

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    async def read(self, after: int, limit: int, wait_ms: int) -> dict[str, Any]:
        end = self._loop.time() + wait_ms / 1000
        while True:
            changed = self._changed
            found = await self._db.do(lambda tx: page(tx, after, limit))
            left = end - self._loop.time()
            if found["events"] or left <= 0 or self._stopping:
                return found
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                pass

    def _committed(self) -> None:
        # After the loop has closed nobody is waiting any more.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
