"""The provider itself: payment intents, holds, captures, refunds.

Every command is one transaction: idempotency row, intent, balances and the webhook that tells the
merchant. HTTP, pages and timers are elsewhere; they call this class and nothing else moves money.

A repeated key never has a second effect. It answers with the intent *as it is now*, or with the
refusal it met the first time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any, Callable

from . import tokens
from .db import Database

AMOUNT_MAX = 99_999_999
LIVE = ("requires_action", "processing", "requires_capture")


class Refused(Exception):
    """The provider says no. `intent` is the intent as it stands, where there is one."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more


@dataclass(frozen=True)
class Rules:
    public_prefix: str = ""
    card_initial_minor: int = 1_000_000_000
    slow_ms: int = 30_000
    auth_ttl_ms: int = 7 * 24 * 3600 * 1000
    auth_expires_ms: int = 1_000
    action_ttl_ms: int = 60 * 60 * 1000


@dataclass(frozen=True)
class Created:
    intent: dict[str, Any]
    behaviour: str
    replayed: bool
    webhook: str | None


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Provider:
    def __init__(self, db: Database, rules: Rules, clock: Callable[[], int] = now_ms) -> None:
        self._db, self._rules, self._clock = db, rules, clock
        # Called after a commit that left a webhook or a timer behind.
        self.on_change: Callable[[], None] = lambda: None
        self._decided = threading.Condition()

    # ---- commands -------------------------------------------------------------------------

    def create(self, key: str, order: dict[str, Any]) -> Created:
        token = tokens.parse(order["method_token"])
        if token is None:
            raise Refused(400, "token_unknown", "this provider never issued that method token")
        with self._db.write() as tx:
            known = self._replay(tx, key, "create", order)
            if known is not None:
                return Created(self._view(tx, known["intent"]), token.behaviour, True, None)
            ref = f"pi_{uuid.uuid4().hex}"
            now = self._clock()
            tx.execute("INSERT OR IGNORE INTO account VALUES (?, ?, ?)",
                       (token.account, self._rules.card_initial_minor, self._rules.card_initial_minor))
            tx.execute(
                "INSERT INTO intent (ref, order_ref, status, amount_minor, currency, method_token, behaviour,"
                " account, idem_key, return_url, created_at) VALUES (?,?,'processing',?,?,?,?,?,?,?,?)",
                (ref, order["order_ref"], order["amount_minor"], order["currency"], order["method_token"],
                 token.behaviour, token.account, key, order.get("return_url"), now))
            if token.behaviour == "3ds":
                tx.execute("UPDATE intent SET status='requires_action', due_at=? WHERE ref=?",
                           (now + self._rules.action_ttl_ms, ref))
                what = "requires_action"
            elif token.behaviour == "slow":
                tx.execute("UPDATE intent SET due_at=? WHERE ref=?", (now + self._rules.slow_ms, ref))
                what = "processing"
            else:
                what = self._decide(tx, ref)
            self._remember(tx, key, "create", order, intent=ref)
            webhook = self._tell(tx, ref, what, token.behaviour)
            created = Created(self._view(tx, ref), token.behaviour, False, webhook)
        self.on_change()
        return created

    def capture(self, key: str, ref: str) -> tuple[dict[str, Any], bool]:
        return self._command(key, "capture", ref, self._capture)

    def cancel(self, key: str, ref: str) -> tuple[dict[str, Any], bool]:
        return self._command(key, "cancel", ref, self._cancel)

    def refund(self, key: str, ref: str, amount: int) -> tuple[dict[str, Any], bool]:
        body = {"intent": ref, "amount_minor": amount}
        with self._db.write() as tx:
            known = self._replay(tx, key, "refund", body)
            if known is not None:
                return self._refund_view(tx, known["refund"]), True
            row = self._row(tx, ref)
            left = row["captured_minor"] - row["refunded_minor"]
            refusal = None
            refund = None
            if amount > left:
                refusal = Refused(409, "refund_exceeds_captured", f"only {left} of it can be refunded")
            else:
                refund = f"re_{uuid.uuid4().hex}"
                self._move(tx, ref, "refund", "merchant", row["account"], amount)
                tx.execute("UPDATE intent SET refunded_minor = refunded_minor + ? WHERE ref=?", (amount, ref))
                tx.execute("INSERT INTO refund VALUES (?,?,?,?,?)", (refund, ref, amount, key, self._clock()))
                self._tell(tx, ref, "refunded")
            self._remember(tx, key, "refund", body, intent=ref, refund=refund, refusal=refusal)
            answer = self._refund_view(tx, refund) if refund else {}
            view = self._view(tx, ref)
        self.on_change()
        if refusal is not None:
            refusal.more["intent"] = view
            raise refusal
        return answer, False

    def authenticate(self, ref: str, approved: bool) -> dict[str, Any]:
        """The card holder's answer on the 3-D Secure page. A second answer changes nothing."""
        with self._db.write() as tx:
            if self._row(tx, ref)["status"] == "requires_action":
                if approved:
                    what = self._decide(tx, ref)
                else:
                    what = self._decline(tx, ref, "authentication_failed")
                self._tell(tx, ref, what)
            view = self._view(tx, ref)
        self.on_change()
        return view

    def run_due(self) -> int | None:
        """Finishes what time has decided; returns when to be called again."""
        changed = False
        with self._db.write() as tx:
            now = self._clock()
            for row in tx.execute("SELECT ref, status FROM intent WHERE due_at <= ? LIMIT 100", (now,)).fetchall():
                if row["status"] == "processing":
                    what = self._decide(tx, row["ref"])
                elif row["status"] in LIVE:
                    what = self._expire(tx, row["ref"])
                else:
                    tx.execute("UPDATE intent SET due_at=NULL WHERE ref=?", (row["ref"],))
                    continue
                self._tell(tx, row["ref"], what)
                changed = True
            due = tx.execute("SELECT MIN(due_at) FROM intent WHERE due_at IS NOT NULL").fetchone()[0]
        if changed:
            with self._decided:
                self._decided.notify_all()
            self.on_change()
        return due

    def wait_decided(self, ref: str, stopping: Callable[[], bool]) -> None:
        """Holds a slow answer back until the issuer has decided (or this program stops)."""
        with self._decided:
            while self.intent(ref)["status"] == "processing" and not stopping():
                self._decided.wait(timeout=0.5)

    # ---- questions ------------------------------------------------------------------------

    def intent(self, ref: str) -> dict[str, Any]:
        with self._db.read() as tx:
            return self._view(tx, ref)

    def intent_by_key(self, key: str) -> dict[str, Any]:
        with self._db.read() as tx:
            row = tx.execute("SELECT ref FROM intent WHERE idem_key=?", (key,)).fetchone()
            if row is None:
                raise Refused(404, "not_found", "no intent was made with that key")
            return self._view(tx, row["ref"])

    def intents_of(self, order_ref: str) -> list[dict[str, Any]]:
        with self._db.read() as tx:
            rows = tx.execute("SELECT ref FROM intent WHERE order_ref=? ORDER BY created_at, ref LIMIT 100", (order_ref,))
            return [self._view(tx, row["ref"]) for row in rows.fetchall()]

    def refund_by_key(self, key: str) -> dict[str, Any]:
        with self._db.read() as tx:
            row = tx.execute("SELECT id FROM refund WHERE idem_key=?", (key,)).fetchone()
            if row is None:
                raise Refused(404, "not_found", "no refund was made with that key")
            return self._refund_view(tx, row["id"])

    def accounts(self) -> list[dict[str, Any]]:
        with self._db.read() as tx:
            return [dict(row) for row in tx.execute("SELECT * FROM account ORDER BY id LIMIT 1000").fetchall()]

    def page_view(self, ref: str) -> dict[str, Any]:
        """What the 3-D Secure page needs; `return_url` is the merchant's and not in API answers."""
        with self._db.read() as tx:
            return dict(self._row(tx, ref))

    # ---- inside a transaction -------------------------------------------------------------

    def _command(self, key: str, route: str, ref: str,
                 act: Callable[[sqlite3.Connection, sqlite3.Row], tuple[Refused | None, str | None]],
                 ) -> tuple[dict[str, Any], bool]:
        body = {"intent": ref}
        with self._db.write() as tx:
            known = self._replay(tx, key, route, body)
            if known is not None:
                return self._view(tx, ref), True
            refusal, what = act(tx, self._row(tx, ref))
            self._remember(tx, key, route, body, intent=ref, refusal=refusal)
            if what is not None:
                self._tell(tx, ref, what)
            view = self._view(tx, ref)
        self.on_change()
        if refusal is not None:
            refusal.more["intent"] = view
            raise refusal
        return view, False

    def _capture(self, tx: sqlite3.Connection, row: sqlite3.Row) -> tuple[Refused | None, str | None]:
        ref = row["ref"]
        if row["status"] == "succeeded":
            return None, None
        if row["status"] == "canceled" and row["cancellation_reason"] == "expired":
            return Refused(409, "authorization_expired", "the authorisation has expired"), None
        if row["status"] != "requires_capture":
            return Refused(409, "intent_unexpected_state", f"an intent that is {row['status']} cannot be captured"), None
        if row["behaviour"] == "auth_expires" or self._clock() >= row["due_at"]:
            return Refused(409, "authorization_expired", "the authorisation has expired"), self._expire(tx, ref)
        if row["behaviour"] == "capture_fails":
            return Refused(402, "capture_failed", "the card issuer refused the capture"), "capture_failed"
        self._move(tx, ref, "capture", "holds", "merchant", row["held_minor"])
        tx.execute("UPDATE intent SET status='succeeded', captured_minor=held_minor, held_minor=0, due_at=NULL"
                   " WHERE ref=?", (ref,))
        return None, "captured"

    def _cancel(self, tx: sqlite3.Connection, row: sqlite3.Row) -> tuple[Refused | None, str | None]:
        if row["status"] == "canceled":
            return None, None
        if row["status"] == "succeeded":
            return Refused(409, "already_captured", "a captured payment can only be refunded"), None
        return None, self._end(tx, row, "requested")

    def _decide(self, tx: sqlite3.Connection, ref: str) -> str:
        """The card issuer's answer: a hold, or a decline."""
        row = self._row(tx, ref)
        if row["behaviour"] == "decline":
            return self._decline(tx, ref, "generic_decline")
        balance = tx.execute("SELECT balance_minor FROM account WHERE id=?", (row["account"],)).fetchone()[0]
        if row["behaviour"] == "insufficient" or balance < row["amount_minor"]:
            return self._decline(tx, ref, "insufficient_funds")
        self._move(tx, ref, "hold", row["account"], "holds", row["amount_minor"])
        ttl = self._rules.auth_expires_ms if row["behaviour"] == "auth_expires" else self._rules.auth_ttl_ms
        tx.execute("UPDATE intent SET status='requires_capture', held_minor=amount_minor, due_at=? WHERE ref=?",
                   (self._clock() + ttl, ref))
        return "authorised"

    def _decline(self, tx: sqlite3.Connection, ref: str, code: str) -> str:
        tx.execute("UPDATE intent SET status='requires_payment_method', decline_code=?, due_at=NULL WHERE ref=?",
                   (code, ref))
        return "declined"

    def _expire(self, tx: sqlite3.Connection, ref: str) -> str:
        row = self._row(tx, ref)
        return self._end(tx, row, "expired" if row["status"] == "requires_capture" else "abandoned")

    def _end(self, tx: sqlite3.Connection, row: sqlite3.Row, reason: str) -> str:
        if row["held_minor"] > 0:
            self._move(tx, row["ref"], "release", "holds", row["account"], row["held_minor"])
        tx.execute("UPDATE intent SET status='canceled', cancellation_reason=?, held_minor=0, due_at=NULL WHERE ref=?",
                   (reason, row["ref"]))
        return "canceled"

    def _move(self, tx: sqlite3.Connection, ref: str, kind: str, source: str, target: str, amount: int) -> None:
        tx.execute("UPDATE account SET balance_minor = balance_minor - ? WHERE id=?", (amount, source))
        tx.execute("UPDATE account SET balance_minor = balance_minor + ? WHERE id=?", (amount, target))
        tx.execute("INSERT INTO move (intent, kind, from_account, to_account, amount_minor, at) VALUES (?,?,?,?,?,?)",
                   (ref, kind, source, target, amount, self._clock()))

    def _tell(self, tx: sqlite3.Connection, ref: str, what: str, behaviour: str = "") -> str:
        event = f"evt_{uuid.uuid4().hex}"
        now = self._clock()
        body = {"id": event, "type": f"payment_intent.{what}", "created": now // 1000,
                "data": {"intent": self._view(tx, ref)}}
        # The one that must arrive before the reply is sent by the request itself; the queue is its spare wheel.
        delay = 5_000 if behaviour == "webhook_first" else 0
        tx.execute("INSERT INTO webhook (id, intent, body, copies, next_at, created_at) VALUES (?,?,?,?,?,?)",
                   (event, ref, json.dumps(body, separators=(",", ":")), 3 if behaviour == "webhook_thrice" else 1,
                    now + delay, now))
        return event

    def _replay(self, tx: sqlite3.Connection, key: str, route: str, body: dict[str, Any]) -> sqlite3.Row | None:
        row = tx.execute("SELECT * FROM idempotency WHERE key=?", (key,)).fetchone()
        if row is None:
            return None
        if row["route"] != route or row["fingerprint"] != _fingerprint(body):
            raise Refused(422, "idempotency_key_reused", "that key was used for another request")
        if row["error"] is not None:
            error = json.loads(row["error"])
            raise Refused(error["status"], error["code"], error["message"],
                          intent=self._view(tx, row["intent"]), replayed=True)
        return row

    def _remember(self, tx: sqlite3.Connection, key: str, route: str, body: dict[str, Any], *, intent: str,
                  refund: str | None = None, refusal: Refused | None = None) -> None:
        error = None
        if refusal is not None:
            error = json.dumps({"status": refusal.status, "code": refusal.code, "message": refusal.message})
        tx.execute("INSERT INTO idempotency VALUES (?,?,?,?,?,?,?)",
                   (key, route, _fingerprint(body), intent, refund, error, self._clock()))

    def _row(self, tx: sqlite3.Connection, ref: str) -> sqlite3.Row:
        row = tx.execute("SELECT * FROM intent WHERE ref=?", (ref,)).fetchone()
        if row is None:
            raise Refused(404, "not_found", "no such payment intent")
        return row

    def _view(self, tx: sqlite3.Connection, ref: str) -> dict[str, Any]:
        row = self._row(tx, ref)
        action = None
        if row["status"] == "requires_action":
            action = {"redirect_url": f"{self._rules.public_prefix}/3ds/{ref}"}
        return {
            "id": ref,
            "order_ref": row["order_ref"],
            "status": row["status"],
            "amount_minor": row["amount_minor"],
            "currency": row["currency"],
            "held_minor": row["held_minor"],
            "captured_minor": row["captured_minor"],
            "refunded_minor": row["refunded_minor"],
            "next_action": action,
            "decline_code": row["decline_code"],
            "cancellation_reason": row["cancellation_reason"],
            "expires_at": row["due_at"] // 1000 if row["status"] == "requires_capture" else None,
            "idempotency_key": row["idem_key"],
            "created": row["created_at"] // 1000,
        }

    def _refund_view(self, tx: sqlite3.Connection, refund: str) -> dict[str, Any]:
        row = tx.execute("SELECT * FROM refund WHERE id=?", (refund,)).fetchone()
        return {"id": row["id"], "status": "succeeded", "amount_minor": row["amount_minor"],
                "idempotency_key": row["idem_key"], "intent": self._view(tx, row["intent"])}


def _fingerprint(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def new_card_name() -> str:
    return secrets.token_hex(6)
