"""What a method token asks the simulator to do. Pure: no clock, no database.

A token is `tok_<behaviour>` or `tok_<behaviour>_<name>`: the name is the card account that pays.
Two tokens with one name are one card, so a test can spend the same card well and badly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Longest first: `tok_webhook_first_ann` is behaviour `webhook_first` of card `ann`.
BEHAVIOURS = (
    "webhook_thrice",
    "webhook_first",
    "capture_fails",
    "auth_expires",
    "insufficient",
    "decline",
    "drop",
    "slow",
    "3ds",
    "ok",
)

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}\Z")


@dataclass(frozen=True)
class Token:
    behaviour: str
    account: str


def parse(token: str) -> Token | None:
    """The behaviour and card account of a token; None when this provider never issued it."""
    if not token.startswith("tok_"):
        return None
    rest = token[4:]
    for behaviour in BEHAVIOURS:
        if rest == behaviour:
            return Token(behaviour, f"card:shared-{behaviour}")
        if rest.startswith(behaviour + "_"):
            name = rest[len(behaviour) + 1 :]
            return Token(behaviour, f"card:{name}") if _NAME.match(name) else None
    return None
