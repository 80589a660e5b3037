"""Tells the merchant what happened: signed, repeated with back-off, in no promised order.

The queue is the `webhook` table, written with the effect it reports. One dispatcher thread hands
what is due to a few senders; a webhook counts as delivered when any 2xx came back. What is still
undelivered after three days is given up, as real providers do.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable
from urllib.parse import urlsplit

from .db import Database
from .provider import now_ms

TIMEOUT_S = 5.0
BACKOFF_FIRST_MS = 250
BACKOFF_MAX_MS = 60_000
GIVE_UP_MS = 3 * 24 * 3600 * 1000
SENDERS = 4

log = logging.getLogger("webhooks")


def signature(secret: str, at_s: int, body: bytes) -> str:
    mac = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={mac.hexdigest()}"


def backoff_ms(tries: int, chance: Callable[[], float] = random.random) -> int:
    """Doubling, with the upper half random so that a herd of failed webhooks spreads out."""
    full = min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** min(tries, 16))
    return int(full * (0.5 + 0.5 * chance()))


class Webhooks:
    def __init__(self, db: Database, url: str, secret: str) -> None:
        self._db, self._secret = db, secret
        self._target = urlsplit(url)
        self._wake = threading.Condition()
        self._dirty = self._stopping = False
        self._busy: set[int] = set()
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook")
        self._dispatcher = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._dispatcher.start()

    def notify(self) -> None:
        with self._wake:
            self._dirty = True
            self._wake.notify()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._dispatcher.join(timeout=2)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def deliver_now(self, event: str) -> None:
        """One try in the caller's thread. If it fails, the queue has it still."""
        with self._db.read() as tx:
            row = tx.execute("SELECT seq FROM webhook WHERE id=? AND delivered_at IS NULL", (event,)).fetchone()
        if row is not None and self._claim(row["seq"]):
            self._deliver(row["seq"])

    def _run(self) -> None:
        while True:
            wait_ms = self._dispatch()
            with self._wake:
                if not self._dirty and not self._stopping:
                    self._wake.wait(None if wait_ms is None else wait_ms / 1000)
                if self._stopping:
                    return
                self._dirty = False

    def _dispatch(self) -> int | None:
        """Hands out what is due; returns the time to the next, None when nothing waits."""
        now = now_ms()
        with self._db.read() as tx:
            due = tx.execute("SELECT seq FROM webhook WHERE delivered_at IS NULL AND next_at <= ?"
                             " ORDER BY next_at LIMIT 200", (now,)).fetchall()
            later = tx.execute("SELECT MIN(next_at) FROM webhook WHERE delivered_at IS NULL AND next_at > ?",
                               (now,)).fetchone()[0]
        for row in due:
            if self._claim(row["seq"]):
                self._pool.submit(self._deliver, row["seq"])
        return None if later is None else max(1, later - now)

    def _claim(self, seq: int) -> bool:
        with self._wake:
            if seq in self._busy or self._stopping:
                return False
            self._busy.add(seq)
            return True

    def _deliver(self, seq: int) -> None:
        try:
            with self._db.read() as tx:
                row = tx.execute("SELECT * FROM webhook WHERE seq=?", (seq,)).fetchone()
            body = row["body"].encode()
            answers = [self._post(body) for _ in range(row["copies"])]
            now = now_ms()
            with self._db.write() as tx:
                if any(answers):
                    tx.execute("UPDATE webhook SET delivered_at=?, tries=tries+1 WHERE seq=?", (now, seq))
                elif now - row["created_at"] > GIVE_UP_MS:
                    tx.execute("DELETE FROM webhook WHERE seq=?", (seq,))
                    log.error("webhook %s was never taken by the merchant and is given up", row["id"])
                else:
                    tx.execute("UPDATE webhook SET next_at=?, tries=tries+1 WHERE seq=?",
                               (now + backoff_ms(row["tries"]), seq))
        except Exception:
            log.exception("webhook %d could not be handled", seq)
        finally:
            with self._wake:
                self._busy.discard(seq)
            self.notify()

    def _post(self, body: bytes) -> bool:
        kind = http.client.HTTPSConnection if self._target.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._target.hostname or "", self._target.port, timeout=TIMEOUT_S)
        try:
            path = self._target.path or "/"
            if self._target.query:
                path += "?" + self._target.query
            connection.request("POST", path, body, {
                "content-type": "application/json",
                "psp-signature": signature(self._secret, now_ms() // 1000, body),
            })
            answer = connection.getresponse()
            answer.read(65_536)
            return 200 <= answer.status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
