"""Makes a quote: the cart as it is, the prices of now, tax by country, shipping by weight.

Asks cart, catalog and warehouse, each outside of any transaction; then writes, if the session is still the
one that the quote was begun for. The warehouse alone may be away: then the last table it gave is used.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from . import ids, pricing, sessions
from .calls import Answer, Callee, NoAnswer, wanted
from .db import Database
from .forms import COUNTRIES
from .pricing import Line, Option, euros
from .problems import Problem, cart_closed, in_progress, unavailable, validation

RETRIES = 3
WARM_WEIGHTS_G = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000)
WARM_EVERY_S = 15 * 60

log = logging.getLogger("quotes")


@dataclass(frozen=True)
class Cart:
    version: int
    quantities: dict[str, int]
    seen: dict[str, int]


class Quotes:
    def __init__(self, db: Database, cart: Callee, catalog: Callee, warehouse: Callee) -> None:
        self._db, self._cart, self._catalog, self._warehouse = db, cart, catalog, warehouse

    async def make(self, checkout_id: str, language: str | None = None) -> dict[str, Any]:
        for _ in range(RETRIES):
            session = await self._db.do(lambda tx: sessions.find(tx, checkout_id))
            session.changeable()
            quote = await self._once(session, language)
            if quote is not None:
                return quote
        raise in_progress("the checkout is being changed at the same time")

    async def _once(self, session: sessions.Session, language: str | None) -> dict[str, Any] | None:
        cart = await self.cart(session.cart_id)
        lines = await self._prices(cart, language)
        changes = pricing.changes(lines, session.seen, cart.seen)
        if changes:
            told = {change["sku"]: change["now"]["amount_minor"] for change in changes}

            def tell(tx: Any) -> None:
                sessions.find(tx, session.id).changeable()
                sessions.drop_quote(tx, session.id)
                sessions.remember_seen(tx, session, told)
            await self._db.do(tell)
            raise Problem(409, "price-changed", "A price has changed",
                          "show the changes to the buyer, then ask for the quote again", changes=changes)
        country = session.address.country if session.address else pricing.DEFAULT_COUNTRY
        options, degraded = await self._shipping(
            country, sum(line.qty * line.weight_g for line in lines), language)
        option = pricing.chosen(options, session.shipping_option)
        if option is None:
            raise validation([("/shipping_option", f"{session.shipping_option} is not offered to {country}; offered are "
                              + ", ".join(o.id for o in options))])
        totals = pricing.totals(lines, option.amount, country)
        body = {
            "lines": [{"sku": x.sku, "title": x.title, "qty": x.qty, "unit": euros(x.unit), "line_total": euros(x.total)}
                      for x in lines],
            "shipping_options": [vars(o) | {"amount": euros(o.amount)} for o in options],
            "shipping_option": option.id,
            "totals": {name: euros(amount) for name, amount in vars(totals).items()},
        }
        address = session.address.json() if session.address else None
        digest = pricing.quote_hash({**body, "order": session.order_id, "cart": cart.version, "address": address,
                                     "chosen": session.shipping_option})
        expires = ids.now_ms() + sessions.QUOTE_TTL_MS
        body |= {"quote_hash": digest, "expires_at": ids.timestamp(expires), "degraded": degraded}
        saved = await self._db.do(lambda tx: sessions.save_quote(tx, session, cart.version, lines, totals, body, expires))
        return body if saved else None

    async def cart(self, cart_id: str) -> Cart:
        answer = await wanted(self._cart, "GET", f"/v1/carts/{cart_id}")
        if answer.status == 404:
            raise validation([("/cart_id", "there is no such cart")])
        body = _good(self._cart, answer)
        try:
            if body["state"] != "OPEN":
                raise cart_closed("it has been ordered; start a new one")
            quantities = {line["sku"]: _whole(line["qty"]) for line in body["lines"]}
            seen = {line["sku"]: _whole(line["seen_price"]["amount_minor"]) for line in body["lines"] if line.get("seen_price")}
            cart = Cart(_whole(body["version"]), quantities, seen)
        except (KeyError, TypeError, ValueError) as error:
            raise _nonsense(self._cart, error) from None
        if not cart.quantities:
            raise Problem(409, "cart-empty", "The cart is empty", "there is nothing to buy in it")
        return cart

    async def _prices(self, cart: Cart, language: str | None) -> list[Line]:
        wish = {"currency": "EUR", "lines": [{"sku": sku, "qty": qty} for sku, qty in sorted(cart.quantities.items())]}
        answer = await wanted(self._catalog, "POST", "/v1/prices:resolve", wish, language)
        if answer.status == 422:
            errors = _good(self._catalog, answer, 422).get("errors") or [{"pointer": "/lines", "detail": "not sold any more"}]
            raise validation([("/cart" + str(e.get("pointer", "")), str(e.get("detail", ""))) for e in errors],
                             "The cart has something that is not sold any more")
        body = _good(self._catalog, answer)
        try:
            lines = [Line(x["sku"], str(x["title"]), _whole(x["qty"]), _euros(x["unit"]), _whole(x["weight_g"])) for x in body["lines"]]
        except (KeyError, TypeError, ValueError) as error:
            raise _nonsense(self._catalog, error) from None
        if {line.sku: line.qty for line in lines} != cart.quantities:
            raise _nonsense(self._catalog, ValueError("other lines than those asked for"))
        return lines

    async def _shipping(self, country: str, weight_g: int, language: str | None) -> tuple[list[Option], bool]:
        try:
            return await self._ask_shipping(country, weight_g, language), False
        except Problem:
            last = await self._db.do(lambda tx: sessions.last_shipping(tx, country, weight_g))
            if last is None:
                raise
            log.warning("the warehouse does not answer; the last shipping table is used")
            return last, True

    async def _ask_shipping(self, country: str, weight_g: int, language: str | None = None) -> list[Option]:
        answer = await wanted(self._warehouse, "POST", "/v1/shipping-quotes", {"country": country, "weight_g": weight_g},
                              language)
        body = _good(self._warehouse, answer)
        try:
            options = [Option(str(x["id"]), str(x["label"]), _euros(x["amount"]), _whole(x["days_min"]), _whole(x["days_max"]))
                       for x in body["options"]]
        except (KeyError, TypeError, ValueError) as error:
            raise _nonsense(self._warehouse, error) from None
        if not options:
            raise _nonsense(self._warehouse, ValueError("no option at all"))
        await self._db.do(lambda tx: sessions.remember_shipping(tx, country, weight_g, options))
        return options

    async def keep_shipping_table(self) -> None:
        """Asks for the whole table now and then, so that there is one when the warehouse is away."""
        wait = 1.0
        while True:
            try:
                for country in COUNTRIES:
                    for weight in WARM_WEIGHTS_G:
                        await self._ask_shipping(country, weight)
                wait = WARM_EVERY_S
            except (Problem, NoAnswer):
                wait = min(60.0, wait * 2)
            await asyncio.sleep(wait)


def _good(callee: Callee, answer: Answer, status: int = 200) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError as error:
        raise _nonsense(callee, error) from None
    if answer.status != status or not isinstance(body, dict):
        raise _nonsense(callee, ValueError(f"status {answer.status}"))
    return body


def _nonsense(callee: Callee, error: Exception) -> Problem:
    log.error("%s answered something that its contract does not know: %s", callee.name, error)
    return unavailable(callee.name)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _euros(money: Any) -> int:
    if money["currency"] != "EUR":
        raise ValueError(f"{money!r} is not in EUR")
    return _whole(money["amount_minor"])
