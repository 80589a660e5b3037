"""The W3C trace context of what runs now, and log lines that carry it."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import secrets
import sys

from . import ids

_FORM = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent", default=None)
_order: contextvars.ContextVar[str | None] = contextvars.ContextVar("order_id", default=None)


def enter(header: str | None) -> str:
    """Continues the caller's trace, or starts one when there is none or it is not one."""
    value = header if header is not None and _FORM.match(header) else _fresh()
    _current.set(value)
    _order.set(None)
    return value


def order(order_id: str) -> None:
    _order.set(order_id)


def traceparent() -> str:
    return _current.get() or enter(None)


def trace_id() -> str:
    return traceparent()[3:35]


def _fresh() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": ids.timestamp(int(record.created * 1000)),
                "level": record.levelname.lower().replace("warning", "warn"), "msg": record.getMessage()}
        if _current.get() is not None:
            line["trace_id"] = trace_id()
        if _order.get() is not None:
            line["order_id"] = _order.get()
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stdout(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
