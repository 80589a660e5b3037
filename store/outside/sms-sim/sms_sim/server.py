"""The HTTP side: a small API for the store, a page for people."""

from __future__ import annotations

import hmac
import json
import logging
import re
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from . import VERSION, page
from .book import SCHEMA_VERSION, Book, KeyReused, Sms

log = logging.getLogger("sms-sim")

BODY_MAX = 256 * 1024
CONNECTIONS_MAX = 64
NUMBER = re.compile(r"\+?[0-9][0-9 ().-]{2,30}")
TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
ASSETS = {"/phone.css": "text/css; charset=utf-8", "/phone.js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True)
class Settings:
    prefix: str
    sender: str
    token: str


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    def __init__(self, status: int, code: str, detail: str, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.pointer = status, code, detail, pointer

    def answer(self, traceparent: str) -> Answer:
        problem: dict[str, object] = {
            "type": f"urn:store:problem:{self.code}", "title": HTTPStatus(self.status).phrase, "status": self.status,
            "detail": self.detail, "code": self.code, "retryable": self.status >= 500}
        if trace := TRACE.fullmatch(traceparent):
            problem["trace_id"] = trace[1]
        if self.pointer is not None:
            problem["errors"] = [{"pointer": self.pointer, "detail": self.detail}]
        return Answer(self.status, json.dumps(problem).encode(), "application/problem+json")


class Server(ThreadingHTTPServer):
    """One thread a connection, and at most so many connections: the next ones wait in the backlog."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], book: Book, settings: Settings) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)
        self.book, self.settings = book, settings
        self.assets = {name: (Path(__file__).parent / name[1:]).read_bytes() for name in ASSETS}
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._busy = 0
        self._idle = threading.Condition()
        self.stopping = False

    def server_bind(self) -> None:
        # The base class asks the name service for our own name, which nobody needs.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request, client_address) -> None:  # noqa: ANN001 - as in the base class
        while not self._free.acquire(timeout=0.5):
            if self.stopping:
                return self.shutdown_request(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address) -> None:  # noqa: ANN001
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request, client_address) -> None:  # noqa: ANN001
        log.exception("a connection failed")

    def begin(self) -> None:
        with self._idle:
            self._busy += 1

    def end(self) -> None:
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    def drain(self, seconds: float) -> None:
        """Waits for the requests under way."""
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, timeout=seconds)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = f"sms-sim/{VERSION}"
    sys_version = ""
    timeout = 75  # of an idle or stalled connection
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class cannot read at all."""
        self.close_connection = True
        self.request_version = "HTTP/1.1"  # what was understood as 0.9 would be answered without a status
        self._write(Refusal(code, "validation", message or "this is not a request that can be understood").answer(""))

    def _serve(self, method: str) -> None:
        self.server.begin()
        try:
            traceparent = self.headers.get("traceparent", "")
            try:
                answer = self._route(method, target(self.path))
            except Refusal as refusal:
                answer = refusal.answer(traceparent)
            except (ConnectionError, TimeoutError):
                self.close_connection = True
                return
            except Exception:
                log.exception("a request failed")
                answer = Refusal(500, "internal", "the request failed here; it is safe to repeat it").answer(traceparent)
            self._write(answer)
        finally:
            self.server.end()

    def _route(self, method: str, url: SplitResult) -> Answer:
        settings = self.server.settings
        body = self._body() if method == "POST" else b""
        path = url.path
        match (method, path):
            case ("GET", "/healthz"):
                return as_json(200, {"status": "ok"})
            case ("GET", "/readyz"):
                if not self.server.book.answers():
                    raise Refusal(503, "dependency-unavailable", "the database does not answer")
                return as_json(200, {"status": "ok"})
            case ("GET", "/_archipel/info"):
                if settings.token and not hmac.compare_digest(settings.token.encode(), self.headers.get("dapr-api-token", "").encode()):
                    raise Refusal(401, "unauthorised", "this path wants the platform's token")
                return as_json(200, {"name": "sms-sim", "version": VERSION, "schema_version": SCHEMA_VERSION})
            case ("POST", "/v1/messages"):
                return self._accept(body)
            case ("GET", "/v1/messages"):
                return self._list(url.query)
        # Pages answer below the prefix, and at the root for a gateway that strips it.
        inner = path.removeprefix(settings.prefix) if path.startswith(settings.prefix + "/") else path
        if method == "GET" and settings.prefix and path == settings.prefix:
            return Answer(308, headers={"Location": settings.prefix + "/" + (f"?{url.query}" if url.query else "")})
        if method == "GET" and inner == "/":
            return self._page(url.query)
        if method == "GET" and inner in ASSETS:
            return Answer(200, self.server.assets[inner], ASSETS[inner], {"Cache-Control": "no-cache", **safe_headers()})
        raise Refusal(404, "not-found", f"there is nothing at {path[:200]} for {method}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise Refusal(411, "validation", "send the body with its Content-Length")
        length = self.headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdecimal():
            self.close_connection = True
            raise Refusal(422, "validation", "the Content-Length is not a number")
        if int(length) > BODY_MAX:
            self.close_connection = True
            raise Refusal(413, "too-large", f"a body may have at most {BODY_MAX} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the body did not arrive whole")
        return body

    def _accept(self, body: bytes) -> Answer:
        key = self.headers.get("Idempotency-Key", "")
        if not 0 < len(key) <= 255:
            raise Refusal(400, "idempotency-key-missing",
                          "send the header Idempotency-Key of at most 255 characters, the same one on every try")
        given = command(body)
        try:
            sms, fresh = self.server.book.accept(key, given["to"], given["body"], given["order_ref"], given["template"])
        except KeyReused:
            raise Refusal(422, "idempotency-key-reused", "this key came before with another text") from None
        if fresh:
            log.info("accepted", extra={"fields": {"order_id": sms.order_ref, "template": sms.template}})
        return Answer(202, json.dumps({"id": sms.id}).encode(),
                      headers={} if fresh else {"Idempotency-Replayed": "true"})

    def _list(self, query: str) -> Answer:
        texts = self.server.book.newest(one(query, "order"), 500)
        return as_json(200, {"items": [shown(text) for text in texts]})

    def _page(self, query: str) -> Answer:
        settings, order = self.server.settings, one(query, "order")
        texts = self.server.book.newest(order, 100)
        body = page.render(texts, order, one(query, "still") is not None, settings.prefix, settings.sender).encode()
        etag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": page.POLICY, **safe_headers()}
        if self.headers.get("If-None-Match") == etag:
            return Answer(304, headers=headers)
        return Answer(200, body, "text/html; charset=utf-8", headers)

    def _write(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            if answer.body:
                self.send_header("Content-Type", answer.type)
            self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection or self.server.stopping:
            self.close_connection = True
            self.send_header("Connection", "close")
        if getattr(self, "command", None) != "HEAD":  # headers and body leave in one packet
            self._headers_buffer.append(b"\r\n" + answer.body)
            self.flush_headers()
        else:
            self.end_headers()


def command(body: bytes) -> dict[str, str]:
    """The text of a request, checked."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(422, "validation", "the body is not JSON") from None
    if not isinstance(given, dict):
        raise Refusal(422, "validation", "expected an object")
    most = {"to": 32, "body": 1600, "order_ref": 64, "template": 64}
    for name in given:
        if name not in most:
            raise Refusal(422, "validation", "there is no such member here", f"/{name[:64]}")
    for name, length in most.items():
        value = given.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= length or not encodable(value):
            raise Refusal(422, "validation", f"expected 1 to {length} characters", f"/{name}")
    if not NUMBER.fullmatch(given["to"]):
        raise Refusal(422, "validation", "this is not a telephone number", "/to")
    return given


def encodable(text: str) -> bool:
    """JSON can carry half a surrogate pair, which no file and no telephone can."""
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False


def target(path: str) -> SplitResult:
    try:
        return urlsplit(path)
    except ValueError:
        raise Refusal(404, "not-found", "this is not an address") from None


def one(query: str, name: str) -> str | None:
    try:
        values = parse_qs(query, max_num_fields=20).get(name)
    except ValueError:
        raise Refusal(422, "validation", "the query has too many members") from None
    value = values[0][:64] if values else None
    return value if value and encodable(value) else None


def shown(text: Sms) -> dict[str, str]:
    return {"id": text.id, "to": text.to, "body": text.body, "order_ref": text.order_ref,
            "template": text.template, "accepted_at": text.accepted_at}


def as_json(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())


def safe_headers() -> dict[str, str]:
    return {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
