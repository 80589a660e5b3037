"""Reads what comes in: JSON that is bounded and strict, members that are known, every mistake at once."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Callable

from . import ids
from .problems import Problem, validation

BODY_MAX = 256 * 1024
COUNTRIES = ("FR", "DE", "GB", "US")
# No control characters, and no lone surrogates: those cannot be written to a database or sent on.
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z")
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}\Z")
_OPTION = re.compile(r"[a-z0-9_-]{1,40}\Z")
_POSTCODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 -]{1,11}\Z")


@dataclass(frozen=True)
class Address:
    name: str
    line1: str
    line2: str | None
    postcode: str
    city: str
    country: str

    def json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def parse(raw: bytes) -> dict[str, Any]:
    def no_constant(name: str) -> Any:
        raise ValueError(name)
    try:
        body = json.loads(raw or b"{}", parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise validation([("", "is not JSON")]) from None
    if not isinstance(body, dict):
        raise validation([("", "is not a JSON object")])
    return body


class Form:
    """Members of one object. Ask for each, then `done()`; unknown members are mistakes too."""

    def __init__(self, body: dict[str, Any], at: str = "", errors: list[tuple[str, str]] | None = None) -> None:
        self.body, self.at = body, at
        self.errors: list[tuple[str, str]] = errors if errors is not None else []
        self.asked: set[str] = set()

    def wrong(self, name: str, what: str) -> None:
        self.errors.append((f"{self.at}/{name.replace('~', '~0').replace('/', '~1')}", what))

    def take(self, name: str, fits: Callable[[Any], bool], what: str, required: bool = True) -> Any:
        self.asked.add(name)
        value = self.body.get(name)
        if value is None:
            if required:
                self.wrong(name, "is missing")
            return None
        if not fits(value):
            self.wrong(name, what)
            return None
        return value

    def text(self, name: str, most: int = 200, required: bool = True) -> str | None:
        def fits(value: Any) -> bool:
            return isinstance(value, str) and len(value) <= most and bool(value.strip()) and bool(_TEXT.match(value))
        value = self.take(name, fits, f"1 to {most} characters, none of them control characters", required)
        return value.strip() if value is not None else None

    def form(self, name: str, pattern: re.Pattern[str], what: str, required: bool = True) -> str | None:
        return self.take(name, lambda v: isinstance(v, str) and pattern.match(v) is not None, what, required)

    def id(self, name: str, prefix: str) -> str | None:
        return self.take(name, lambda v: ids.is_id(v, prefix), f"an id like {prefix}_ and 32 hexadecimal digits")

    def done(self) -> None:
        self.no_others()
        if self.errors:
            raise validation(self.errors)

    def no_others(self) -> None:
        for name in self.body:
            if name not in self.asked:
                self.wrong(name[:80], "is not a member of this request")


def new_checkout(body: dict[str, Any]) -> tuple[str, str]:
    form = Form(body)
    cart, customer = form.id("cart_id", "crt"), form.id("customer_id", "cus")
    form.done()
    assert cart is not None and customer is not None
    return cart, customer


@dataclass(frozen=True)
class Patch:
    address: Address | None
    shipping_option: str | None
    payment_token: str | None


def patch(body: dict[str, Any]) -> Patch:
    form = Form(body)
    raw = form.take("address", lambda v: isinstance(v, dict), "an object", required=False)
    address = _address(raw, form.errors) if raw is not None else None
    option = form.form("shipping_option", _OPTION, "the id of a shipping option", required=False)
    token = form.form("payment_token", _TOKEN, "1 to 128 visible ASCII characters", required=False)
    form.done()
    return Patch(address, option, token)


def _address(body: dict[str, Any], errors: list[tuple[str, str]]) -> Address | None:
    form = Form(body, "/address", errors)
    before = len(errors)
    found = {"name": form.text("name"), "line1": form.text("line1"), "line2": form.text("line2", required=False),
             "postcode": form.form("postcode", _POSTCODE, "2 to 12 letters, digits, spaces or hyphens"),
             "city": form.text("city"),
             "country": form.take("country", lambda v: v in COUNTRIES, "one of " + ", ".join(COUNTRIES))}
    form.no_others()
    return Address(**found) if len(errors) == before else None


def quote_hash(body: dict[str, Any]) -> str:
    form = Form(body)
    value = form.form("quote_hash", re.compile(r"[\x21-\x7e]{1,128}\Z"), "the hash of a quote")
    form.done()
    assert value is not None
    return value


def key(header: str | None) -> str:
    if not header:
        raise Problem(400, "idempotency-key-missing", "Idempotency-Key is missing",
                      "this request makes an order; send an Idempotency-Key so that it can be repeated safely")
    if not ids.KEY.match(header):
        raise validation([("", "Idempotency-Key has 1 to 200 visible ASCII characters")])
    return header
