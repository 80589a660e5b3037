"""Starts the provider: environment in, clean stop on SIGTERM."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from datetime import datetime, timezone
from urllib.parse import urlsplit

from .db import Database
from .provider import Provider, Rules, now_ms
from .server import Server
from .webhooks import Webhooks

log = logging.getLogger("psp-sim")


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, timezone.utc)
        line = {"time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "level": record.levelname.lower().replace("warning", "warn"), "msg": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise SystemExit(f"{name} is {text!r}, which is not a whole number")
    return int(text)


def database_path() -> str:
    url = os.environ.get("DATABASE_URL", "sqlite:///psp-sim.db")
    if not url.startswith("sqlite:///"):
        raise SystemExit(f"DATABASE_URL is {url!r}; it has the form sqlite:////absolute/path.db")
    return url.removeprefix("sqlite:///")


def webhook_url() -> str | None:
    url = os.environ.get("WEBHOOK_URL", "")
    if not url and os.environ.get("PAYMENTS_URL"):
        url = os.environ["PAYMENTS_URL"].rstrip("/") + "/v1/webhooks/psp"
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise SystemExit(f"the webhook address {url!r} is not an http(s) address")
    return url or None


def prefix() -> str:
    text = os.environ.get("PUBLIC_PREFIX", "/psp").rstrip("/")
    if text and not text.startswith("/"):
        raise SystemExit(f"PUBLIC_PREFIX is {text!r}; it is a path such as /psp")
    return text


class Timers:
    """One thread that wakes the provider when an authorisation lapses or a slow card answers."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                due = self._provider.run_due()
                wait = None if due is None else max(0.0, (due - now_ms()) / 1000)
            except Exception:
                log.exception("timers failed")
                wait = 1.0
            self._wake.wait(wait)


def main() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO").upper(), handlers=[handler])

    rules = Rules(public_prefix=prefix(), card_initial_minor=number("CARD_INITIAL_MINOR", 1_000_000_000),
                  slow_ms=number("SLOW_MS", 30_000), auth_expires_ms=number("AUTH_EXPIRES_MS", 1_000),
                  auth_ttl_ms=number("AUTH_TTL_MS", 7 * 24 * 3600 * 1000))
    host, port = os.environ.get("HOST", "127.0.0.1"), number("PORT", 8080)
    url, secret = webhook_url(), os.environ.get("PSP_WEBHOOK_SECRET", "")
    if url and not secret:
        raise SystemExit("PSP_WEBHOOK_SECRET is not set: webhooks could not be signed")

    db = Database(database_path())
    provider = Provider(db, rules)
    webhooks = Webhooks(db, url, secret) if url else None
    timers = Timers(provider)
    server = Server((host, port), provider, webhooks, rules.public_prefix, os.environ.get("APP_API_TOKEN") or None)

    def changed() -> None:
        timers.notify()
        if webhooks is not None:
            webhooks.notify()

    provider.on_change = changed
    timers.start()
    if webhooks is not None:
        webhooks.start()

    stop = threading.Event()
    for number_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number_, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.5}, name="accept", daemon=True).start()
    log.info("listening on http://%s:%d, pages below %s/", host, server.server_address[1], rules.public_prefix)
    stop.wait()

    server.stopping = True
    server.shutdown()
    server.drain(5)
    if webhooks is not None:
        webhooks.stop()
    timers.stop()
    db.close()
    log.info("stopped")


main()
