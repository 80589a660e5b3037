"""HTTP: the merchant's API at the root, the card holder's pages below the public prefix."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import VERSION, db, pages
from .provider import AMOUNT_MAX, Created, Provider, Refused
from .webhooks import Webhooks

BODY_MAX = 256 * 1024
CONNECTIONS_MAX = 128
IDLE_S = 75
CURRENCIES = ("EUR",)
KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
REF = re.compile(r"[A-Za-z0-9_:.-]{1,80}\Z")

log = logging.getLogger("http")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], provider: Provider, webhooks: Webhooks | None,
                 prefix: str, token: str | None) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.provider, self.webhooks, self.prefix, self.token = provider, webhooks, prefix, token
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._idle = threading.Condition()
        self._running = 0
        self.stopping = False
        super().__init__(address, Handler)

    # One thread a connection is simple; the semaphore keeps it bounded: the rest waits in the backlog.
    def process_request(self, request: Any, client_address: Any) -> None:
        self._room.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection ended badly", exc_info=True)

    def enter(self) -> None:
        with self._idle:
            self._running += 1

    def leave(self) -> None:
        with self._idle:
            self._running -= 1
            self._idle.notify_all()

    def drain(self, seconds: float) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, timeout=seconds)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "psp-sim"
    sys_version = ""
    timeout = IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one segment

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        self.server.enter()
        try:
            self._body = self._read_body()
            url = urlsplit(self.path)
            self._query = {k: v[0] for k, v in parse_qs(url.query, max_num_fields=50).items()}
            self._route(method, url.path)
        except Refused as refused:
            self._refuse(refused)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        except Exception:
            log.exception("%s %s failed", method, self.path)
            self._refuse(Refused(500, "internal", "the provider failed; ask again with the same key"))
        finally:
            self.server.leave()

    def _route(self, method: str, path: str) -> None:
        prefix = self.server.prefix
        if path.startswith(prefix + "/"):
            if pages.serve(self, method, path[len(prefix):]):
                return
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "healthz") | ("GET", "readyz"):
                if parts[0] == "readyz":
                    self.server.provider.accounts()
                self.answer(200, {"status": "ok"})
            case ("GET", "_archipel", "info"):
                if self.server.token and self.headers.get("dapr-api-token") != self.server.token:
                    raise Refused(401, "unauthorised", "dapr-api-token is missing or wrong")
                self.answer(200, {"name": "psp-sim", "version": VERSION, "schema_version": db.SCHEMA_VERSION})
            case ("POST", "v1", "payment_intents"):
                self._create()
            case ("GET", "v1", "payment_intents"):
                self._find_intents()
            case ("GET", "v1", "payment_intents", ref):
                self.answer(200, self.server.provider.intent(ref))
            case ("POST", "v1", "payment_intents", ref, "capture"):
                self._no_members()
                self.answer(200, *self.server.provider.capture(self._key(), ref))
            case ("POST", "v1", "payment_intents", ref, "cancel"):
                self._no_members()
                self.answer(200, *self.server.provider.cancel(self._key(), ref))
            case ("POST", "v1", "refunds"):
                body = self._members({"intent": str, "amount_minor": int})
                if not REF.match(body["intent"]):
                    raise Refused(404, "not_found", "no such payment intent")
                self.answer(200, *self.server.provider.refund(self._key(), body["intent"], _amount(body)))
            case ("GET", "v1", "refunds"):
                self.answer(200, self.server.provider.refund_by_key(self._wanted("idempotency_key")))
            case ("GET", "v1", "accounts"):
                rows = self.server.provider.accounts()
                self.answer(200, {"items": rows, "initial_minor": sum(r["initial_minor"] for r in rows),
                                  "balance_minor": sum(r["balance_minor"] for r in rows)})
            case _:
                raise Refused(404, "not_found", f"{method} {path} is not here")

    # ---- the merchant's API ---------------------------------------------------------------

    def _create(self) -> None:
        key = self._key()
        body = self._members({"amount_minor": int, "currency": str, "order_ref": str, "method_token": str},
                             {"capture_method": str, "return_url": str})
        _amount(body)
        if body["currency"] not in CURRENCIES:
            raise Refused(400, "currency_unknown", f"this provider settles in {', '.join(CURRENCIES)}")
        if body.setdefault("capture_method", "manual") != "manual":
            raise Refused(400, "parameter_invalid", "capture_method can only be manual")
        if not REF.match(body["order_ref"]):
            raise Refused(400, "parameter_invalid", "order_ref: 1 to 80 letters, digits, _ : . -")
        if body.get("return_url") is not None and not pages.return_url_ok(body["return_url"]):
            raise Refused(400, "parameter_invalid", "return_url: an http(s) address or a path")
        created = self.server.provider.create(key, body)
        if not created.replayed:
            self._misbehave(created)
            if self.close_connection:
                return
        intent = self.server.provider.intent(created.intent["id"])
        if intent["status"] == "requires_payment_method":
            raise Refused(402, "card_declined", "the card was declined", intent=intent, replayed=created.replayed,
                          decline_code=intent["decline_code"])
        self.answer(201, intent, created.replayed)

    def _misbehave(self, created: Created) -> None:
        match created.behaviour:
            case "drop":
                # The money is held and committed; the merchant will never read this answer.
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            case "webhook_first" if self.server.webhooks is not None and created.webhook is not None:
                self.server.webhooks.deliver_now(created.webhook)
            case "slow":
                self.server.provider.wait_decided(created.intent["id"], lambda: self.server.stopping)

    def _find_intents(self) -> None:
        if "order_ref" in self._query:
            self.answer(200, {"items": self.server.provider.intents_of(self._query["order_ref"])})
        else:
            self.answer(200, self.server.provider.intent_by_key(self._wanted("idempotency_key")))

    # ---- plumbing -------------------------------------------------------------------------

    def _read_body(self) -> bytes:
        if "transfer-encoding" in self.headers:
            self.close_connection = True
            raise Refused(411, "length_required", "send a Content-Length")
        text = self.headers.get("content-length", "0")
        if not text.isdecimal() or len(text) > 12:
            self.close_connection = True
            raise Refused(400, "parameter_invalid", "Content-Length is not a number")
        if int(text) > BODY_MAX:
            self.close_connection = True
            raise Refused(413, "too_large", f"a body has at most {BODY_MAX} bytes")
        return self.rfile.read(int(text))

    def _json(self) -> dict[str, Any]:
        try:
            body = json.loads(self._body or b"{}")
        except (ValueError, RecursionError):
            raise Refused(400, "parameter_invalid", "the body is not JSON") from None
        if not isinstance(body, dict):
            raise Refused(400, "parameter_invalid", "the body is not a JSON object")
        return body

    def _members(self, wanted: dict[str, type], optional: dict[str, type] | None = None) -> dict[str, Any]:
        body = {name: value for name, value in self._json().items() if value is not None}
        kinds = wanted | (optional or {})
        for name, value in body.items():
            if name not in kinds:
                raise Refused(400, "parameter_unknown", f"{name} is not a member of this request")
            # bool is an int in Python, and true is no amount.
            if not isinstance(value, kinds[name]) or isinstance(value, bool):
                raise Refused(400, "parameter_invalid", f"{name} is not of type {kinds[name].__name__}")
            if isinstance(value, str) and len(value) > 2048:
                raise Refused(400, "parameter_invalid", f"{name} is too long")
        for name in wanted:
            if name not in body:
                raise Refused(400, "parameter_missing", f"{name} is missing")
        return body

    def _no_members(self) -> None:
        self._members({})

    def _key(self) -> str:
        key = self.headers.get("idempotency-key", "")
        if not key:
            raise Refused(400, "idempotency_key_missing", "this request needs an Idempotency-Key")
        if not KEY.match(key):
            raise Refused(400, "parameter_invalid", "Idempotency-Key: 1 to 255 visible characters")
        return key

    def _wanted(self, name: str) -> str:
        if not self._query.get(name):
            raise Refused(400, "parameter_missing", f"the query needs {name}")
        return self._query[name]

    def form(self) -> dict[str, str]:
        try:
            text = self._body.decode()
            return {k: v[0] for k, v in parse_qs(text, max_num_fields=50, keep_blank_values=True).items()}
        except ValueError:
            raise Refused(400, "parameter_invalid", "the form could not be read") from None

    @property
    def query(self) -> dict[str, str]:
        return self._query

    def answer(self, status: int, body: dict[str, Any], replayed: bool = False) -> None:
        headers = {"idempotency-replayed": "true"} if replayed else {}
        self.send(status, "application/json", json.dumps(body, separators=(",", ":")).encode(), headers)

    def send(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        if body or kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection or self.server.stopping:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _refuse(self, refused: Refused) -> None:
        more = dict(refused.more)
        replayed = more.pop("replayed", False)
        intent = more.pop("intent", None)
        body: dict[str, Any] = {"error": {"code": refused.code, "message": refused.message, **more}}
        if intent is not None:
            body["intent"] = intent
        try:
            self.answer(refused.status, body, replayed)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        # The parent class logs every request; a merchant's traffic is not news.
        log.debug(format, *args)


def _amount(body: dict[str, Any]) -> int:
    amount = body["amount_minor"]
    if not 0 < amount <= AMOUNT_MAX:
        raise Refused(400, "amount_invalid", f"amount_minor: 1 to {AMOUNT_MAX}")
    return amount
