"""Starts the provider: environment in, clean stop on SIGTERM."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from datetime import datetime, timezone

from . import VERSION
from .book import Book
from .server import Server, Settings

log = logging.getLogger("sms-sim")
STOP_S = 5.0


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower().replace("warning", "warn"), "msg": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def database_path() -> str:
    url = os.environ.get("DATABASE_URL") or "sqlite:///sms-sim.db"
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise SystemExit(f"DATABASE_URL is {url!r}; expected sqlite:////absolute/path.db")
    return path


def prefix() -> str:
    text = os.environ.get("PUBLIC_PREFIX", "/phone").rstrip("/")
    if text and not text.startswith("/"):
        raise SystemExit(f"PUBLIC_PREFIX is {text!r}; expected a path such as /phone")
    return text


def port() -> int:
    text = os.environ.get("PORT") or "8080"
    if not text.isdecimal() or int(text) > 65535:
        raise SystemExit(f"PORT is {text!r}; expected 0 to 65535")
    return int(text)


def main() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "info").upper(), handlers=[handler])
    book = Book(database_path())
    settings = Settings(prefix(), os.environ.get("SENDER_NAME") or "The Store", os.environ.get("APP_API_TOKEN", ""))
    server = Server((os.environ.get("HOST") or "127.0.0.1", port()), book, settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
    host, bound = server.server_address[:2]
    log.info("the provider is open", extra={"fields": {"address": f"{host}:{bound}", "version": VERSION}})
    stop.wait()
    log.info("stopping")
    server.stopping = True
    server.shutdown()
    server.drain(STOP_S)
    server.server_close()
    book.close()


main()
