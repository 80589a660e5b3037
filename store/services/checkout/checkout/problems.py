"""Every refusal: RFC 9457 problem details, made where it is understood and carried unchanged to the wire."""

from __future__ import annotations

from typing import Any

from . import trace


class Problem(Exception):
    def __init__(self, status: int, code: str, title: str, detail: str, *, retry_after_ms: int | None = None,
                 errors: list[dict[str, str]] | None = None, **more: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.retry_after_ms, self.errors, self.more = retry_after_ms, errors, more

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"type": f"urn:store:problem:{self.code}", "title": self.title, "status": self.status,
                                "detail": self.detail, "code": self.code, "trace_id": trace.trace_id(),
                                "retryable": self.retry_after_ms is not None}
        if self.retry_after_ms is not None:
            body["retry_after_ms"] = self.retry_after_ms
        if self.errors:
            body["errors"] = self.errors
        return body | self.more


def validation(errors: list[tuple[str, str]], title: str = "The request is not valid") -> Problem:
    pointer, detail = errors[0]
    return Problem(422, "validation", title, f"{pointer or 'the body'}: {detail}",
                   errors=[{"pointer": p, "detail": d} for p, d in errors[:20]])


def not_found(detail: str) -> Problem:
    return Problem(404, "not-found", "Not found", detail)


def closed(detail: str) -> Problem:
    return Problem(409, "checkout-closed", "The checkout is closed", detail)


def quote_expired(detail: str) -> Problem:
    return Problem(409, "quote-expired", "The quote is not valid any more", detail)


def cart_closed(detail: str, **more: Any) -> Problem:
    return Problem(409, "cart-closed", "The cart is closed", detail, **more)


def in_progress(detail: str) -> Problem:
    return Problem(409, "request-in-progress", "A request is still running", detail, retry_after_ms=500)


def overloaded() -> Problem:
    return Problem(503, "overloaded", "Too much to do", "too many requests at once", retry_after_ms=1000)


def unavailable(callee: str) -> Problem:
    return Problem(503, "dependency-unavailable", "Another service does not answer",
                   f"{callee} does not answer; nothing was changed", retry_after_ms=1000)


def storage_full() -> Problem:
    return Problem(507, "storage-full", "No space left to store this", "nothing was changed; try again later",
                   retry_after_ms=5000)
