"""What the storefront sees: from the cart to the order."""

from __future__ import annotations

import sqlite3
import threading
import time
import unittest

from .fixtures import ADDRESS, TOKEN, Checkout, Town, WithTown, call, eventually, euros, new_id


class Buying(WithTown):
    def test_from_the_cart_to_the_order(self) -> None:
        cart, customer = self.town.new_cart(), new_id("cus")
        session = self.checkout.create(cart, customer).json
        self.assertEqual((session["state"], session["cart_id"], session["quote"]), ("OPEN", cart, None))
        checkout, order = session["id"], session["order_id"]
        self.checkout.patch(checkout, address=ADDRESS | {"line2": "3rd floor"})
        self.checkout.patch(checkout, shipping_option="express")
        self.assertEqual(self.checkout.patch(checkout, payment_token="tok_ok_1").json["payment_token"], "tok_ok_1")
        quote = self.checkout.quote(checkout).json
        self.assertEqual({name: m["amount_minor"] for name, m in quote["totals"].items()},
                         {"subtotal": 7580, "discount": 0, "shipping": 1090, "tax": 0, "tax_included": 832 + 432 + 182, "total": 8670})
        self.assertEqual([(x["sku"], x["qty"], x["line_total"]["amount_minor"]) for x in quote["lines"]],
                         [("lamp-blue", 1, 4990), ("rope-10m", 2, 2590)])
        self.assertFalse(quote["degraded"])
        shown = self.checkout.show(checkout)
        self.assertEqual((shown["state"], shown["quote"]), ("QUOTED", quote))
        trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
        answer = self.checkout.submit(checkout, quote["quote_hash"], traceparent=trace)
        self.assertEqual((answer.status, answer.json), (202, {"order_id": order, "status_url": f"/orders/{order}"}))
        eventually(lambda: self.checkout.show(checkout)["state"] == "ORDERED")
        self.assertEqual(self.town.orders[order], {
            "order_id": order, "checkout_id": checkout, "customer_id": customer, "cart": {"id": cart, "version": 3},
            "lines": [{"sku": "lamp-blue", "title": "Lamp-Blue", "qty": 1, "unit": euros(4990), "weight_g": 400},
                      {"sku": "rope-10m", "title": "Rope-10M", "qty": 2, "unit": euros(1295), "weight_g": 400}],
            "totals": {"subtotal": euros(7580), "discount": euros(0), "shipping": euros(1090), "tax": euros(0), "total": euros(8670)},
            "ship_to": ADDRESS | {"line2": "3rd floor"}, "shipping_option": "express", "payment_token": "tok_ok_1"})
        sent = [h for m, p, b, h in self.town.order_service.seen if b["order_id"] == order]
        self.assertEqual(len(sent), 1)
        self.assertEqual(sent[0]["traceparent"][3:35], "ab" * 16)
        events = [e["event"] for e in self.checkout.outbox()["events"] if e["event"]["subject"] == order]
        self.assertEqual([e["type"] for e in events], ["store.checkout.submitted.v1"])
        self.assertEqual(events[0]["data"], {"order_id": order, "checkout_id": checkout, "cart_id": cart, "cart_version": 3})
        self.assertEqual(events[0]["traceparent"], trace)

    def test_tax_and_shipping_by_country(self) -> None:
        for country, tax, shipping in (("FR", 0, 490 + 100), ("DE", 0, 690 + 100), ("GB", 0, 990 + 100), ("US", 399 + 207, 1990 + 100)):
            _, quote = self.checkout.complete(self.town.new_cart(), country)
            totals = {name: m["amount_minor"] for name, m in quote["totals"].items()}
            self.assertEqual((totals["tax"], totals["shipping"]), (tax, shipping), country)
            self.assertEqual(totals["total"], 7580 + shipping + tax)
            self.assertEqual(totals["tax_included"] == 0, country == "US")

    def test_an_estimate_before_anything_is_known(self) -> None:
        checkout = self.checkout.create(self.town.new_cart()).json["id"]
        quote = self.checkout.quote(checkout).json
        self.assertEqual((quote["shipping_option"], quote["totals"]["shipping"]), ("standard", euros(590)))
        answer = self.checkout.submit(checkout, quote["quote_hash"])
        self.assertEqual((answer.status, answer.code), (422, "validation"))
        self.assertEqual([e["pointer"] for e in answer.json["errors"]], ["/address", "/shipping_option", "/payment_token"])

    def test_a_new_address_or_option_ends_the_quote_but_a_card_does_not(self) -> None:
        checkout, quote = self.checkout.complete(self.town.new_cart())
        self.checkout.patch(checkout, payment_token="tok_ok_2", address=ADDRESS, shipping_option="standard")
        self.assertEqual(self.checkout.show(checkout)["state"], "QUOTED")
        self.checkout.patch(checkout, shipping_option="express")
        self.assertEqual(self.checkout.show(checkout)["state"], "OPEN")
        late = self.checkout.submit(checkout, quote["quote_hash"])
        self.assertEqual((late.status, late.code), (409, "quote-expired"))
        again = self.checkout.quote(checkout).json
        self.assertNotEqual(again["quote_hash"], quote["quote_hash"])
        self.assertEqual(self.checkout.quote(checkout).json["quote_hash"], again["quote_hash"])
        self.assertEqual(self.checkout.submit(checkout, again["quote_hash"]).status, 202)

    def test_the_bill_is_in_the_language_of_the_buyer(self) -> None:
        checkout = self.checkout.create(self.town.new_cart()).json["id"]
        for given, wanted in (("fr-FR,fr;q=0.9", "fr-FR,fr;q=0.9"), ("x\x01y", None)):
            self.checkout.send("POST", f"/v1/checkouts/{checkout}/quote", None, {"accept-language": given})
            self.assertEqual(self.town.catalog.seen[-1][3].get("accept-language"), wanted)

    def test_an_option_that_is_not_offered(self) -> None:
        checkout = self.checkout.create(self.town.new_cart()).json["id"]
        self.checkout.patch(checkout, shipping_option="drone")
        answer = self.checkout.quote(checkout)
        self.assertEqual((answer.status, answer.json["errors"][0]["pointer"]), (422, "/shipping_option"))

    def test_a_quote_holds_for_a_quarter_of_an_hour(self) -> None:
        checkout, quote = self.checkout.complete(self.town.new_cart())
        with sqlite3.connect(self.checkout.database, timeout=10) as db:
            db.execute("UPDATE quote SET expires_at = expires_at - 900001 WHERE checkout_id = ?", (checkout,))
        self.assertEqual(self.checkout.submit(checkout, quote["quote_hash"]).code, "quote-expired")
        self.assertEqual(self.checkout.submit(checkout, self.checkout.quote(checkout).json["quote_hash"]).status, 202)

    # ---- prices ----------------------------------------------------------------------------------

    def test_a_price_that_the_cart_has_not_shown_is_told_once(self) -> None:
        cart = self.town.new_cart({"mug": 2})
        checkout = self.checkout.create(cart).json["id"]
        self.town.prices["mug"] = 400
        self.addCleanup(self.town.prices.__setitem__, "mug", 350)
        told = self.checkout.quote(checkout)
        self.assertEqual((told.status, told.code), (409, "price-changed"))
        self.assertEqual(told.json["changes"], [{"sku": "mug", "was": euros(350), "now": euros(400)}])
        self.assertEqual(self.checkout.quote(checkout).json["totals"]["subtotal"], euros(800))

    def test_a_price_that_changes_after_the_quote(self) -> None:
        cart = self.town.new_cart({"mug": 1})
        checkout, quote = self.checkout.complete(cart)
        other, other_quote = self.checkout.complete(self.town.new_cart({"rope-10m": 1}))
        self.town.prices["mug"] = 500
        self.addCleanup(self.town.prices.__setitem__, "mug", 350)
        event = {"specversion": "1.0", "id": new_id("evt"), "source": "/store/catalog", "type": "store.price.changed.v1",
                 "subject": "mug", "extra": 1, "data": {"sku": "mug", "amount": euros(500), "price_version": 2, "extra": 1}}
        self.assertEqual(self.checkout.event(event).status, 204)
        self.assertEqual(self.checkout.show(checkout)["state"], "OPEN")
        self.assertEqual(self.checkout.show(other)["state"], "QUOTED")
        self.assertEqual(self.checkout.submit(checkout, quote["quote_hash"]).code, "quote-expired")
        self.assertEqual(self.checkout.quote(checkout).json["changes"][0]["now"], euros(500))
        fresh = self.checkout.quote(checkout).json
        self.assertEqual(self.checkout.event(event).status, 204)  # the duplicate must not end the new quote
        self.assertEqual(self.checkout.event(event | {"id": new_id("evt")}).status, 204)  # nor a fact we know
        self.assertEqual(self.checkout.submit(checkout, fresh["quote_hash"]).status, 202)
        self.assertEqual(self.checkout.submit(other, other_quote["quote_hash"]).status, 202)

    def test_events_that_can_never_be_right_are_poison(self) -> None:
        good = {"id": "e1", "source": "/s", "type": "store.price.changed.v1", "data": {"sku": "x", "amount": euros(1)}}
        for change in ({"id": None}, {"source": ""}, {"type": "store.order.received.v1"}, {"type": 5}, {"data": None},
                       {"data": {"sku": "x"}}, {"data": {"sku": "x", "amount": {"amount_minor": "1"}}}, {"id": "\ud800"},
                       {"data": {"sku": "x", "amount": {"amount_minor": 10 ** 40}}}, {"topic": "other"}):
            self.assertEqual(self.checkout.event(good | change).status, 422, change)
        self.assertEqual(self.checkout.event(good | {"type": "whatever", "topic": "price.changed"}).status, 204)
        self.assertEqual(self.checkout.send("POST", "/_archipel/events", good).status, 401)

    # ---- carts -----------------------------------------------------------------------------------

    def test_carts_that_cannot_be_bought(self) -> None:
        empty, closed, odd = self.town.new_cart({}), self.town.new_cart(state="CLOSED"), self.town.new_cart({"gone": 1})
        self.assertEqual(self.checkout.create(empty).code, "cart-empty")
        self.assertEqual(self.checkout.create(closed).code, "cart-closed")
        self.assertEqual(self.checkout.create(new_id("crt")).status, 422)
        checkout = self.checkout.create(odd).json["id"]
        answer = self.checkout.quote(checkout)
        self.assertEqual((answer.status, answer.json["errors"][0]["pointer"]), (422, "/cart/lines/0/sku"))
        emptied = self.town.new_cart()
        checkout = self.checkout.create(emptied).json["id"]
        self.town.carts[emptied]["lines"] = []
        self.assertEqual(self.checkout.quote(checkout).code, "cart-empty")

    def test_a_cart_that_changes_is_seen_by_the_next_quote(self) -> None:
        cart = self.town.new_cart({"mug": 1})
        checkout, first = self.checkout.complete(cart)
        self.town.carts[cart] |= {"version": 4, "lines": [{"sku": "mug", "qty": 3, "seen_price": None}]}
        second = self.checkout.quote(checkout).json
        self.assertEqual(second["totals"]["subtotal"], euros(1050))
        self.assertEqual(self.checkout.submit(checkout, first["quote_hash"]).code, "quote-expired")
        self.checkout.submit(checkout, second["quote_hash"])
        order = self.checkout.show(checkout)["order_id"]
        self.assertEqual(eventually(lambda: self.town.orders.get(order))["cart"]["version"], 4)

    def test_two_tabs_are_one_checkout_and_a_cart_is_ordered_once(self) -> None:
        cart, customer = self.town.new_cart(), new_id("cus")
        checkout, quote = self.checkout.complete(cart, customer=customer)
        self.assertEqual(self.checkout.create(cart, customer).json["id"], checkout)
        order = self.checkout.submit(checkout, quote["quote_hash"]).json["order_id"]
        # The cart has not heard of it yet and still looks open.
        again = self.checkout.create(cart, customer)
        self.assertEqual((again.status, again.code, again.json["status_url"]), (409, "cart-closed", f"/orders/{order}"))
        self.town.carts[cart]["version"] = 4  # opened again later, or filled again: that is a new purchase
        self.assertNotEqual(self.checkout.create(cart, customer).json["order_id"], order)

    # ---- submit ----------------------------------------------------------------------------------

    def test_whatever_is_repeated_is_the_same_order(self) -> None:
        checkout, quote = self.checkout.complete(self.town.new_cart())
        digest = quote["quote_hash"]
        answers = []
        threads = [threading.Thread(target=lambda i=i: answers.append(self.checkout.submit(checkout, digest, key=f"{checkout}:{i % 2}")))
                   for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({a.status for a in answers}, {202})
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertEqual(self.checkout.submit(checkout, digest, key=f"{checkout}:0").headers["idempotency-replayed"], "true")
        order = answers[0].json["order_id"]
        eventually(lambda: self.checkout.show(checkout)["state"] == "ORDERED")
        self.assertEqual(sum(b["order_id"] == order for m, p, b, h in self.town.order_service.seen), 1)
        self.assertEqual(sum(e["event"]["subject"] == order for e in self.checkout.outbox()["events"]), 1)
        self.assertEqual(self.checkout.submit(checkout, "0" * 40, key=f"{checkout}:0").code, "idempotency-key-reused")
        self.assertEqual(self.checkout.submit(checkout, "0" * 40).code, "quote-expired")

    def test_a_submitted_checkout_is_final(self) -> None:
        checkout, quote = self.checkout.complete(self.town.new_cart())
        self.checkout.submit(checkout, quote["quote_hash"])
        for answer in (self.checkout.patch(checkout, shipping_option="express"), self.checkout.quote(checkout)):
            self.assertEqual((answer.status, answer.code), (409, "checkout-closed"))
        self.assertEqual(self.checkout.show(checkout)["quote"], quote)
        with sqlite3.connect(self.checkout.database, timeout=10) as db:
            for change in ("UPDATE checkout SET payment_token='x' WHERE id=?", "UPDATE quote SET hash='x' WHERE checkout_id=?",
                           "DELETE FROM quote WHERE checkout_id=?"):
                with self.assertRaisesRegex(sqlite3.IntegrityError, "final"):
                    db.execute(change, (checkout,))

    def test_keys(self) -> None:
        checkout, quote = self.checkout.complete(self.town.new_cart())
        path = f"/v1/checkouts/{checkout}/submit"
        answer = self.checkout.send("POST", path, {"quote_hash": quote["quote_hash"]})
        self.assertEqual((answer.status, answer.code), (400, "idempotency-key-missing"))
        self.assertEqual(self.checkout.submit(checkout, quote["quote_hash"], key="k" * 201).status, 422)
        # A refusal had no effect, so its key is still free.
        self.assertEqual(self.checkout.submit(checkout, "0" * 40, key=checkout).status, 409)
        self.assertEqual(self.checkout.submit(checkout, quote["quote_hash"], key=checkout).status, 202)

    # ---- bad input -------------------------------------------------------------------------------

    def test_members_that_are_wrong_are_all_named(self) -> None:
        checkout = self.checkout.create(self.town.new_cart()).json["id"]
        bad = {"/address/name": {"name": " "}, "/address/line1": {"line1": "x" * 201}, "/address/postcode": {"postcode": "1"},
               "/address/city": {"city": "a\x00b"}, "/address/country": {"country": "XX"}, "/address/line2": {"line2": 5},
               "/address/extra": {"extra": 1}}
        for pointer, change in bad.items():
            answer = self.checkout.patch(checkout, address=ADDRESS | change)
            self.assertEqual((answer.status, [e["pointer"] for e in answer.json["errors"]]), (422, [pointer]))
        for members in ({"address": 5}, {"address": {}}, {"shipping_option": "A B"}, {"payment_token": "x" * 129}, {"payment_token": "a b"},
                        {"extra": 1}, {"total": euros(1)}, {"address": ADDRESS | {"name": "\ud800"}}):
            self.assertEqual(self.checkout.patch(checkout, **members).status, 422, members)
        for body in ({}, {"cart_id": "x", "customer_id": "y"}, {"cart_id": new_id("crt")}, {"cart_id": new_id("crt"), "customer_id": new_id("cus"), "x": 1}):
            self.assertEqual(self.checkout.send("POST", "/v1/checkouts", body).status, 422)
        self.assertEqual(self.checkout.show(checkout)["address"], None)
        self.assertEqual(self.checkout.patch(checkout, address=ADDRESS | {"name": "Zoë Ünlü 株"}).json["address"]["name"], "Zoë Ünlü 株")

    def test_bodies_that_are_no_json(self) -> None:
        for raw in (b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":NaN}', b'{"a":' + b"9" * 5_000 + b"}"):
            self.assertEqual(self.checkout.send("POST", "/v1/checkouts", raw).status, 422, raw[:20])
        self.assertEqual(self.checkout.send("POST", "/v1/checkouts", b"x" * 300_000).status, 413)

    def test_paths_that_are_not_there(self) -> None:
        self.assertEqual(self.checkout.send("GET", f"/v1/checkouts/{new_id('chk')}").status, 404)
        for path in ("/", "/v1/checkouts/x", "/v1/checkouts/%00", "/v1/nothing", "/_archipel/x"):
            answer = call(self.checkout.port, "GET", path)
            self.assertEqual((answer.status, answer.code), (404, "not-found"), path)
        self.assertEqual(call(self.checkout.port, "DELETE", "/v1/checkouts").status, 405)

    def test_the_platform_must_show_its_token(self) -> None:
        for headers in ({}, {"dapr-api-token": "wrong"}):
            for path in ("/_archipel/info", "/_archipel/outbox"):
                self.assertEqual(self.checkout.send("GET", path, headers=headers).status, 401)
        self.assertEqual(self.checkout.send("GET", "/_archipel/info", headers={"dapr-api-token": TOKEN}).json["name"], "checkout")
        self.assertEqual(self.checkout.send("GET", "/healthz").status, 200)

    def test_the_outbox_is_read_in_pages_and_waits(self) -> None:
        end = self.checkout.outbox()["last_seq"]
        checkout, quote = self.checkout.complete(self.town.new_cart())
        waited = []
        thread = threading.Thread(target=lambda: waited.append(self.checkout.outbox(end, wait_ms=20_000)))
        thread.start()
        start = time.monotonic()
        self.checkout.submit(checkout, quote["quote_hash"])
        thread.join(timeout=15)
        self.assertLess(time.monotonic() - start, 10)
        self.assertEqual(waited[0]["events"][0]["seq"], end + 1)
        self.assertEqual(self.checkout.outbox(0, limit=1)["events"][0]["seq"], 1)
        empty = self.checkout.outbox(end + 1, wait_ms=50)
        self.assertEqual((empty["events"], empty["last_seq"]), ([], end + 1))
        for query in ("after=x", "after=-1", "limit=1.5", "after=²"):
            answer = self.checkout.send("GET", f"/_archipel/outbox?{query.replace('²', '%C2%B2')}", headers={"dapr-api-token": TOKEN})
            self.assertEqual(answer.status, 422)


class Expiring(unittest.TestCase):
    def test_a_checkout_that_is_left_alone_expires_and_says_so(self) -> None:
        town = Town()
        self.addCleanup(town.close)
        service = Checkout(town, CHECKOUT_TTL_MS="1")
        self.addCleanup(service.close)
        checkout, quote = service.complete(town.new_cart())
        service.kill()
        service.start()  # the sweep runs at the start
        eventually(lambda: service.show(checkout)["state"] == "EXPIRED")
        self.assertEqual([e["topic"] for e in service.outbox()["events"]], ["checkout.expired"])
        self.assertEqual(service.submit(checkout, quote["quote_hash"]).code, "quote-expired")
        self.assertEqual(service.patch(checkout, shipping_option="express").code, "checkout-closed")
