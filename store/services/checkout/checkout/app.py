"""Routes, and the frame around every request: trace, limits, problems."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import re
from dataclasses import dataclass
from typing import Any, AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from . import VERSION, background, db, forms, ids, outbox, sessions, trace
from .calls import Callee
from .problems import Problem, not_found, overloaded, validation
from .quotes import Quotes

REQUESTS_MAX = 128
TTL_MS = 24 * 3600 * 1000
# Handed on to those who have texts in more than one language; anything odd is dropped.
_LANGUAGE = re.compile(r"[A-Za-z0-9*,;=. -]{1,200}\Z")
_TYPE = re.compile(r"store\.(.+)\.v[0-9]+\Z")

log = logging.getLogger("http")


@dataclass(frozen=True)
class Config:
    database: str
    cart_url: str
    catalog_url: str
    warehouse_url: str
    orders_url: str
    api_token: str | None = None
    ttl_ms: int = TTL_MS


class App:
    """What the handlers share. Made when the event loop runs, closed before it ends."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.db = db.Database(config.database)
        cart, catalog = Callee("cart", config.cart_url), Callee("catalog", config.catalog_url)
        warehouse, orders = Callee("warehouse", config.warehouse_url), Callee("orders", config.orders_url)
        self.callees = (cart, catalog, warehouse, orders)
        self.quotes = Quotes(self.db, cart, catalog, warehouse)
        self.submitter = background.Submitter(self.db, orders)
        self.readers = outbox.Readers(self.db)
        self.running = 0
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for work in (self.submitter.run(), background.sweep(self.db), self.quotes.keep_shipping_table()):
            task = asyncio.create_task(work)
            task.add_done_callback(_report)
            self.tasks.append(task)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for callee in self.callees:
            callee.close()
        self.db.close()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("a background task has ended", exc_info=task.exception())


# ---- handlers ------------------------------------------------------------------------------------


async def create(app: App, request: Request) -> Response:
    cart_id, customer_id = forms.new_checkout(await body(request))
    cart = await app.quotes.cart(cart_id)
    session = await app.db.do(lambda tx: sessions.create(tx, cart_id, customer_id, cart.version, app.config.ttl_ms))
    return answer(201, session.json(), {"location": f"/v1/checkouts/{session.id}"})


async def show(app: App, request: Request) -> Response:
    checkout_id = wanted(request)
    session = await app.db.do(lambda tx: sessions.find(tx, checkout_id))
    return answer(200, session.json())


async def change(app: App, request: Request) -> Response:
    checkout_id, patch = wanted(request), forms.patch(await body(request))
    session = await app.db.do(lambda tx: sessions.change(tx, checkout_id, patch, app.config.ttl_ms))
    return answer(200, session.json())


async def quote(app: App, request: Request) -> Response:
    checkout_id = wanted(request)
    forms.Form(await body(request)).done()
    language = request.headers.get("accept-language", "")
    return answer(200, await app.quotes.make(checkout_id, language if _LANGUAGE.match(language) else None))


async def submit(app: App, request: Request) -> Response:
    key = forms.key(request.headers.get("idempotency-key"))
    checkout_id, content = wanted(request), await body(request)
    quote_hash = forms.quote_hash(content)
    print_ = outbox.fingerprint(checkout_id, content)

    def work(tx: Any) -> tuple[int, str, bool]:
        known = outbox.stored(tx, key, "submit", print_)
        if known is not None:
            return *known, True
        text = json.dumps(sessions.submit(tx, checkout_id, quote_hash))
        outbox.store(tx, key, "submit", print_, 202, text)
        return 202, text, False
    status, text, replayed = await app.db.do(work)
    app.submitter.wake()
    return Response(text, status, {"idempotency-replayed": "true"} if replayed else None, "application/json")


async def health(app: App, request: Request) -> Response:
    return answer(200, {"status": "ok"})


async def ready(app: App, request: Request) -> Response:
    await app.db.do(lambda tx: tx.execute("SELECT 1").fetchone())
    return answer(200, {"status": "ok"})


async def info(app: App, request: Request) -> Response:
    return answer(200, {"name": "checkout", "version": VERSION, "schema_version": db.SCHEMA_VERSION})


async def read_outbox(app: App, request: Request) -> Response:
    after, limit = number(request, "after", 0, 2 ** 62), number(request, "limit", 100, 1_000)
    return answer(200, await app.readers.read(after, limit, number(request, "wait_ms", 0, 30_000)))


