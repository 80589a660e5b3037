"""The running simulator: what a merchant and a card holder see."""

from __future__ import annotations

import http.client
import random
import threading
import unittest

from .fixtures import Merchant, Sim, call, eventually


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.merchant = Merchant()
        cls.sim = Sim(WEBHOOK_URL=cls.merchant.url, SLOW_MS="300", AUTH_EXPIRES_MS="200")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.sim.close()
        cls.merchant.close()

    def events(self, ref: str) -> list[str]:
        return [e["type"] for e in self.merchant.seen if e["data"]["intent"]["id"] == ref]

    def test_authorise_capture_refund_and_their_replays(self) -> None:
        intent = self.sim.pay("a1", "tok_ok_a").json
        self.assertEqual((intent["status"], intent["held_minor"]), ("requires_capture", 1000))
        again = self.sim.pay("a1", "tok_ok_a")
        self.assertEqual((again.status, again.json["id"]), (201, intent["id"]))
        self.assertEqual(again.headers["idempotency-replayed"], "true")
        self.assertEqual(self.sim.pay("a1", "tok_ok_b").json["error"]["code"], "idempotency_key_reused")
        for _ in range(2):
            captured = self.sim.post(f"/v1/payment_intents/{intent['id']}/capture", "a2").json
            self.assertEqual((captured["status"], captured["captured_minor"], captured["held_minor"]), ("succeeded", 1000, 0))
        for _ in range(2):
            refund = self.sim.post("/v1/refunds", "a3", {"intent": intent["id"], "amount_minor": 400}).json
            self.assertEqual(refund["intent"]["refunded_minor"], 400)
        self.assertEqual(self.sim.get("/v1/refunds?idempotency_key=a3").json["id"], refund["id"])
        much = self.sim.post("/v1/refunds", "a4", {"intent": intent["id"], "amount_minor": 601})
        self.assertEqual((much.status, much.json["error"]["code"]), (409, "refund_exceeds_captured"))
        self.assertEqual(self.sim.get("/v1/payment_intents?idempotency_key=a1").json["refunded_minor"], 400)
        void = self.sim.post(f"/v1/payment_intents/{intent['id']}/cancel", "a5")
        self.assertEqual((void.status, void.json["error"]["code"]), (409, "already_captured"))
        eventually(lambda: self.events(intent["id"]) and set(self.events(intent["id"])) == {
            "payment_intent.authorised", "payment_intent.captured", "payment_intent.refunded"})

    def test_cancel_gives_the_hold_back(self) -> None:
        ref = self.sim.pay("b1", "tok_ok_cancel").json["id"]
        for _ in range(2):
            answer = self.sim.post(f"/v1/payment_intents/{ref}/cancel", "b2").json
            self.assertEqual((answer["status"], answer["held_minor"], answer["cancellation_reason"]), ("canceled", 0, "requested"))
        late = self.sim.post(f"/v1/payment_intents/{ref}/capture", "b3")
        self.assertEqual((late.status, late.json["error"]["code"]), (409, "intent_unexpected_state"))

    def test_declines(self) -> None:
        for token, code in (("tok_decline", "generic_decline"), ("tok_insufficient", "insufficient_funds")):
            for _ in range(2):
                answer = self.sim.pay("c-" + token, token)
                self.assertEqual((answer.status, answer.json["error"]["code"], answer.json["error"]["decline_code"]),
                                 (402, "card_declined", code))
                self.assertEqual(answer.json["intent"]["status"], "requires_payment_method")

    def test_a_dropped_line_has_still_charged(self) -> None:
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.sim.pay("d1", "tok_drop_x")
        self.assertEqual(self.sim.get("/v1/payment_intents?idempotency_key=d1").json["held_minor"], 1000)
        self.assertEqual(self.sim.pay("d1", "tok_drop_x").json["status"], "requires_capture")

    def test_a_slow_card_is_processing_until_it_answers(self) -> None:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.sim.pay("e1", "tok_slow")))
        thread.start()
        eventually(lambda: self.sim.get("/v1/payment_intents?idempotency_key=e1").json.get("status") == "processing")
        thread.join(timeout=10)
        self.assertEqual(answers[0].json["status"], "requires_capture")

    def test_the_webhook_may_come_first_or_thrice(self) -> None:
        first = self.sim.pay("f1", "tok_webhook_first").json["id"]
        self.assertEqual(self.events(first), ["payment_intent.authorised"])
        thrice = self.sim.pay("f2", "tok_webhook_thrice").json["id"]
        eventually(lambda: len(self.events(thrice)) == 3)
        self.assertEqual(len({e["id"] for e in self.merchant.seen if e["data"]["intent"]["id"] == thrice}), 1)

    def test_a_refused_webhook_comes_again(self) -> None:
        self.merchant.refuse = 2
        ref = self.sim.pay("g1", "tok_ok").json["id"]
        eventually(lambda: self.events(ref) == ["payment_intent.authorised"])

    def test_an_authorisation_expires_and_cannot_be_captured(self) -> None:
        ref = self.sim.pay("h1", "tok_auth_expires").json["id"]
        late = self.sim.post(f"/v1/payment_intents/{ref}/capture", "h2")
        self.assertEqual((late.status, late.json["error"]["code"]), (409, "authorization_expired"))
        self.assertEqual(late.json["intent"]["held_minor"], 0)
        alone = self.sim.pay("h3", "tok_auth_expires").json["id"]
        eventually(lambda: self.sim.get(f"/v1/payment_intents/{alone}").json["cancellation_reason"] == "expired")

    def test_a_refused_capture_keeps_the_hold_for_a_cancel(self) -> None:
        ref = self.sim.pay("i1", "tok_capture_fails").json["id"]
        for _ in range(2):
            answer = self.sim.post(f"/v1/payment_intents/{ref}/capture", "i2")
            self.assertEqual((answer.status, answer.json["error"]["code"]), (402, "capture_failed"))
        self.assertEqual(self.sim.post(f"/v1/payment_intents/{ref}/cancel", "i3").json["status"], "canceled")

    def test_three_d_secure(self) -> None:
        for verdict, status, outcome in (("approve", "requires_capture", "succeeded"),
                                         ("refuse", "requires_payment_method", "failed")):
            intent = self.sim.pay("j-" + verdict, "tok_3ds", return_url="/orders/ord_1?x=1").json
            self.assertEqual((intent["status"], intent["held_minor"]), ("requires_action", 0))
            page = intent["next_action"]["redirect_url"]
            self.assertEqual(page, f"/psp/3ds/{intent['id']}")
            self.assertIn("Confirm payment", self.sim.get(page).body.decode())
            for answer in (verdict, "refuse"):  # the second answer is too late
                reply = call(self.sim.port, "POST", page, b"answer=" + answer.encode())
                self.assertEqual((reply.status, reply.headers["location"]),
                                 (303, f"/orders/ord_1?x=1&payment_intent={intent['id']}&redirect_status={outcome}"))
            self.assertEqual(self.sim.get(f"/v1/payment_intents/{intent['id']}").json["status"], status)

    def test_bad_requests_are_refused_and_leave_nothing(self) -> None:
        before = self.sim.get("/v1/accounts").json
        good = {"amount_minor": 1, "currency": "EUR", "order_ref": "o", "method_token": "tok_ok"}
        for change, status in (({"amount_minor": 0}, 400), ({"amount_minor": 1.5}, 400), ({"amount_minor": True}, 400),
                               ({"amount_minor": 10 ** 30}, 400), ({"currency": "XXX"}, 400), ({"order_ref": "a b"}, 400),
                               ({"method_token": "tok_nope"}, 400), ({"extra": 1}, 400), ({"order_ref": None}, 400),
                               ({"return_url": "javascript:alert(1)"}, 400), ({"return_url": "//evil.test"}, 400)):
            answer = self.sim.post("/v1/payment_intents", f"z{change}".replace(" ", ""), good | change)
            self.assertEqual(answer.status, status, change)
        raw = [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"order_ref":"\\ud800"}']
        for body in raw:
            self.assertEqual(call(self.sim.port, "POST", "/v1/payment_intents", body, {"idempotency-key": "y"}).status, 400)
        self.assertEqual(call(self.sim.port, "POST", "/v1/payment_intents", good).status, 400)
        self.assertEqual(call(self.sim.port, "POST", "/v1/payment_intents", b"x" * 300_000).status, 413)
        self.assertEqual(self.sim.get("/v1/payment_intents/pi_none").status, 404)
        self.assertEqual(self.sim.get("/v1/nothing").status, 404)
        self.assertEqual(self.sim.get("/v1/accounts").json, before)


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.sim = Sim()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.sim.close()

    QUERY = "/psp/pay?amount_minor=1299&currency=EUR&label=%3Cb%3EHi&return_url=/checkout/payment"

    def test_the_card_page_needs_no_script_and_escapes(self) -> None:
        answer = self.sim.get(self.QUERY)
        text = answer.body.decode()
        self.assertEqual(answer.status, 200)
        self.assertIn("€12.99", text)
        self.assertIn("&lt;b&gt;Hi", text)
        self.assertNotIn("<script", text)
        self.assertNotIn("style=", text)
        self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
        self.assertEqual(self.sim.get("/psp/style.css").headers["content-type"], "text/css; charset=utf-8")
        self.assertIn("12,99\u00a0€", self.sim.get(self.QUERY + "&lang=fr").body.decode())
        self.assertEqual(self.sim.get("/pay").status, 404)

    def test_choosing_a_card_returns_a_token_that_pays(self) -> None:
        reply = call(self.sim.port, "POST", "/psp/pay", b"card=ok&return_url=/checkout/payment?step=3")
        self.assertEqual(reply.status, 303)
        self.assertRegex(reply.headers["location"], r"^/checkout/payment\?step=3&payment_token=tok_ok_[0-9a-f]{12}$")
        token = reply.headers["location"].split("payment_token=")[1]
        self.assertEqual(self.sim.pay("k", token).json["status"], "requires_capture")

    def test_a_changed_link_is_refused(self) -> None:
        for bad in ("amount_minor=0", "amount_minor=x", "return_url=//evil.test", "return_url=javascript:1",
                    "currency=ABC", "return_url=/a%0d%0ax:y"):
            self.assertEqual(self.sim.get(self.QUERY.replace("?", "?" + bad + "&", 1)).status, 400, bad)
        for form in (b"", b"card=ok", b"card=gold&return_url=/", b"card=ok&return_url=//evil.test", b"\xff=\xfe"):
            self.assertEqual(call(self.sim.port, "POST", "/psp/pay", form).status, 400, form)
        self.assertEqual(self.sim.get("/psp/3ds/pi_none").status, 404)


