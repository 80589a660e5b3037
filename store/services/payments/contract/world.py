"""The surroundings of a payments service under test: the provider, and a malicious wire on both sides.

    payments --[wire]--> psp-sim            requests of the service may be lost, late, doubled, cut, dripped
    psp-sim --[webhook wire]--> payments    webhooks may be swallowed, doubled, held back and reordered

With `--base-url` the service runs elsewhere: there is no wire then, and what needs one is skipped.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

from .spec import Spec

HERE = Path(__file__).parent
SECRET = "a secret of the contract suite"
TOKEN = "a token of the contract suite"


@dataclass
class Settings:
    """What the command line says; see `__main__`."""

    command: str = ('java -Dsun.net.httpserver.nodelay=true -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms12m -Xmx96m'
                    ' -cp "target/payments.jar:target/lib/*" store.payments.Main')
    folder: Path = HERE.parent
    psp_folder: Path = HERE.parent.parent.parent / "outside" / "psp-sim"
    spec_folder: Path = HERE.parent
    base_url: str | None = None
    psp_url: str | None = None
    webhook_secret: str = SECRET
    api_token: str = TOKEN
    seeds: list[int] = field(default_factory=lambda: [1, 2])
    orders: int = 60
    keep_logs: bool = False


settings = Settings()


@functools.cache
def spec() -> Spec:
    return Spec(settings.spec_folder)


@functools.cache
def psp_spec() -> Spec:
    return Spec(settings.psp_folder)


def eventually(what: Callable[[], Any], why: str = "", seconds: float = 20) -> Any:
    """Polls until `what()` is true; says what it saw last otherwise."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {why or 'the condition'}; last seen: {value!r}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_order() -> str:
    return f"ord_{uuid.uuid4().hex}"


# ---- HTTP ----------------------------------------------------------------------------------------


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

    @property
    def certain(self) -> bool:
        """An end: asking again with the same key would tell the same."""
        return self.status not in (202, 500, 503, 507) and self.code != "request-in-progress"