async def take_event(app: App, request: Request) -> Response:
    event = await body(request)
    source, event_id, topic = event.get("source"), event.get("id"), _topic(event)
    if not all(isinstance(x, str) and 0 < len(x) <= 500 for x in (source, event_id)):
        raise validation([("/id", "an event needs an id and a source")])
    assert isinstance(source, str) and isinstance(event_id, str)
    if topic != "price.changed":
        raise validation([("/type", f"checkout does not listen to {topic[:100]}")])
    data = event.get("data")
    amount = data.get("amount") if isinstance(data, dict) else None
    minor = amount.get("amount_minor") if isinstance(amount, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("sku"), str) or type(minor) is not int or abs(minor) > 2 ** 53:
        raise validation([("/data", "price.changed has a sku and an amount")])

    def work(tx: Any) -> None:
        if outbox.first_time(tx, source, event_id, topic):
            sessions.price_changed(tx, data["sku"], minor)
    try:
        await app.db.do(work)
    except UnicodeEncodeError:
        raise validation([("", "text with lone surrogates")]) from None
    return Response(status_code=204)


def _topic(event: dict[str, Any]) -> str:
    topic = event.get("topic")
    if isinstance(topic, str) and topic:
        return topic
    found = _TYPE.match(event["type"]) if isinstance(event.get("type"), str) else None
    return found[1] if found else str(event.get("type"))


# ---- the frame -----------------------------------------------------------------------------------


def answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body, ensure_ascii=False, separators=(",", ":")), status, headers, "application/json")


def problem(error: Problem) -> Response:
    headers = {} if error.retry_after_ms is None else {"retry-after": str(max(1, -(-error.retry_after_ms // 1000)))}
    return Response(json.dumps(error.body(), separators=(",", ":")), error.status, headers, "application/problem+json")


def wanted(request: Request) -> str:
    checkout_id = request.path_params["id"]
    if not ids.is_id(checkout_id, "chk"):
        raise not_found("that is no id of a checkout")
    return checkout_id


async def body(request: Request) -> dict[str, Any]:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > forms.BODY_MAX:
            raise Problem(413, "too-large", "The body is too large", f"a body has at most {forms.BODY_MAX} bytes")
        parts.append(part)
    return forms.parse(b"".join(parts))


def number(request: Request, name: str, otherwise: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return otherwise
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise validation([("", f"the query's {name} is a whole number, not negative")])
    return min(int(text), most)


Handler = Callable[[App, Request], Awaitable[Response]]


def framed(handler: Handler, platform: bool = False) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        app: App = request.app.state.app
        trace.enter(request.headers.get("traceparent"))
        if app.running >= REQUESTS_MAX:
            return problem(overloaded())
        app.running += 1
        try:
            token = app.config.api_token
            given = request.headers.get("dapr-api-token", "")
            if platform and token and not hmac.compare_digest(given.encode(), token.encode()):
                raise Problem(401, "unauthorised", "Not authorised", "dapr-api-token is missing or wrong")
            return await handler(app, request)
        except Problem as error:
            return problem(error)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            return problem(Problem(500, "internal", "Something is broken here", "ask again with the same key",
                                   retry_after_ms=1000))
        finally:
            app.running -= 1
    return endpoint


async def elsewhere(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    trace.enter(request.headers.get("traceparent"))
    if error.status_code == 405:
        return problem(Problem(405, "method-not-allowed", "Not this method", "this path has other methods"))
    return problem(not_found("there is nothing at this path"))


def build(config: Config, on_start: Callable[[App], None] = lambda app: None) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(starlette: Starlette) -> AsyncIterator[None]:
        app = App(config)
        starlette.state.app = app
        app.start()
        on_start(app)
        yield
        await app.stop()

    one = "/v1/checkouts/{id}"
    return Starlette(lifespan=lifespan, exception_handlers={HTTPException: elsewhere}, routes=[
        Route("/v1/checkouts", framed(create), methods=["POST"]),
        Route(one, framed(show), methods=["GET"]),
        Route(one, framed(change), methods=["PATCH"]),
        Route(one + "/quote", framed(quote), methods=["POST"]),
        Route(one + "/submit", framed(submit), methods=["POST"]),
        Route("/healthz", framed(health), methods=["GET"]),
        Route("/readyz", framed(ready), methods=["GET"]),
        Route("/_archipel/info", framed(info, platform=True), methods=["GET"]),
        Route("/_archipel/outbox", framed(read_outbox, platform=True), methods=["GET"]),
        Route("/_archipel/events", framed(take_event, platform=True), methods=["POST"]),
    ])
