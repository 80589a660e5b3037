"""Starts the service: environment in, clean stop on SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from types import FrameType
from urllib.parse import urlsplit

import uvicorn

from . import app as application
from . import trace

log = logging.getLogger("checkout")


class Invalid(Exception):
    pass


def number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise Invalid(f"{name} is {text!r}, which is not a whole number")
    return int(text) if text else default


def callee(name: str) -> str:
    url = os.environ.get(f"{name}_URL", "")
    if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
        raise Invalid(f"{name}_URL is {url!r}; it is the address of {name.lower()}, such as http://127.0.0.1:8081")
    return url


def config() -> application.Config:
    url = os.environ.get("DATABASE_URL", "sqlite:///checkout.db")
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise Invalid(f"DATABASE_URL is {url!r}; it has the form sqlite:////absolute/path.db")
    return application.Config(
        database=url.removeprefix("sqlite:///"), cart_url=callee("CART"), catalog_url=callee("CATALOG"),
        warehouse_url=callee("WAREHOUSE"), orders_url=callee("ORDERS"), api_token=os.environ.get("APP_API_TOKEN") or None,
        ttl_ms=number("CHECKOUT_TTL_MS", application.TTL_MS))


class Server(uvicorn.Server):
    """uvicorn waits for open requests when it stops; readers that wait for events are sent home first."""

    app: application.App | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.app is not None:
            self.app.readers.stop()
        super().handle_exit(sig, frame)


def main() -> None:
    trace.log_to_stdout(os.environ.get("LOG_LEVEL", "info"))
    try:
        settings, host, port = config(), os.environ.get("HOST", "127.0.0.1"), number("PORT", 8080)
    except Invalid as error:
        sys.exit(f"checkout: {error}")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # asyncio turns Nagle's algorithm off only where the socket says that it is TCP: without the last
    # argument each answer would wait 40 ms for the caller's delayed acknowledgement.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        sys.exit(f"checkout: cannot listen on {host}:{port}: {error.strerror}")

    def started(app: application.App) -> None:
        server.app = app
        log.info("listening on http://%s:%d", host, listener.getsockname()[1])

    # After its clean stop uvicorn raises the signal once more; a clean stop is a success.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    server = Server(uvicorn.Config(
        application.build(settings, started), log_config=None, access_log=False, server_header=False, http="h11",
        loop="asyncio", ws="none", lifespan="on", backlog=256, timeout_keep_alive=75, timeout_graceful_shutdown=5))
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
