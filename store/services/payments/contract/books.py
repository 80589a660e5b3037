"""Holds the books of payments against the books of the provider, payment by payment.

Reads both databases when the suite has started the service (the tables are part of the contract), so
nothing that the API might leave out is left out here. Everything must have come to rest before.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from .world import World, eventually

LIVE = ("requires_action", "processing", "requires_capture")


def rows(path: Path, sql: str, *values: Any) -> list[dict[str, Any]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql, values)]
    finally:
        connection.close()


class Books:
    def __init__(self, world: World) -> None:
        self.world = world
        self.ours = world.database
        self.theirs = Path(world.psp_process.env["DATABASE_URL"].removeprefix("sqlite:///"))

    def wait_for_rest(self, seconds: float = 180) -> None:
        """No operation open (but for questions that a customer has not answered), no webhook on its way."""
        self.world.wire.wait_for_stragglers()
        self.world.webhook_wire.wait_for_stragglers()
        eventually(lambda: not self.open() and not rows(self.theirs, "SELECT seq FROM webhook WHERE delivered_at IS NULL"),
                   "every operation has a certain end and every webhook is delivered", seconds)

    def open(self) -> list[dict[str, Any]]:
        return rows(self.ours, "SELECT o.kind, o.state, o.order_id, p.state AS payment FROM operation o JOIN payment p"
                    " ON p.id=o.payment_id WHERE o.state IN ('PENDING','UNKNOWN','INITIAL')"
                    " AND NOT (o.kind='AUTHORISE' AND p.state='REQUIRES_ACTION')")

    def problems(self) -> list[str]:
        """Everything that does not add up; empty when the books agree."""
        payments = {p["provider_ref"]: p for p in rows(self.ours, "SELECT * FROM payment") if p["provider_ref"]}
        intents = {i["ref"]: i for i in rows(self.theirs, "SELECT * FROM intent")}
        return (self._provider(intents) + self._pairs(payments, intents) + self._once(intents)
                + self._ledger(list(payments.values())) + self._operations() + self._facts())

    def _provider(self, intents: dict[str, Any]) -> list[str]:
        found = []
        accounts = {a["id"]: a for a in rows(self.theirs, "SELECT * FROM account")}
        if sum(a["balance_minor"] for a in accounts.values()) != sum(a["initial_minor"] for a in accounts.values()):
            found.append("the world's money is not constant")
        if accounts["holds"]["balance_minor"] != sum(i["held_minor"] for i in intents.values()):
            found.append("the provider's holds do not add up")
        ours = rows(self.ours, "SELECT COALESCE(SUM(captured_minor-refunded_minor),0) AS net, COALESCE(SUM(held_minor),0)"
                    " AS held FROM payment")[0] if "held_minor" in self._columns() else None
        net = rows(self.ours, "SELECT COALESCE(SUM(captured_minor-refunded_minor),0) AS net FROM payment")[0]["net"]
        if accounts["merchant"]["balance_minor"] != net:
            found.append(f"the merchant has {accounts['merchant']['balance_minor']}, our books say {net}")
        if ours is not None and accounts["holds"]["balance_minor"] != ours["held"]:
            found.append(f"{accounts['holds']['balance_minor']} is held, our books say {ours['held']}")
        return found

    def _columns(self) -> set[str]:
        return {c["name"] for c in rows(self.ours, "PRAGMA table_info(payment)")}

    def _pairs(self, payments: dict[str, Any], intents: dict[str, Any]) -> list[str]:
        found = []
        for ref in payments.keys() | intents.keys():
            p, i = payments.get(ref), intents.get(ref)
            if p is None or i is None:
                known = p or i
                found.append(f"only one side knows {ref}: {known.get('state', known.get('status'))}")
                continue
            name = f"{ref} ({p['state']} here, {i['status']} there)"
            for column in ("captured_minor", "refunded_minor"):
                if p[column] != i[column]:
                    found.append(f"{name}: {column} {p[column]} here, {i[column]} there")
            wanted = {"AUTHORISED": "requires_capture", "REQUIRES_ACTION": "requires_action", "CAPTURED": "succeeded",
                      "PARTIALLY_REFUNDED": "succeeded", "REFUNDED": "succeeded", "EXPIRED": "canceled"}.get(p["state"])
            if wanted is not None and i["status"] != wanted:
                found.append(f"{name}: should be {wanted} there")
            if p["state"] in ("VOIDED", "DECLINED", "CREATED") and (i["status"] in LIVE or i["captured_minor"] > 0):
                found.append(f"{name}: something is left at the provider")
            if i["order_ref"] != p["order_id"] or i["amount_minor"] != p["amount_minor"]:
                found.append(f"{name}: another order or another amount")
        return found

    def _once(self, intents: dict[str, Any]) -> list[str]:
        alive = Counter(i["order_ref"] for i in intents.values() if i["status"] in ("requires_capture", "succeeded")
                        and i["refunded_minor"] < i["captured_minor"] + i["held_minor"])
        found = [f"{order} is held or charged {n} times" for order, n in alive.items() if n > 1]
        buried = rows(self.ours, "SELECT order_id FROM tombstone")
        for row in buried:
            if any(i["order_ref"] == row["order_id"] and i["status"] in LIVE for i in intents.values()):
                found.append(f"{row['order_id']} was given up and still holds money")
        return found

    def _ledger(self, payments: list[dict[str, Any]]) -> list[str]:
        found = [f"ledger {r['tx_id']} does not sum to zero" for r in rows(
            self.ours, "SELECT tx_id FROM ledger_entry GROUP BY tx_id, currency HAVING SUM(amount_minor)<>0")]
        settled = rows(self.ours, "SELECT COALESCE(SUM(amount_minor),0) AS s FROM ledger_entry WHERE account='provider:settled'")
        net = sum(p["captured_minor"] - p["refunded_minor"] for p in payments)
        if settled[0]["s"] != net:
            found.append(f"the ledger says {settled[0]['s']} is settled, the payments say {net}")
        return found

    def _operations(self) -> list[str]:
        found = [f"the reported end of {o['id']} and the payment disagree" for o in rows(
            self.ours, "SELECT o.id FROM operation o JOIN payment p ON p.id=o.payment_id WHERE"
            " (o.kind='CAPTURE' AND o.state='SUCCESS' AND p.captured_minor=0)"
            " OR (o.kind='VOID' AND o.state='SUCCESS' AND p.captured_minor>0)")]
        refunds = rows(self.ours, "SELECT p.id, p.refunded_minor AS r, COALESCE(SUM(o.amount_minor),0) AS s FROM payment p"
                       " LEFT JOIN operation o ON o.payment_id=p.id AND o.kind='REFUND' AND o.state='SUCCESS' GROUP BY p.id")
        return found + [f"{r['id']}: refunded {r['r']}, refund operations {r['s']}" for r in refunds if r["r"] != r["s"]]

    def _facts(self) -> list[str]:
        """Every fact once, and none that did not happen: the outbox tells the same story as the rows."""
        told: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for event in self.world.payments.events():
            told[event["payment_id"]].append((event["topic"].removeprefix("payment."), event["amount"]["amount_minor"]))
        found = []
        for p in rows(self.ours, "SELECT * FROM payment"):
            story = told.pop(p["id"], [])
            names = Counter(name for name, _ in story)
            ended = {"DECLINED": "declined", "VOIDED": "voided", "EXPIRED": "expired"}.get(p["state"])
            wanted = {"captured": p["captured_minor"] > 0, **{n: ended == n for n in ("declined", "voided", "expired")}}
            for name, should in wanted.items():
                if names[name] != int(should):
                    found.append(f"{p['id']} is {p['state']} and was told {names[name]} times to be {name}")
            if names["authorised"] > 1 or (p["captured_minor"] > 0 and names["authorised"] != 1):
                found.append(f"{p['id']} was told {names['authorised']} times to be authorised")
            if sum(amount for name, amount in story if name == "refunded") != p["refunded_minor"]:
                found.append(f"{p['id']}: the refunds that were told are not those that were made")
        return found + [f"facts about a payment that is not there: {name}" for name in told]