class Crash(unittest.TestCase):
    def test_kill_9_loses_no_answer_and_no_money(self) -> None:
        for seed in (1, 2, 3):
            with self.subTest(seed=seed):
                self._one_life(random.Random(seed))

    def _one_life(self, chance: random.Random) -> None:
        sim = Sim()
        self.addCleanup(sim.close)
        answered: dict[str, str] = {}
        stop = threading.Event()

        def buyer(name: int) -> None:
            n = 0
            while not stop.is_set():
                key, n = f"b{name}-{n}", n + 1
                try:
                    answer = sim.pay(key, f"tok_ok_{name}")
                    answered[key] = answer.json["id"]
                    if n % 2:
                        sim.post(f"/v1/payment_intents/{answer.json['id']}/capture", key + "c")
                except (OSError, http.client.HTTPException):
                    return

        threads = [threading.Thread(target=buyer, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        goal = chance.randint(10, 60)
        eventually(lambda: len(answered) >= goal)
        sim.kill()
        stop.set()
        for thread in threads:
            thread.join()
        sim.start()
        books = sim.get("/v1/accounts").json
        self.assertEqual(books["initial_minor"], books["balance_minor"])
        for key, ref in answered.items():
            self.assertEqual(sim.get(f"/v1/payment_intents?idempotency_key={key}").json["id"], ref)
        self.assertEqual(sim.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
