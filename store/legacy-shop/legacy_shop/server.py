"""What it serves: pages for people, and the JSON that its app was once given."""

from __future__ import annotations

import html
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from . import VERSION
from .data import Shop

BODY_MAX = 64 * 1024
PAGE = """<html><head><title>{title}</title></head>
<body bgcolor="#ffffff"><h1>{title}</h1>{body}<hr><small>Archipel Outfitters, est. 1998</small></body></html>
"""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], shop: Shop) -> None:
        self.shop = shop
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"LegacyShop/{VERSION}"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        words = [unquote(word) for word in url.path.strip("/").split("/")]
        match words:
            case [""] | ["index.html"]:
                groups = sorted({article["group"] for article in self.server.shop.articles()})
                self.page("Welcome", "<ul>" + "".join(f'<li><a href="/shop/{g}">{g}</a>' for g in groups) + "</ul>")
            case ["ping"] | ["readyz"]:
                self.send(200, "text/plain", b"pong\n")
            case ["shop", group]:
                rows = "".join(f'<li><a href="/product/{a["article"]}">{html.escape(a["name"])}</a>' for a in self.server.shop.articles(group))
                # An unknown group is an empty page, not an error.
                self.page(group, f"<ul>{rows}</ul>")
            case ["product", number]:
                article = self.server.shop.article(number)
                if article is None:
                    return self.page("Not found", "<p>This article has sold out for good.</p>", 404)
                price = f"{article['price_minor'] // 100},{article['price_minor'] % 100:02} €"
                self.page(article["name"], f"<p>{price}, {'in stock' if article['available'] else 'on order'}</p>")
            case ["api", "catalogue"]:
                self.json(200, {"items": self.server.shop.articles(query.get("group"))})
            case ["api", "catalogue", number]:
                self.found(self.server.shop.article(number))
            case ["api", "orders"]:
                customer = query.get("customer", "")
                if customer and not customer.isdecimal():
                    return self.json(400, {"error": "customer?"})
                self.json(200, {"items": self.server.shop.orders(int(customer) if customer else None)})
            case ["api", "orders", number]:
                self.found(self.server.shop.order(int(number)) if number.isdecimal() else None)
            case _:
                self.page("Not found", "<p>No such page.</p>", 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_MAX:
            self.close_connection = True
            return self.json(413 if length.isdecimal() else 411, {"error": "length?"})
        body = self.rfile.read(int(length))
        if urlsplit(self.path).path.rstrip("/") != "/api/orders":
            return self.json(404, {"error": "no such thing"})
        try:
            order = json.loads(body)
            lines = [(str(line["article"]), int(line["qty"])) for line in order["lines"]]
            customer = int(order["customer"])
        except (ValueError, KeyError, TypeError):
            return self.json(400, {"error": "order?"})
        if not lines or any(self.server.shop.article(number) is None or qty < 1 for number, qty in lines):
            return self.json(409, {"error": "article?"})
        # It has never said 201.
        self.json(200, self.server.shop.place(customer, lines, time.strftime("%d.%m.%Y")))

    def found(self, thing: dict | None) -> None:
        self.json(200 if thing else 404, thing or {"error": "not found"})

    def json(self, status: int, value: dict) -> None:
        # Every answer says when it was made, and its members come in no order worth the name.
        value = {"generated_at": time.strftime("%d.%m.%Y %H:%M:%S"), **value}
        self.send(status, "application/json; charset=iso-8859-1", json.dumps(value, ensure_ascii=True, indent=1).encode())

    def page(self, title: str, body: str, status: int = 200) -> None:
        text = PAGE.format(title=html.escape(title), body=body)
        self.send(status, "text/html; charset=iso-8859-15", text.encode("iso-8859-15", "xmlcharrefreplace"))

    def send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if "LEGACYSESSID" not in self.headers.get("Cookie", ""):
            self.send_header("Set-Cookie", f"LEGACYSESSID={time.monotonic_ns():x}; path=/")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
