"""The simulator as a process, a merchant that receives its webhooks, and a small HTTP client."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).parent.parent
SECRET = "a secret of the tests"


def eventually(what: Callable[[], Any], seconds: float = 10) -> Any:
    """Polls until `what` is true; reports the last value otherwise."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s; last seen: {value!r}")
        time.sleep(0.01)


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
         timeout: float = 10) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, raw, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Merchant:
    """Takes webhooks, checks the signature with code of its own, refuses the first `refuse`."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.refuse = 0
        merchant = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                at, mac = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", self.headers["psp-signature"]).groups()
                wanted = hmac.new(SECRET.encode(), f"{at}.".encode() + raw, hashlib.sha256).hexdigest()
                genuine = wanted == mac and abs(time.time() - int(at)) < 60
                if merchant.refuse > 0:
                    merchant.refuse -= 1
                    self.send_response(500)
                else:
                    if genuine:
                        merchant.seen.append(json.loads(raw))
                    self.send_response(200 if genuine else 400)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/webhooks/psp"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Sim:
    """psp-sim in a process of its own, on a database that outlives it."""

    def __init__(self, **env: str) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="psp-sim-")
        self.database = f"{self._dir.name}/psp.db"
        self._env = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": "0", "PSP_WEBHOOK_SECRET": SECRET,
                     "DATABASE_URL": f"sqlite:///{self.database}", "PUBLIC_PREFIX": "/psp", **env}
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "psp_sim"], cwd=ROOT, env=self._env,
                                         stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        found = re.search(r"http://[^:]+:(\d+)", line)
        if found is None:
            raise AssertionError(f"psp-sim did not start: {line}{self._process.stdout.read()}")
        self.port = int(found.group(1))

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def terminate(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        code = self._process.wait(timeout=10)
        self._process.stdout.close()
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self._dir.cleanup()

    def get(self, path: str) -> Answer:
        return call(self.port, "GET", path)

    def post(self, path: str, key: str, body: Any = None, timeout: float = 10) -> Answer:
        return call(self.port, "POST", path, body if body is not None else {}, {"idempotency-key": key}, timeout)

    def pay(self, key: str, token: str, order: str = "ord_1", amount: int = 1000, **more: Any) -> Answer:
        return self.post("/v1/payment_intents", key, {"amount_minor": amount, "currency": "EUR", "order_ref": order,
                                                      "method_token": token, "capture_method": "manual", **more})
