"""The old shop still does what it always did."""

from __future__ import annotations

import http.client
import json
import threading
import unittest

from legacy_shop.data import ORDERS, Shop
from legacy_shop.server import Server


class ShopTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server(("127.0.0.1", 0), Shop())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.client = http.client.HTTPConnection(*self.server.server_address[:2], timeout=10)

    def tearDown(self) -> None:
        self.client.close()
        self.server.shutdown()
        self.server.server_close()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        self.client.request(method, path, json.dumps(body) if body else None)
        answer = self.client.getresponse()
        return answer.status, answer.read()

    def test_pages(self) -> None:
        self.assertIn(b"Lamps", self.ask("GET", "/")[1])
        self.assertIn(b"/product/A-100", self.ask("GET", "/shop/Lamps")[1])
        self.assertIn("9,90 €".encode("iso-8859-15"), self.ask("GET", "/product/A-100")[1])
        self.assertEqual(self.ask("GET", "/product/none")[0], 404)
        self.assertEqual(self.ask("HEAD", "/ping"), (200, b""))

    def test_catalogue(self) -> None:
        items = json.loads(self.ask("GET", "/api/catalogue?group=Boots")[1])["items"]
        self.assertEqual(len(items), 6)
        self.assertEqual(json.loads(self.ask("GET", "/api/catalogue/A-101")[1])["price_minor"], 1125)

    def test_orders(self) -> None:
        all_orders = json.loads(self.ask("GET", "/api/orders")[1])["items"]
        self.assertEqual(len(all_orders), len(ORDERS))
        for order in all_orders:
            total = sum(line["qty"] * line["price_minor"] for line in order["lines"])
            self.assertEqual(order["total_minor"], total)
        status, body = self.ask("POST", "/api/orders", {"customer": 3, "lines": [{"article": "A-100", "qty": 2}]})
        placed = json.loads(body)
        self.assertEqual((status, placed["total_minor"], placed["status"]), (200, 1980, "open"))
        again = json.loads(self.ask("GET", f"/api/orders/{placed['number']}")[1])
        self.assertEqual(again["lines"], placed["lines"])
        self.assertEqual(self.ask("GET", "/api/orders/1")[0], 404)
        self.assertEqual(self.ask("POST", "/api/orders", {"customer": "x"})[0], 400)
        self.assertEqual(self.ask("POST", "/api/orders", {"customer": 1, "lines": [{"article": "?", "qty": 1}]})[0], 409)


if __name__ == "__main__":
    unittest.main()
