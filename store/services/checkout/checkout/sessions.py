"""Checkout sessions in the database: rows in, rows out, and the steps between their states.

    OPEN -> QUOTED -> SUBMITTED -> ORDERED,  OPEN or QUOTED -> EXPIRED,  QUOTED -> OPEN when the quote falls

Every function here runs inside a transaction. What was submitted never changes again; triggers see to it too.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from . import ids, outbox, trace
from .forms import Address, Patch
from .pricing import Line, Option, Totals, euros
from .problems import cart_closed, closed, not_found, quote_expired, validation

QUOTE_TTL_MS = 15 * 60 * 1000


@dataclass(frozen=True)
class Session:
    id: str
    order_id: str
    cart_id: str
    customer_id: str
    state: str
    address: Address | None
    shipping_option: str | None
    payment_token: str | None
    seen: dict[str, int]
    version: int
    created_at: int
    expires_at: int
    quote: dict[str, Any] | None

    def json(self) -> dict[str, Any]:
        return {"id": self.id, "order_id": self.order_id, "state": self.state, "cart_id": self.cart_id,
                "customer_id": self.customer_id, "address": self.address.json() if self.address else None,
                "shipping_option": self.shipping_option, "payment_token": self.payment_token, "quote": self.quote,
                "created_at": ids.timestamp(self.created_at), "expires_at": ids.timestamp(self.expires_at)}

    def changeable(self) -> None:
        if self.state in ("SUBMITTED", "ORDERED"):
            raise closed(f"it was submitted and is order {self.order_id}")
        if self.state == "EXPIRED":
            raise closed("it was left alone for too long; start again from the cart")


def find(tx: sqlite3.Connection, checkout_id: str) -> Session:
    row = tx.execute("SELECT c.*, q.body AS quote FROM checkout c LEFT JOIN quote q ON q.checkout_id = c.id"
                     " WHERE c.id = ?", (checkout_id,)).fetchone()
    if row is None:
        raise not_found(f"there is no checkout {checkout_id}")
    return _session(row)


def create(tx: sqlite3.Connection, cart_id: str, customer_id: str, cart_version: int, ttl_ms: int) -> Session:
    """A new session, or the buyer's open one of this cart: two tabs must not become two orders."""
    now = ids.now_ms()
    # A cart that is still at the version that was ordered has not heard of its order yet: every change of it,
    # closing and opening again included, makes a new version.
    row = tx.execute("SELECT c.order_id FROM checkout c JOIN quote q ON q.checkout_id = c.id WHERE c.cart_id = ?"
                     " AND q.cart_version >= ? AND c.submission IS NOT NULL", (cart_id, cart_version)).fetchone()
    if row is not None:
        raise cart_closed(f"this cart has just been ordered as {row['order_id']}", order_id=row["order_id"],
                          status_url=f"/orders/{row['order_id']}")
    row = tx.execute("SELECT id FROM checkout WHERE cart_id=? AND customer_id=? AND state IN ('OPEN','QUOTED')",
                     (cart_id, customer_id)).fetchone()
    if row is not None:
        tx.execute("UPDATE checkout SET expires_at=? WHERE id=?", (now + ttl_ms, row["id"]))
        return find(tx, row["id"])
    new = ids.new("chk")
    tx.execute("INSERT INTO checkout (id, order_id, cart_id, customer_id, state, traceparent, created_at, updated_at,"
               " expires_at) VALUES (?,?,?,?,'OPEN',?,?,?,?)",
               (new, ids.new("ord"), cart_id, customer_id, trace.traceparent(), now, now, now + ttl_ms))
    return find(tx, new)


def change(tx: sqlite3.Connection, checkout_id: str, patch: Patch, ttl_ms: int) -> Session:
    session = find(tx, checkout_id)
    session.changeable()
    address = patch.address or session.address
    option = patch.shipping_option or session.shipping_option
    if (address, option) != (session.address, session.shipping_option):
        drop_quote(tx, checkout_id)
    now = ids.now_ms()
    tx.execute("UPDATE checkout SET address=?, shipping_option=?, payment_token=?, version=version+1, updated_at=?,"
               " expires_at=? WHERE id=?",
               (json.dumps(address.json()) if address else None, option, patch.payment_token or session.payment_token,
                now, now + ttl_ms, checkout_id))
    return find(tx, checkout_id)


