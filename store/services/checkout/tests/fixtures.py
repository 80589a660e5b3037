"""The service as a process, and small fakes of the four services that it calls."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

from .kit.spec import Spec

ROOT = Path(__file__).parent.parent
TOKEN = "a token of the tests"
SPEC = Spec(ROOT)
ADDRESS = {"name": "Ana Example", "line1": "1 Quay Street", "postcode": "75001", "city": "Paris", "country": "FR"}


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


def euros(amount: int) -> dict[str, Any]:
    return {"amount_minor": amount, "currency": "EUR"}


def eventually(what: Callable[[], Any], why: str = "", seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {why or 'the condition'}; last seen: {value!r}")
        time.sleep(0.01)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json.get("code", "")


def call(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=45)
    try:
        raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, raw, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Fake:
    """A service that answers what `answer(method, path, body)` says: (status, json), None hangs up."""

    def __init__(self, answer: Callable[[str, str, Any], tuple[int, Any] | None]) -> None:
        self.answer, self.away, self.hang_up = answer, False, False
        self.seen: list[tuple[str, str, Any, dict[str, str]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                body = json.loads(raw) if raw else None
                fake.seen.append((self.command, self.path, body, dict(self.headers)))
                answer = None if fake.away else fake.answer(self.command, self.path, body)
                if answer is None:
                    self.close_connection = True
                    return
                out = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)
                # Without a word: the caller thinks that it may use the connection again.
                self.close_connection = fake.hang_up

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Town:
    """Cart, catalog, warehouse and orders, as much of them as checkout can see."""

    def __init__(self) -> None:
        self.prices = {"lamp-blue": 4990, "rope-10m": 1295, "mug": 350}
        self.carts: dict[str, dict[str, Any]] = {}
        self.orders: dict[str, Any] = {}
        self.orders_say: Callable[[Any], tuple[int, Any] | None] | None = None
        self.cart = Fake(self._cart)
        self.catalog = Fake(self._catalog)
        self.warehouse = Fake(self._warehouse)
        self.order_service = Fake(self._orders)
        self.all = (self.cart, self.catalog, self.warehouse, self.order_service)

    def env(self) -> dict[str, str]:
        return {"CART_URL": self.cart.url, "CATALOG_URL": self.catalog.url, "WAREHOUSE_URL": self.warehouse.url,
                "ORDERS_URL": self.order_service.url}

    def heal(self) -> None:
        for fake in self.all:
            fake.away = fake.hang_up = False
        self.orders_say = None

    def close(self) -> None:
        for fake in self.all:
            fake.close()

    def new_cart(self, lines: dict[str, int] | None = None, **more: Any) -> str:
        cart = new_id("crt")
        quantities = lines if lines is not None else {"lamp-blue": 1, "rope-10m": 2}
        self.carts[cart] = {"id": cart, "owner": None, "state": "OPEN", "version": 3, "currency": "EUR", "lines": [
            {"sku": sku, "qty": qty, "seen_price": euros(self.prices.get(sku, 1))} for sku, qty in quantities.items()]} | more
        return cart

    def _cart(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        cart = self.carts.get(path.rsplit("/", 1)[1])
        return (200, cart) if cart else (404, {"code": "not-found"})

    def _catalog(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        unknown = [i for i, line in enumerate(body["lines"]) if line["sku"] not in self.prices]
        if unknown:
            return 422, {"code": "validation", "errors": [{"pointer": f"/lines/{i}/sku", "detail": "unknown"} for i in unknown]}
        return 200, {"lines": [line | {"title": line["sku"].title(), "slug": line["sku"], "image": "/media/x.svg",
                                       "unit": euros(self.prices[line["sku"]]), "price_version": 1, "weight_g": 400}
                               for line in body["lines"]]}

    def _warehouse(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        far = {"FR": 0, "DE": 200, "GB": 500, "US": 1500}[body["country"]] + body["weight_g"] // 1000 * 100
        return 200, {"options": [
            {"id": "standard", "label": "Standard", "amount": euros(490 + far), "days_min": 2, "days_max": 4},
            {"id": "express", "label": "Express", "amount": euros(990 + far), "days_min": 1, "days_max": 1}]}

    def _orders(self, method: str, path: str, body: Any) -> tuple[int, Any] | None:
        if self.orders_say is not None:
            return self.orders_say(body)
        known = self.orders.setdefault(body["order_id"], body)
        if known != body:
            return 409, {"code": "order-differs"}
        return 201, {"order_id": body["order_id"], "status": "RECEIVED"}


class Checkout:
    """The service in a process of its own, on a database that outlives it."""

    def __init__(self, town: Town, **env: str) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="checkout-")
        self.database = f"{self._dir.name}/checkout.db"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._env = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(self.port), "APP_API_TOKEN": TOKEN,
                     "DATABASE_URL": f"sqlite:///{self.database}", **town.env(), **env}
        self.start()

    def start(self, file_limit_kib: int | None = None) -> None:
        """With a limit on files, which is how a full disk looks to one process."""
        limit = f"ulimit -f {file_limit_kib * 2}; " if file_limit_kib else ""
        self.process = subprocess.Popen(["/bin/sh", "-c", f'{limit}exec "{sys.executable}" -m checkout'], cwd=ROOT,
                                        env=self._env, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if re.search(r"listening on", line) is None:
            raise AssertionError(f"checkout did not start: {line}{self.process.stdout.read()}")
        self.log = [line]
        threading.Thread(target=self._read_log, args=(self.process.stdout,), daemon=True).start()
        eventually(self._answers, "it listens")

    def _read_log(self, out: Any) -> None:
        with out:
            self.log.extend(out)

    def _answers(self) -> bool:
        try:
            return call(self.port, "GET", "/readyz").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._dir.cleanup()

    # ---- requests, each held against openapi.yaml ------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        answer = call(self.port, method, path, body, headers)
        SPEC.check_answer(method, path, answer.status, answer.headers.get("content-type", ""), answer.body)
        return answer

    def create(self, cart: str, customer: str | None = None) -> Answer:
        return self.send("POST", "/v1/checkouts", {"cart_id": cart, "customer_id": customer or new_id("cus")})

    def show(self, checkout: str) -> Any:
        return self.send("GET", f"/v1/checkouts/{checkout}").json

    def patch(self, checkout: str, **members: Any) -> Answer:
        return self.send("PATCH", f"/v1/checkouts/{checkout}", members)

    def quote(self, checkout: str) -> Answer:
        return self.send("POST", f"/v1/checkouts/{checkout}/quote")

    def submit(self, checkout: str, quote_hash: str, key: str | None = None, **headers: str) -> Answer:
        return self.send("POST", f"/v1/checkouts/{checkout}/submit", {"quote_hash": quote_hash},
                         {"idempotency-key": key or f"{checkout}:{quote_hash}", **headers})

    def event(self, event: Any) -> Answer:
        return self.send("POST", "/_archipel/events", event, {"dapr-api-token": TOKEN})

    def outbox(self, after: int = 0, limit: int = 1000, wait_ms: int = 0) -> Any:
        answer = self.send("GET", f"/_archipel/outbox?after={after}&limit={limit}&wait_ms={wait_ms}",
                           headers={"dapr-api-token": TOKEN})
        for entry in answer.json["events"]:
            SPEC.check_event(entry["topic"], entry["event"]["data"])
        return answer.json

    def complete(self, cart: str, country: str = "FR", customer: str | None = None) -> tuple[str, Any]:
        """A checkout with everything chosen and a quote."""
        checkout = self.create(cart, customer).json["id"]
        self.patch(checkout, address=ADDRESS | {"country": country}, shipping_option="standard", payment_token="tok_ok_x")
        return checkout, self.quote(checkout).json


class WithTown(unittest.TestCase):
    """One service and one town for all tests of a class; every test finds the town healthy."""

    ENV: dict[str, str] = {}

    @classmethod
    def setUpClass(cls) -> None:
        cls.town = Town()
        cls.checkout = Checkout(cls.town, **cls.ENV)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.checkout.close()
        cls.town.close()

    def setUp(self) -> None:
        self.town.heal()
