"""A provider that cannot be trusted to answer: every command on a wire that loses, cuts and delays."""

from __future__ import annotations

import time
import unittest

from .books import Books
from .world import LOUD, World, eventually, new_order, settings

@unittest.skipIf(settings.base_url, "needs a wire of its own")
class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.world = World()
        cls.payments, cls.wire = cls.world.payments, cls.world.wire

    @classmethod
    def tearDownClass(cls) -> None:
        try:
            books = Books(cls.world)
            books.wait_for_rest()
            problems = books.problems()
        finally:
            cls.world.close()
        if problems:
            raise AssertionError(f"the books do not agree at the end: {problems}")

    def setUp(self) -> None:
        self.world.calm()

    def certain(self, ask, statuses: tuple[int, ...]):
        """Asks again with the same key, as orders does, until the answer is an end."""
        def again():
            answer = ask()
            return answer if answer.certain else None
        answer = eventually(again, "a certain answer")
        self.assertIn(answer.status, statuses)
        return answer

    # ---- each command on each bad wire -----------------------------------------------------------

    def test_authorise(self) -> None:
        for action in LOUD + ("twice",):
            with self.subTest(action=action):
                order = new_order()
                self.wire.once(action, part="/v1/payment_intents")
                first = self.payments.authorise(order)
                self.assertIn(first.status, (201, 503))
                if first.status == 503:
                    self.assertEqual(first.code, "dependency-unavailable")
                    self.assertIn("retry-after", first.headers)
                self.certain(lambda: self.payments.authorise(order), (201,))
                self.wire.wait_for_stragglers()
                self.assertEqual([i["held_minor"] for i in self.world.intents(order)], [1299])
                self.assertEqual(self.payments.topics(order), ["authorised"])

    def test_capture(self) -> None:
        for action in LOUD + ("twice",):
            with self.subTest(action=action):
                order = new_order()
                self.payments.authorise(order)
                self.wire.once(action, part="/capture")
                self.assertIn(self.payments.capture(order).status, (200, 503))
                self.certain(lambda: self.payments.capture(order), (200,))
                self.wire.wait_for_stragglers()
                self.assertEqual([i["captured_minor"] for i in self.world.intents(order)], [1299])
                self.assertEqual(self.payments.topics(order), ["authorised", "captured"])

    def test_refund(self) -> None:
        for action in LOUD + ("twice",):
            with self.subTest(action=action):
                order = new_order()
                self.payments.authorise(order)
                self.payments.capture(order)
                self.wire.once(action, part="/refunds")
                self.assertIn(self.payments.refund(order, 500).status, (200, 503))
                self.certain(lambda: self.payments.refund(order, 500), (200,))
                self.wire.wait_for_stragglers()
                self.assertEqual([i["refunded_minor"] for i in self.world.intents(order)], [500])
                self.assertEqual(self.payments.of_order(order)["refunded"]["amount_minor"], 500)

    def test_void(self) -> None:
        for action in LOUD + ("twice",):
            with self.subTest(action=action):
                order = new_order()
                self.payments.authorise(order)
                self.wire.once(action, part="/cancel")
                self.assertIn(self.payments.void(order).status, (200, 503))
                self.certain(lambda: self.payments.void(order), (200,))
                self.wire.wait_for_stragglers()
                self.assertEqual(self.world.live_intents(order), [])
                self.assertEqual(self.payments.topics(order), ["authorised", "voided"])

    # ---- nobody asks again -----------------------------------------------------------------------

    def test_the_reconciler_ends_what_nobody_asks_about_and_no_webhook_tells(self) -> None:
        self.world.webhook_wire.always("swallow")
        authorised, captured, refunded, voided = (new_order() for _ in range(4))
        for order in (captured, refunded, voided):
            self.payments.authorise(order)
        self.payments.capture(refunded)
        self.wire.always("cut")
        self.assertEqual(self.payments.authorise(authorised).status, 503)
        self.assertEqual(self.payments.capture(captured).status, 503)
        self.assertEqual(self.payments.refund(refunded, 9).status, 503)
        self.assertEqual(self.payments.void(voided).status, 503)
        self.wire.calm()
        for order, state in ((authorised, "AUTHORISED"), (captured, "CAPTURED"), (refunded, "PARTIALLY_REFUNDED"), (voided, "VOIDED")):
            eventually(lambda: self.payments.state(order) == state, f"{state} without being asked")

    def test_a_lapse_and_an_approval_are_noticed_without_webhooks(self) -> None:
        self.world.webhook_wire.always("swallow")
        lapsing, asked = new_order(), new_order()
        self.payments.authorise(lapsing, "tok_auth_expires")
        action = self.payments.authorise(asked, "tok_3ds").json["action_url"]
        self.world.answer_bank(action, "approve")
        eventually(lambda: self.payments.state(asked) == "AUTHORISED")
        eventually(lambda: self.payments.state(lapsing) == "EXPIRED")

    def test_a_provider_that_is_away_for_a_while(self) -> None:
        order, other = new_order(), new_order()
        self.payments.authorise(other)
        self.wire.policy = lambda method, path: "lost"
        self.assertEqual(self.payments.authorise(order).status, 503)
        self.assertEqual(self.payments.void(other).status, 503)
        self.assertEqual(self.payments.void(other).status, 503)
        early = self.payments.authorise(order, attempt=2)
        self.assertEqual((early.status, early.code), (409, "request-in-progress"))
        self.assertEqual(self.payments.state(other), "AUTHORISED")  # not VOIDED before the provider says so
        self.wire.calm()
        eventually(lambda: self.payments.state(order) == "AUTHORISED")
        eventually(lambda: self.payments.state(other) == "VOIDED")

    # ---- the provider's own ill manners ----------------------------------------------------------

    def test_a_connection_that_breaks_after_the_charge(self) -> None:
        order = new_order()
        self.assertIn(self.payments.authorise(order, "tok_drop").status, (201, 503))
        self.certain(lambda: self.payments.authorise(order, "tok_drop"), (201,))
        self.assertEqual(len(self.world.intents(order)), 1)

    def test_a_slow_card(self) -> None:
        order = new_order()
        first = self.payments.authorise(order, "tok_slow")
        self.assertIn(first.status, (202, 503))
        eventually(lambda: self.payments.state(order) == "PROCESSING", "it is seen to be processing")
        self.assertEqual(self.payments.authorise(order, "tok_slow").status, 202)
        self.certain(lambda: self.payments.authorise(order, "tok_slow"), (201,))
        self.assertEqual(self.payments.topics(order), ["authorised"])

    def test_webhooks_before_the_reply_and_in_threes(self) -> None:
        for token in ("tok_webhook_first", "tok_webhook_thrice"):
            order = new_order()
            self.assertEqual(self.payments.authorise(order, token).status, 201)
            self.payments.capture(order)
            self.assertEqual(self.payments.topics(order), ["authorised", "captured"])

    def test_webhooks_held_back_until_they_are_old(self) -> None:
        self.world.webhook_wire.policy = lambda method, path: "hold"
        order = new_order()
        action = self.payments.authorise(order, "tok_3ds").json["action_url"]
        self.world.answer_bank(action, "approve")
        eventually(lambda: self.payments.state(order) == "AUTHORISED")
        self.payments.capture(order)
        self.payments.refund(order, 1299)
        self.world.webhook_wire.wait_for_stragglers()
        self.assertEqual(self.payments.state(order), "REFUNDED")
        self.assertEqual(self.payments.topics(order), ["action_required", "authorised", "captured", "refunded"])

    # ---- void against an authorisation that nobody can see ---------------------------------------

    def test_void_while_the_authorisation_is_unknown_and_was_made(self) -> None:
        order = new_order()
        self.world.webhook_wire.always("swallow")
        self.wire.once("cut", part="/v1/payment_intents")
        self.assertEqual(self.payments.authorise(order).status, 503)
        self.certain(lambda: self.payments.void(order), (200,))
        self.assertEqual([i["status"] for i in self.world.intents(order)], ["canceled"])
        self.assertEqual(self.payments.authorise(order).status, 410)

    def test_void_while_the_authorisation_is_unknown_and_never_arrived(self) -> None:
        order = new_order()
        self.wire.once("lost", part="/v1/payment_intents")
        self.assertEqual(self.payments.authorise(order).status, 503)
        # At this moment the reconciler may have repeated it already; both ends are right.
        self.certain(lambda: self.payments.void(order), (200,))
        self.assertEqual(self.world.live_intents(order), [])
        self.assertEqual(self.payments.authorise(order).status, 410)

    def test_an_authorisation_that_arrives_after_the_void_is_cancelled(self) -> None:
        """The request is on the wire when the order is given up, and reaches the provider long after."""
        for webhooks in ("pass", "swallow"):
            with self.subTest(webhooks=webhooks):
                self.world.webhook_wire.always(webhooks)
                order = new_order()
                arrived = []

                def held_back(forward):
                    time.sleep(1.2)  # past the service's timeout, so it has to give the outcome up as unknown
                    eventually(lambda: self.payments.state(order) == "VOIDED", "the void does not wait for us")
                    arrived.append(forward())

                sent = []

                def policy(method: str, path: str):
                    if method == "POST" and path == "/v1/payment_intents" and not sent:
                        sent.append(1)
                        return held_back
                    return "lost" if method == "POST" and path == "/v1/payment_intents" else "pass"

                self.wire.policy = policy
                self.assertEqual(self.payments.authorise(order).status, 503)
                self.certain(lambda: self.payments.void(order), (200,))
                eventually(lambda: arrived, "the late request arrives")
                self.assertEqual(arrived[0].status, 201)
                eventually(lambda: self.world.live_intents(order) == [], "the late hold is cancelled")
                self.assertEqual(self.payments.state(order), "VOIDED")
                self.assertEqual(self.payments.authorise(order).status, 410)
                self.assertEqual(self.payments.topics(order), ["voided"])

    def test_a_wire_that_only_drips_does_not_hold_a_request_for_long(self) -> None:
        self.wire.always("drip")
        order = new_order()
        start = time.monotonic()
        self.payments.authorise(order)
        self.assertLess(time.monotonic() - start, 5)

    def test_a_hanging_provider_does_not_take_the_service_with_it(self) -> None:
        def hang(forward):
            time.sleep(3)
        self.wire.policy = lambda method, path: hang
        import threading
        threads = [threading.Thread(target=lambda: self.payments.authorise(new_order())) for _ in range(40)]
        for thread in threads:
            thread.start()
        slowest = 0.0
        while any(t.is_alive() for t in threads):
            start = time.monotonic()
            self.assertEqual(self.payments.send("GET", "/readyz").status, 200)
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.02)
        self.assertLess(slowest, 0.8)
        self.wire.calm()