def drop_quote(tx: sqlite3.Connection, checkout_id: str) -> None:
    tx.execute("DELETE FROM quote WHERE checkout_id=?", (checkout_id,))
    tx.execute("UPDATE checkout SET state='OPEN', version=version+1 WHERE id=? AND state='QUOTED'", (checkout_id,))


def remember_seen(tx: sqlite3.Connection, session: Session, prices: dict[str, int]) -> None:
    """From now on the buyer has been told these prices."""
    tx.execute("UPDATE checkout SET seen=?, updated_at=? WHERE id=?",
               (json.dumps(session.seen | prices), ids.now_ms(), session.id))


def save_quote(tx: sqlite3.Connection, session: Session, cart_version: int, lines: list[Line], totals: Totals,
               body: dict[str, Any], expires_at: int) -> bool:
    """False when the session has changed since the quote was begun: it would be a quote for something else."""
    now = find(tx, session.id)
    now.changeable()
    if now.version != session.version:
        return False
    tx.execute("DELETE FROM quote WHERE checkout_id=?", (session.id,))
    tx.execute("INSERT INTO quote VALUES (?,?,?,?,?,?,?,?,?,?,?)",
               (session.id, body["quote_hash"], cart_version, totals.subtotal, totals.discount, totals.shipping,
                totals.tax, totals.tax_included, totals.total, json.dumps(body), expires_at))
    tx.executemany("INSERT INTO quote_line VALUES (?,?,?,?,?,?)",
                   [(session.id, x.sku, x.title, x.qty, x.unit, x.weight_g) for x in lines])
    tx.execute("UPDATE checkout SET state='QUOTED', version=version+1, updated_at=?, seen=? WHERE id=?",
               (ids.now_ms(), json.dumps(session.seen | {x.sku: x.unit for x in lines}), session.id))
    return True


def submit(tx: sqlite3.Connection, checkout_id: str, quote_hash: str) -> dict[str, Any]:
    """Makes the promise: from this commit on the order will be made, however long it takes."""
    session = find(tx, checkout_id)
    trace.order(session.order_id)
    answer = {"order_id": session.order_id, "status_url": f"/orders/{session.order_id}"}
    row = tx.execute("SELECT * FROM quote WHERE checkout_id=?", (checkout_id,)).fetchone()
    if session.state in ("SUBMITTED", "ORDERED"):
        if row["hash"] != quote_hash:
            raise quote_expired("it was submitted with another quote")
        return answer
    if session.state == "EXPIRED":
        raise quote_expired("the checkout was left alone for too long; start again from the cart")
    missing = [name for name in ("address", "shipping_option", "payment_token") if getattr(session, name) is None]
    if missing:
        raise validation([(f"/{name}", "is not chosen yet") for name in missing], "The checkout is not complete")
    if row is None or row["hash"] != quote_hash:
        raise quote_expired("something has changed since; ask for a new quote")
    now = ids.now_ms()
    if row["expires_at"] <= now:
        raise quote_expired("a quote holds for 15 minutes; ask for a new one")
    order = _order(tx, session, row)
    tx.execute("UPDATE checkout SET state='SUBMITTED', submission=?, next_try_at=?, traceparent=?, version=version+1,"
               " updated_at=? WHERE id=?", (json.dumps(order), now, trace.traceparent(), now, checkout_id))
    outbox.publish(tx, "checkout.submitted", session.order_id, {
        "order_id": session.order_id, "checkout_id": session.id, "cart_id": session.cart_id,
        "cart_version": row["cart_version"]})
    return answer


def _order(tx: sqlite3.Connection, session: Session, quote: sqlite3.Row) -> dict[str, Any]:
    """The order as `orders` takes it, from the stored quote alone; its sums are derived once more."""
    lines = tx.execute("SELECT * FROM quote_line WHERE checkout_id=? ORDER BY sku", (session.id,)).fetchall()
    subtotal = sum(line["qty"] * line["unit_minor"] for line in lines)
    if subtotal != quote["subtotal_minor"]:
        raise RuntimeError(f"the quote of {session.id} does not add up: lines {subtotal}, subtotal {quote['subtotal_minor']}")
    assert session.address is not None
    return {
        "order_id": session.order_id, "checkout_id": session.id, "customer_id": session.customer_id,
        "cart": {"id": session.cart_id, "version": quote["cart_version"]},
        "lines": [{"sku": x["sku"], "title": x["title"], "qty": x["qty"], "unit": euros(x["unit_minor"]),
                   "weight_g": x["weight_g"]} for x in lines],
        "totals": {name: euros(quote[f"{name}_minor"]) for name in ("subtotal", "discount", "shipping", "tax", "total")},
        "ship_to": session.address.json(), "shipping_option": session.shipping_option,
        "payment_token": session.payment_token,
    }


