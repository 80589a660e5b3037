"""Says hello. Standard library only."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    timeout = 5  # seconds that a silent connection is kept

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/healthz":
            self.reply(200, {"ok": True})
        elif url.path == "/hello":
            name = parse_qs(url.query).get("name", ["world"])[0]
            self.reply(200, {"greeting": f"Hello, {name}!"})
        else:
            self.reply(404, {"title": "not found"})

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for requests under way


# Archipel chooses the port, so that several instances can run side by side.
server = Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler)
# TERM means: finish what you have, then end.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
server.server_close()
