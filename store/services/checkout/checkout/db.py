"""One SQLite file and one thread that owns its connection.

The event loop hands over functions and awaits their results; each runs in a transaction of its own. So
no transaction can be open while the loop does something else, and nothing in here may wait for a network.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import sqlite3
import threading
from concurrent.futures import Future
from typing import Any, Callable, TypeVar

from .problems import overloaded, storage_full

QUEUE_MAX = 256
SCHEMA_VERSION = 1
T = TypeVar("T")

log = logging.getLogger("db")

SCHEMA = """
CREATE TABLE checkout (
    id               TEXT PRIMARY KEY,
    order_id         TEXT NOT NULL UNIQUE,
    cart_id          TEXT NOT NULL,
    customer_id      TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('OPEN', 'QUOTED', 'SUBMITTED', 'ORDERED', 'EXPIRED')),
    address          TEXT,
    shipping_option  TEXT,
    payment_token    TEXT,
    seen             TEXT NOT NULL DEFAULT '{}',
    version          INTEGER NOT NULL DEFAULT 1,
    submission       TEXT,
    tries            INTEGER NOT NULL DEFAULT 0,
    next_try_at      INTEGER,
    traceparent      TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    CHECK ((state IN ('SUBMITTED', 'ORDERED')) = (submission IS NOT NULL)),
    CHECK ((state = 'SUBMITTED') = (next_try_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX checkout_one_open ON checkout (cart_id, customer_id) WHERE state IN ('OPEN', 'QUOTED');
CREATE INDEX checkout_cart ON checkout (cart_id);
CREATE INDEX checkout_due ON checkout (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX checkout_expiring ON checkout (expires_at) WHERE state IN ('OPEN', 'QUOTED');
CREATE TRIGGER checkout_submitted_is_final BEFORE UPDATE OF order_id, address, shipping_option, payment_token, submission
    ON checkout WHEN OLD.submission IS NOT NULL AND (NEW.order_id, NEW.address, NEW.shipping_option, NEW.payment_token,
    NEW.submission) IS NOT (OLD.order_id, OLD.address, OLD.shipping_option, OLD.payment_token, OLD.submission)
    BEGIN SELECT RAISE(ABORT, 'a submitted checkout is final'); END;

CREATE TABLE quote (
    checkout_id         TEXT PRIMARY KEY REFERENCES checkout (id),
    hash                TEXT NOT NULL,
    cart_version        INTEGER NOT NULL,
    subtotal_minor      INTEGER NOT NULL CHECK (subtotal_minor >= 0),
    discount_minor      INTEGER NOT NULL CHECK (discount_minor >= 0),
    shipping_minor      INTEGER NOT NULL CHECK (shipping_minor >= 0),
    tax_minor           INTEGER NOT NULL CHECK (tax_minor >= 0),
    tax_included_minor  INTEGER NOT NULL CHECK (tax_included_minor >= 0),
    total_minor         INTEGER NOT NULL CHECK (total_minor = subtotal_minor - discount_minor + shipping_minor + tax_minor),
    body                TEXT NOT NULL,
    expires_at          INTEGER NOT NULL
) STRICT;
CREATE TABLE quote_line (
    checkout_id  TEXT NOT NULL REFERENCES quote (checkout_id) ON DELETE CASCADE,
    sku          TEXT NOT NULL,
    title        TEXT NOT NULL,
    qty          INTEGER NOT NULL CHECK (qty BETWEEN 1 AND 99),
    unit_minor   INTEGER NOT NULL CHECK (unit_minor >= 0),
    weight_g     INTEGER NOT NULL CHECK (weight_g >= 0),
    PRIMARY KEY (checkout_id, sku)
) STRICT, WITHOUT ROWID;
CREATE INDEX quote_line_sku ON quote_line (sku);

CREATE TRIGGER quote_submitted_is_final_1 BEFORE UPDATE ON quote
    WHEN EXISTS (SELECT 1 FROM checkout WHERE id = OLD.checkout_id AND submission IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'a submitted quote is final'); END;
CREATE TRIGGER quote_submitted_is_final_2 BEFORE DELETE ON quote
    WHEN EXISTS (SELECT 1 FROM checkout WHERE id = OLD.checkout_id AND submission IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'a submitted quote is final'); END;

CREATE TABLE shipping_seen (
    country     TEXT NOT NULL,
    up_to_g     INTEGER NOT NULL,
    options     TEXT NOT NULL,
    seen_at     INTEGER NOT NULL,
    PRIMARY KEY (country, up_to_g)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    key          TEXT NOT NULL,
    route        TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    status       INTEGER NOT NULL,
    body         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (key, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    topic        TEXT NOT NULL,
    type         TEXT NOT NULL,
    subject      TEXT NOT NULL,
    data         TEXT NOT NULL,
    traceparent  TEXT NOT NULL,
    created_at   TEXT NOT NULL
) STRICT;

CREATE TABLE inbox (
    source       TEXT NOT NULL,
    id           TEXT NOT NULL,
    topic        TEXT NOT NULL,
    received_at  TEXT NOT NULL,
    PRIMARY KEY (source, id)
) STRICT, WITHOUT ROWID;
"""


class Database:
    def __init__(self, path: str) -> None:
        self._jobs: queue.Queue[tuple[Callable[[sqlite3.Connection], Any], Future[Any], contextvars.Context] | None] = \
            queue.Queue(QUEUE_MAX)
        # Called in the writer's thread after every commit that changed something; must not block.
        self.on_commit: Callable[[], None] = lambda: None
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(path, ready), name="db", daemon=True)
        self._thread.start()
        ready.result()

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in one transaction. Given up while it waits, it may or may not happen."""
        done: Future[T] = Future()
        try:
            self._jobs.put_nowait((work, done, contextvars.copy_context()))
        except queue.Full:
            raise overloaded() from None
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(timeout=5)

    def _run(self, path: str, ready: Future[None]) -> None:
        try:
            connection = _open(path)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        while (job := self._jobs.get()) is not None:
            work, done, context = job
            if not done.set_running_or_notify_cancel():
                continue
            before = connection.total_changes
            try:
                # In the caller's context, so that what is written knows its trace.
                result = context.run(_transaction, connection, work)
            except sqlite3.OperationalError as error:
                log.error("a transaction was undone", exc_info=error)
                done.set_exception(storage_full() if _is_full(error) else error)
            except BaseException as error:
                done.set_exception(error)
            else:
                if connection.total_changes != before:
                    self.on_commit()
                done.set_result(result)
        connection.close()


def _is_full(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
        return result
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode=WAL", "busy_timeout=5000", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise SystemExit(f"the database has schema {found}, this program knows {SCHEMA_VERSION}: start a newer checkout")
    if found == 0:
        connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
    return connection