# ---- what the background does --------------------------------------------------------------------


@dataclass(frozen=True)
class Submission:
    id: str
    order_id: str
    body: str
    tries: int
    traceparent: str


def due(tx: sqlite3.Connection, now: int, limit: int) -> list[Submission]:
    rows = tx.execute("SELECT id, order_id, submission, tries, traceparent FROM checkout WHERE next_try_at <= ?"
                      " ORDER BY next_try_at LIMIT ?", (now, limit)).fetchall()
    return [Submission(r["id"], r["order_id"], r["submission"], r["tries"], r["traceparent"]) for r in rows]


def next_due(tx: sqlite3.Connection) -> int | None:
    return tx.execute("SELECT MIN(next_try_at) FROM checkout WHERE next_try_at IS NOT NULL").fetchone()[0]


def ordered(tx: sqlite3.Connection, checkout_id: str) -> None:
    tx.execute("UPDATE checkout SET state='ORDERED', next_try_at=NULL, updated_at=? WHERE id=? AND state='SUBMITTED'",
               (ids.now_ms(), checkout_id))


def try_again(tx: sqlite3.Connection, checkout_id: str, at: int) -> None:
    tx.execute("UPDATE checkout SET tries=tries+1, next_try_at=? WHERE id=? AND state='SUBMITTED'", (at, checkout_id))


def expire(tx: sqlite3.Connection, now: int) -> int:
    rows = tx.execute("SELECT id, order_id, cart_id, traceparent FROM checkout WHERE state IN ('OPEN','QUOTED') AND"
                      " expires_at <= ? LIMIT 200", (now,)).fetchall()
    for row in rows:
        trace.enter(row["traceparent"])
        drop_quote(tx, row["id"])
        tx.execute("UPDATE checkout SET state='EXPIRED', version=version+1, updated_at=? WHERE id=?", (now, row["id"]))
        outbox.publish(tx, "checkout.expired", row["order_id"], {
            "order_id": row["order_id"], "checkout_id": row["id"], "cart_id": row["cart_id"]})
    return len(rows)


def price_changed(tx: sqlite3.Connection, sku: str, amount: int) -> None:
    """Open quotes that say another price fall, so that nobody pays what the buyer has not seen."""
    rows = tx.execute("SELECT c.id FROM quote_line l JOIN checkout c ON c.id = l.checkout_id WHERE l.sku=?"
                      " AND l.unit_minor<>? AND c.state='QUOTED'", (sku, amount)).fetchall()
    for row in rows:
        drop_quote(tx, row["id"])


# ---- the last shipping table that was seen -------------------------------------------------------

WEIGHT_STEP_G = 500


def remember_shipping(tx: sqlite3.Connection, country: str, weight_g: int, options: list[Option]) -> None:
    step = -(-max(weight_g, 1) // WEIGHT_STEP_G) * WEIGHT_STEP_G
    tx.execute("INSERT OR REPLACE INTO shipping_seen VALUES (?,?,?,?)",
               (country, step, json.dumps([vars(o) for o in options]), ids.now_ms()))


def last_shipping(tx: sqlite3.Connection, country: str, weight_g: int) -> list[Option] | None:
    """What was last quoted for this country at this weight or the next heavier one, else the heaviest."""
    row = tx.execute("SELECT options FROM shipping_seen WHERE country=? ORDER BY up_to_g < ?, CASE WHEN up_to_g < ?"
                     " THEN -up_to_g ELSE up_to_g END LIMIT 1", (country, weight_g, weight_g)).fetchone()
    return [Option(**o) for o in json.loads(row["options"])] if row else None


def _session(row: sqlite3.Row) -> Session:
    raw = json.loads(row["address"]) if row["address"] else None
    address = Address(**{"line2": None, **raw}) if raw else None
    return Session(row["id"], row["order_id"], row["cart_id"], row["customer_id"], row["state"], address,
                   row["shipping_option"], row["payment_token"], json.loads(row["seen"]), row["version"],
                   row["created_at"], row["expires_at"], json.loads(row["quote"]) if row["quote"] else None)
