"""Identifiers: a prefix and a UUIDv7 in hex, so that they sort by the time they were made."""

from __future__ import annotations

import re
import secrets
import time
from datetime import datetime, timezone

KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")


def new(prefix: str) -> str:
    high = (now_ms() << 16) | 0x7000 | secrets.randbits(12)
    low = (0b10 << 62) | secrets.randbits(62)
    return f"{prefix}_{high:016x}{low:016x}"


def is_id(text: object, prefix: str) -> bool:
    return isinstance(text, str) and re.fullmatch(prefix + "_[0-9a-f]{32}", text) is not None


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def timestamp(ms: int) -> str:
    at = datetime.fromtimestamp(ms / 1000, timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