def call(base: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
         timeout: float = 15) -> Answer:
    parts = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        extra = {"content-type": "application/json"} if raw is not None else {}
        connection.request(method, path, raw, extra | (headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Payments:
    """A client that holds every answer against the OpenAPI file."""

    def __init__(self, base: str) -> None:
        self.base = base

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
             timeout: float = 15) -> Answer:
        answer = call(self.base, method, path, body, headers, timeout)
        spec().check_answer(method, path, answer.status, answer.headers.get("content-type", ""), answer.body)
        return answer

    def command(self, path: str, key: str, body: Any = None, **more: Any) -> Answer:
        return self.send("POST", path, body, {"idempotency-key": key, **more.pop("headers", {})}, **more)

    def authorise(self, order: str, token: str = "tok_ok", attempt: int = 1, amount: int = 1299,
                  key: str | None = None, **more: Any) -> Answer:
        body = {"order_id": order, "attempt": attempt, "amount": euros(amount), "method_token": token,
                "capture": "manual", **more.pop("extra", {})}
        return self.command("/v1/payments", key or f"{order}:auth:{attempt}", body, **more)

    def capture(self, order: str, key: str | None = None, **more: Any) -> Answer:
        return self.command(f"/v1/orders/{order}/payment/capture", key or f"{order}:capture:1", {}, **more)

    def void(self, order: str, key: str | None = None, **more: Any) -> Answer:
        return self.command(f"/v1/orders/{order}/payment/void", key or f"{order}:void:1", {}, **more)

    def refund(self, order: str, amount: int, key: str | None = None, **more: Any) -> Answer:
        return self.command(f"/v1/orders/{order}/payment/refunds", key or f"{order}:refund:1",
                            {"amount": euros(amount)}, **more)

    def of_order(self, order: str) -> Any:
        answer = self.send("GET", f"/v1/orders/{order}/payment")
        return answer.json if answer.status == 200 else None

    def state(self, order: str) -> str | None:
        payment = self.of_order(order)
        return payment and payment["state"]

    def outbox(self, after: int = 0, limit: int = 1000, wait_ms: int = 0) -> Any:
        answer = self.send("GET", f"/_archipel/outbox?after={after}&limit={limit}&wait_ms={wait_ms}",
                           headers={"dapr-api-token": settings.api_token}, timeout=45)
        if answer.status != 200:
            raise AssertionError(f"outbox: {answer}")
        for entry in answer.json["events"]:
            spec().check_event(entry["topic"], entry["event"]["data"])
            if entry["event"]["type"] != f"store.{entry['topic']}.v1":
                raise AssertionError(f"type and topic disagree: {entry}")
        return answer.json

    def events(self, order: str | None = None) -> list[dict[str, Any]]:
        """All facts, or those of one order, oldest first; sequence numbers must rise."""
        found, after = [], 0
        while page := self.outbox(after)["events"]:
            for entry in page:
                if entry["seq"] <= after:
                    raise AssertionError(f"seq does not rise after {after}: {entry['seq']}")
                after = entry["seq"]
                if order is None or entry["event"]["subject"] == order:
                    found.append({"topic": entry["topic"], "event": entry["event"], **entry["event"]["data"]})
        return found

    def topics(self, order: str) -> list[str]:
        return [event["topic"].removeprefix("payment.") for event in self.events(order)]


def euros(amount: int) -> dict[str, Any]:
    return {"amount_minor": amount, "currency": "EUR"}


# ---- the wire ------------------------------------------------------------------------------------

# What may happen to one request on its way; see Wire._act.
LOUD = ("lost", "cut", "late", "error", "error_after", "slow", "drip")


class Wire:
    """An HTTP relay with a policy: `policy(method, path)` names the action, or is a function to run.

    A function gets a callable that forwards the request and returns the answer; whatever it returns is
    sent back, None closes the connection.
    """

    def __init__(self, target: Callable[[], str], spec: Spec | None = None) -> None:
        self.target, self.spec = target, spec
        self.strange: list[str] = []
        self.policy: Callable[[str, str], Any] = lambda method, path: "pass"
        self.slow_s = 1.5
        self.log: list[tuple[str, str, str]] = []
        self._timers: list[threading.Timer] = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            timeout = 60
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                wire._relay(self)

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

    def calm(self) -> None:
        self.policy = lambda method, path: "pass"

    def always(self, action: Any, method: str = "POST", part: str = "") -> None:
        self.policy = lambda m, p: action if m == method and part in p else "pass"

    def once(self, action: Any, method: str = "POST", part: str = "") -> None:
        """The next request that fits meets `action`; everything else passes."""
        left, lock = [action], threading.Lock()

        def policy(m: str, p: str) -> Any:
            with lock:
                return left.pop() if left and m == method and part in p else "pass"
        self.policy = policy

    def wait_for_stragglers(self) -> None:
        for timer in self._timers:
            timer.join(timeout=30)
        self._timers.clear()

    def close(self) -> None:
        self.wait_for_stragglers()
        self._server.shutdown()
        self._server.server_close()

    def _relay(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        skip = ("host", "connection", "content-length", "expect")
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in skip}

        def forward() -> Answer | None:
            try:
                answer = call(self.target(), handler.command, handler.path, raw or None, headers, timeout=40)
            except (OSError, http.client.HTTPException):
                return None
            if self.spec is not None:
                try:
                    self.spec.check_answer(handler.command, handler.path, answer.status,
                                           answer.headers.get("content-type", ""), answer.body)
                except AssertionError as error:
                    self.strange.append(str(error))
            return answer

        action = self.policy(handler.command, handler.path)
        self.log.append((handler.command, handler.path, action if isinstance(action, str) else "function"))
        answer = action(forward) if callable(action) else self._act(action, forward)
        if answer is None:
            handler.close_connection = True
            return
        try:
            self._send(handler, answer, drip=action == "drip")
        except OSError:
            handler.close_connection = True

    def _act(self, action: str, forward: Callable[[], Answer | None]) -> Answer | None:
        match action:
            case "pass" | "drip":
                return forward()
            case "lost":  # never arrives
                return None
            case "cut":  # arrives, the answer does not
                forward()
                return None
            case "late":  # arrives long after the sender has given up
                self._later(0.05 + random.random() * 0.5, forward)
                return None
            case "twice":
                forward()
                return forward()
            case "error":
                return Answer(503, {"content-type": "text/plain"}, b"no upstream")
            case "error_after":
                forward()
                return Answer(500, {"content-type": "text/plain"}, b"upstream broke")
            case "slow":
                answer = forward()
                time.sleep(self.slow_s)
                return answer
            case "swallow":  # the sender believes it has arrived
                return Answer(200, {}, b"{}")
            case "hold":  # so here, but it does arrive, after others
                self._later(random.random() * 0.4, forward)
                return Answer(200, {}, b"{}")
        raise ValueError(action)

    def _later(self, seconds: float, forward: Callable[[], Any]) -> None:
        timer = threading.Timer(seconds, forward)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, answer: Answer, drip: bool) -> None:
        handler.send_response(answer.status)
        handler.send_header("content-type", answer.headers.get("content-type", "application/json"))
        handler.send_header("content-length", str(len(answer.body)))
        handler.end_headers()
        for i in range(0, len(answer.body), 1) if drip else [slice(None)]:
            handler.wfile.write(answer.body[i:i + 1] if drip else answer.body)
            handler.wfile.flush()
            if drip:
                time.sleep(0.02)


# ---- processes -----------------------------------------------------------------------------------


