"""The others are away, or we are killed: what was promised is kept."""

from __future__ import annotations

import http.client
import random
import threading
import time
import unittest

from .fixtures import ADDRESS, TOKEN, Checkout, Town, WithTown, call, eventually, new_id


class Away(WithTown):
    def test_without_the_warehouse_the_last_table_is_used(self) -> None:
        cart = self.town.new_cart()
        checkout, quote = self.checkout.complete(cart, "DE")
        self.town.warehouse.away = True
        again = self.checkout.quote(checkout).json
        self.assertTrue(again["degraded"])
        self.assertEqual(again["shipping_options"], quote["shipping_options"])
        self.assertEqual(self.checkout.submit(checkout, again["quote_hash"]).status, 202)

    def test_the_table_is_fetched_before_anybody_needs_it(self) -> None:
        eventually(lambda: len(self.town.warehouse.seen) >= 28)
        checkout = self.checkout.create(self.town.new_cart({"mug": 60})).json["id"]  # 24 kg, never quoted before
        self.town.warehouse.away = True
        quote = eventually(lambda: (a := self.checkout.quote(checkout)).status == 200 and a).json
        self.assertEqual((quote["degraded"], quote["totals"]["shipping"]["amount_minor"]), (True, 490 + 3000))

    def test_without_cart_or_catalog_there_is_no_quote_but_a_quoted_order_goes_through(self) -> None:
        checkout, quote = self.checkout.complete(self.town.new_cart())
        for fake in (self.town.cart, self.town.catalog):
            fake.away = True
            answer = self.checkout.quote(checkout)
            self.assertEqual((answer.status, answer.code, answer.json["retryable"]), (503, "dependency-unavailable", True))
            self.assertIn("retry-after", answer.headers)
            fake.away = False
        self.town.cart.away = self.town.catalog.away = self.town.warehouse.away = True
        self.assertEqual(self.checkout.create(new_id("crt")).status, 503)
        self.assertEqual(self.checkout.submit(checkout, quote["quote_hash"]).status, 202)
        eventually(lambda: self.checkout.show(checkout)["state"] == "ORDERED")

    def test_nonsense_from_others_is_their_fault(self) -> None:
        checkout = self.checkout.create(self.town.new_cart()).json["id"]
        good = self.town.catalog.answer
        self.addCleanup(setattr, self.town.catalog, "answer", good)
        for odd in ((200, {}), (200, []), (200, {"lines": [{"sku": "x"}]}), (500, {}), (200, {"lines": []}), (404, {}), (302, {})):
            self.town.catalog.answer = lambda m, p, b, odd=odd: odd
            self.assertEqual(self.checkout.quote(checkout).status, 503, odd)

    def test_a_hanging_service_costs_two_seconds_and_no_more(self) -> None:
        checkout = self.checkout.create(self.town.new_cart()).json["id"]
        good = self.town.catalog.answer
        self.addCleanup(setattr, self.town.catalog, "answer", good)
        self.town.catalog.answer = lambda m, p, b: time.sleep(4)
        start = time.monotonic()
        self.assertEqual(self.checkout.quote(checkout).status, 503)
        self.assertLess(time.monotonic() - start, 3.5)

    def test_without_orders_an_order_is_delayed_and_not_lost(self) -> None:
        self.town.order_service.away = True
        checkout, quote = self.checkout.complete(self.town.new_cart())
        order = self.checkout.submit(checkout, quote["quote_hash"]).json["order_id"]
        eventually(lambda: sum(b["order_id"] == order for _, _, b, _ in self.town.order_service.seen) >= 2, "it is tried again")
        self.assertEqual(self.checkout.show(checkout)["state"], "SUBMITTED")
        self.town.order_service.away = False
        eventually(lambda: self.checkout.show(checkout)["state"] == "ORDERED")
        self.assertIn(order, self.town.orders)

    def test_a_refusal_of_orders_is_loud_and_tried_again(self) -> None:
        self.town.orders_say = lambda body: (422, {"code": "validation"})
        checkout, quote = self.checkout.complete(self.town.new_cart())
        self.checkout.submit(checkout, quote["quote_hash"])
        eventually(lambda: any('"error"' in line and "orders answered 422" in line for line in self.checkout.log))
        self.town.orders_say = None
        eventually(lambda: self.checkout.show(checkout)["state"] == "ORDERED")

    def test_a_connection_that_was_closed_while_idle_is_not_an_outage(self) -> None:
        checkout, _ = self.checkout.complete(self.town.new_cart())
        for fake in (self.town.cart, self.town.catalog, self.town.warehouse):
            fake.hang_up = True
        for _ in range(10):
            quote = self.checkout.quote(checkout)
            self.assertEqual((quote.status, quote.json["degraded"]), (200, False))


