"""Starts it: environment in, clean stop on SIGTERM."""

from __future__ import annotations

import os
import signal
import threading

from . import VERSION
from .data import Shop
from .server import Server


def main() -> None:
    url = os.environ.get("DATABASE_URL", "")
    shop = Shop(url.removeprefix("sqlite:///") or ":memory:")
    server = Server((os.environ.get("HOST") or "127.0.0.1", int(os.environ.get("PORT") or "8080")), shop)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"legacy shop {VERSION} at {server.server_address[0]}:{server.server_address[1]}", flush=True)
    stop.wait()
    server.shutdown()
    server.server_close()


main()
