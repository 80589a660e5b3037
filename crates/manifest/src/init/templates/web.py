"""A page that asks the service `hello`. Standard library only."""

import html
import json
import os
import signal
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

# Given because of `calls = ["hello"]`. It leads to an instance that is ready, whichever that is.
HELLO_URL = os.environ["HELLO_URL"]

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Hello</title>
<body style="font-family: system-ui; max-width: 40rem; margin: 4rem auto">
<h1>{greeting}</h1>
<form><label>Your name <input name="name"></label> <button>Greet me</button></form>
</body></html>
"""


class Handler(BaseHTTPRequestHandler):
    timeout = 5  # seconds that a silent connection is kept

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/healthz":
            self.reply(200, "text/plain", "ok\n")
        elif url.path == "/":
            self.greet(parse_qs(url.query).get("name", ["world"])[0])
        else:
            self.reply(404, "text/plain", "not found\n")

    def greet(self, name):
        try:
            with urllib.request.urlopen(f"{HELLO_URL}/hello?name={quote(name)}", timeout=2) as answer:
                greeting = json.load(answer)["greeting"]
        except (OSError, ValueError, KeyError) as error:
            print(f"hello did not answer: {error}", file=sys.stderr, flush=True)
            self.reply(502, "text/plain", "hello did not answer, try again\n")
            return
        self.reply(200, "text/html; charset=utf-8", PAGE.format(greeting=html.escape(greeting)))

    def reply(self, status, kind, body):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for requests under way


server = Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler)
# TERM means: finish what you have, then end.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
server.server_close()