class Killed(unittest.TestCase):
    def setUp(self) -> None:
        self.town = Town()
        self.addCleanup(self.town.close)
        self.service = Checkout(self.town)
        self.addCleanup(self.service.close)

    def test_no_202_is_lost_and_nothing_is_ordered_twice(self) -> None:
        for seed in (1, 2, 3):
            with self.subTest(seed=seed):
                self.life(random.Random(seed))

    def life(self, chance: random.Random) -> None:
        promised: dict[str, str] = {}
        stop = threading.Event()
        dice = random.Random(chance.random())
        # The wire to orders is bad as well: the order arrives, the answer does not.
        self.town.orders_say = lambda body: self.sometimes(body, dice)

        def buyer() -> None:
            while not stop.is_set():
                try:
                    checkout, quote = self.service.complete(self.town.new_cart())
                    answer = self.service.submit(checkout, quote["quote_hash"])
                    if answer.status == 202:
                        promised[answer.json["order_id"]] = checkout
                except (OSError, http.client.HTTPException, KeyError):
                    time.sleep(0.01)  # killed in the middle

        threads = [threading.Thread(target=buyer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            goal = len(promised) + chance.randint(3, 12)
            eventually(lambda: len(promised) >= goal)
            self.service.kill()
            self.service.start()
        stop.set()
        for thread in threads:
            thread.join()
        for order, checkout in promised.items():
            eventually(lambda: self.service.show(checkout)["state"] == "ORDERED", f"{order} was promised")
            self.assertEqual(self.town.orders[order]["checkout_id"], checkout)
        told = [e["event"]["subject"] for e in self.service.outbox()["events"] if e["topic"] == "checkout.submitted"]
        self.assertEqual(len(told), len(set(told)))
        eventually(lambda: set(self.town.orders) == set(told), "every order has its fact, every fact its order")

    def sometimes(self, body, dice: random.Random):
        if dice.random() < 0.2:
            return None
        known = self.town.orders.setdefault(body["order_id"], body)
        self.assertEqual(known, body)
        return None if dice.random() < 0.2 else (201, {})

    def test_sigterm_is_a_clean_stop_even_with_a_reader_waiting(self) -> None:
        waiting = threading.Thread(target=lambda: call(self.service.port, "GET", "/_archipel/outbox?wait_ms=30000", None, {"dapr-api-token": TOKEN}))
        waiting.start()
        eventually(lambda: call(self.service.port, "GET", "/readyz").status == 200)
        start = time.monotonic()
        self.assertEqual(self.service.terminate(), 0)
        self.assertLess(time.monotonic() - start, 5)
        waiting.join()

    def test_a_full_disk_refuses_and_loses_nothing(self) -> None:
        self.service.kill()
        self.service.start(file_limit_kib=1024)
        promised: dict[str, str] = {}
        full: list[int] = []

        def one_more() -> bool:
            checkout = self.service.create(self.town.new_cart())
            if checkout.status == 201:
                quote = self.service.quote(checkout.json["id"])
                full.extend([quote.status] if quote.status == 507 else [])
                self.service.patch(checkout.json["id"], address=ADDRESS, shipping_option="standard", payment_token="tok_ok")
                quote = self.service.quote(checkout.json["id"])
                if quote.status == 200:
                    answer = self.service.submit(checkout.json["id"], quote.json["quote_hash"])
                    promised.update({answer.json["order_id"]: checkout.json["id"]} if answer.status == 202 else {})
            else:
                self.assertEqual((checkout.status, checkout.code), (507, "storage-full"))
                full.append(507)
            return len(full) >= 3
        eventually(one_more, "the disk is full", 60)
        self.service.kill()
        self.service.start()
        for order, checkout in promised.items():
            eventually(lambda: self.service.show(checkout)["state"] == "ORDERED", f"{order} was promised")
        self.assertEqual(set(self.town.orders), set(promised))