class Process:
    """A program that is started, killed and started again on the same port and database."""

    def __init__(self, name: str, command: str, folder: Path, port: int, env: dict[str, str], log: Path) -> None:
        self.name, self.command, self.folder, self.port, self.log = name, command, folder, port, log
        self.base = f"http://127.0.0.1:{port}"
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "JAVA_HOME", "LANG", "TMPDIR")}
        # At most so many KiB in any file: how a full disk looks to one process.
        self.file_limit_kib: int | None = None
        self.env = keep | {"HOST": "127.0.0.1", "PORT": str(port)} | env
        self.lock = threading.RLock()
        self.start()

    def start(self) -> None:
        with self.lock:
            # ulimit counts in blocks of 512 bytes.
            limit = f"ulimit -f {self.file_limit_kib * 2}; " if self.file_limit_kib else ""
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(["/bin/sh", "-c", limit + "exec " + self.command], cwd=self.folder, env=self.env,
                                                stdout=log, stderr=subprocess.STDOUT)
            eventually(self._ready, f"{self.name} is ready; its log is {self.log}", 60)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        try:
            return call(self.base, "GET", "/readyz", timeout=1).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self) -> None:
        """kill -9: no shutdown hook, no flush, nothing."""
        with self.lock:
            self.process.kill()
            self.process.wait()

    def terminate(self, seconds: float = 10) -> int:
        with self.lock:
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(timeout=seconds)

    def close(self) -> None:
        with self.lock:
            if self.process.poll() is None:
                self.kill()


class World:
    """One payments service with its provider. Use as a context; `settings` says whose it is."""

    def __init__(self, **env: str) -> None:
        self.own = settings.base_url is None
        self._dir = tempfile.TemporaryDirectory(prefix="payments-contract-")
        self.deaths = 0
        if not self.own:
            self.payments, self.psp = Payments(settings.base_url), settings.psp_url
            return
        folder, port = Path(self._dir.name), free_port()
        self.service: Process | None = None
        self.webhook_wire = Wire(lambda: f"http://127.0.0.1:{port}")
        self.psp_process = Process(
            "psp-sim", f"{shlex.quote(sys.executable)} -m psp_sim", settings.psp_folder, free_port(),
            {"DATABASE_URL": f"sqlite:///{folder}/psp.db", "PSP_WEBHOOK_SECRET": settings.webhook_secret,
             "WEBHOOK_URL": self.webhook_wire.url + "/v1/webhooks/psp", "PUBLIC_PREFIX": "/psp",
             "SLOW_MS": "1500", "AUTH_EXPIRES_MS": "300"}, folder / "psp.log")
        self.psp = self.psp_process.base
        self.wire = Wire(lambda: self.psp, psp_spec())
        self.database = folder / "payments.db"
        self.service = Process(
            "payments", settings.command, settings.folder, port,
            {"DATABASE_URL": f"sqlite:///{self.database}", "PSP_URL": self.wire.url,
             "PSP_WEBHOOK_SECRET": settings.webhook_secret, "APP_API_TOKEN": settings.api_token,
             "PSP_TIMEOUT_MS": "1000", "LATE_WINDOW_MS": "2000", **env}, folder / "payments.log")
        self.payments = Payments(self.service.base)

    def close(self) -> None:
        if self.own:
            for part in (self.wire, self.service, self.psp_process, self.webhook_wire):
                part.close()
            if self.wire.strange:
                raise AssertionError(f"psp-sim does not keep to its own openapi.yaml: {self.wire.strange[:3]}")
            if settings.keep_logs:
                sys.stderr.write((Path(self._dir.name) / "payments.log").read_text())
        self._dir.cleanup()

    def calm(self) -> None:
        if self.own:
            self.wire.calm()
            self.webhook_wire.calm()

    # ---- the provider's truth --------------------------------------------------------------------

    def intents(self, order: str) -> list[dict[str, Any]]:
        return call(self.psp, "GET", f"/v1/payment_intents?order_ref={order}").json["items"]

    def live_intents(self, order: str) -> list[dict[str, Any]]:
        """Those that hold or have money, or still might."""
        return [i for i in self.intents(order) if i["status"] in ("requires_action", "processing", "requires_capture")
                or i["captured_minor"] > i["refunded_minor"]]

    def answer_bank(self, action_url: str, answer: str) -> Answer:
        """The card holder at the 3-D Secure page, reached as the browser would: by its public path."""
        path = urllib.parse.urlsplit(action_url).path
        return call(self.psp, "POST", path, f"answer={answer}".encode(),
                    {"content-type": "application/x-www-form-urlencoded"})

    def sign(self, body: bytes, at: int | None = None, secret: str | None = None) -> str:
        import hashlib
        import hmac
        at = int(time.time()) if at is None else at
        mac = hmac.new((secret or settings.webhook_secret).encode(), f"{at}.".encode() + body, hashlib.sha256)
        return f"t={at},v1={mac.hexdigest()}"

    def webhook(self, event: dict[str, Any]) -> Answer:
        body = json.dumps(event).encode()
        return self.payments.send("POST", "/v1/webhooks/psp", body, {"psp-signature": self.sign(body)})


def order_of(path: str) -> str | None:
    found = re.search(r"/v1/orders/([^/]+)/", path)
    return found and found[1]
