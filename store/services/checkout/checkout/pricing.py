"""What it costs. Pure: lines, an address and a shipping option in, a quote out.

Prices are gross in Europe, so the tax there is a part of the price and only shown; in the United States
it comes on top. Everything is whole cents; where a rounding is needed it is half to even, line by line.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

# Percent, and whether prices include it.
TAX = {"FR": (20, True), "DE": (19, True), "GB": (20, True), "US": (8, False)}
DEFAULT_COUNTRY = "FR"


@dataclass(frozen=True)
class Line:
    sku: str
    title: str
    qty: int
    unit: int
    weight_g: int

    @property
    def total(self) -> int:
        return self.qty * self.unit


@dataclass(frozen=True)
class Option:
    id: str
    label: str
    amount: int
    days_min: int
    days_max: int


@dataclass(frozen=True)
class Totals:
    subtotal: int
    discount: int
    shipping: int
    tax: int
    tax_included: int
    total: int


def half_even(numerator: int, denominator: int) -> int:
    """The quotient of two non-negative numbers, ties to the even neighbour."""
    whole, rest = divmod(numerator, denominator)
    if rest * 2 > denominator or (rest * 2 == denominator and whole % 2 == 1):
        whole += 1
    return whole


def totals(lines: list[Line], shipping: int, country: str) -> Totals:
    percent, included = TAX[country]
    subtotal = sum(line.total for line in lines)
    parts = [line.total for line in lines]
    if included:
        inside = sum(half_even(part * percent, 100 + percent) for part in [*parts, shipping])
        return Totals(subtotal, 0, shipping, 0, inside, subtotal + shipping)
    # Freight is not taxed there.
    tax = sum(half_even(part * percent, 100) for part in parts)
    return Totals(subtotal, 0, shipping, tax, 0, subtotal + shipping + tax)


def euros(amount: int) -> dict[str, Any]:
    return {"amount_minor": amount, "currency": "EUR"}


def chosen(options: list[Option], wish: str | None) -> Option | None:
    """The option asked for; without a wish the cheapest, so that a total can be shown; None: not offered."""
    if wish is None:
        return min(options, key=lambda o: (o.amount, o.days_max))
    return next((o for o in options if o.id == wish), None)


def quote_hash(content: dict[str, Any]) -> str:
    """Stands for everything the buyer was shown and everything the order will say."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def changes(lines: list[Line], told: dict[str, int], in_cart: dict[str, int]) -> list[dict[str, Any]]:
    """Where a price is neither what this checkout has told the buyer nor what the cart has shown."""
    found = []
    for line in lines:
        known = [seen[line.sku] for seen in (told, in_cart) if line.sku in seen]
        if known and line.unit not in known:
            found.append({"sku": line.sku, "was": euros(known[0]), "now": euros(line.unit)})
    return found
