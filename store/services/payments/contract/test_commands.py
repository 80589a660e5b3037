"""What a caller sees: every command, its refusals, and its repetitions."""

from __future__ import annotations

import json
import threading
import time
import unittest

from .world import World, call, eventually, new_order, settings


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.world = World()
        cls.payments = cls.world.payments

    @classmethod
    def tearDownClass(cls) -> None:
        cls.world.close()

    def parallel(self, count: int, work) -> list:
        results: list = [None] * count

        def run(i: int) -> None:
            results[i] = work(i)
        threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    # ---- authorise -------------------------------------------------------------------------------

    def test_a_good_card_is_authorised_and_the_repetition_says_the_same(self) -> None:
        order = new_order()
        first = self.payments.authorise(order)
        self.assertEqual((first.status, first.json["state"]), (201, "AUTHORISED"))
        self.assertEqual((first.json["authorised"]["amount_minor"], first.json["captured"]["amount_minor"]), (1299, 0))
        self.assertNotIn("idempotency-replayed", first.headers)
        again = self.payments.authorise(order)
        self.assertEqual((again.status, again.json), (201, first.json))
        self.assertEqual(again.headers["idempotency-replayed"], "true")
        self.assertEqual(self.payments.of_order(order), first.json)
        self.assertEqual(self.payments.send("GET", f"/v1/payments/{first.json['id']}").json, first.json)
        self.assertEqual([i["held_minor"] for i in self.world.intents(order)], [1299])
        eventually(lambda: self.payments.topics(order) == ["authorised"])

    def test_the_answer_is_stored_as_it_was(self) -> None:
        order = new_order()
        first = self.payments.authorise(order)
        self.payments.capture(order)
        self.assertEqual(self.payments.authorise(order).json, first.json)

    def test_a_declined_card_is_402_and_the_next_attempt_may_work(self) -> None:
        order = new_order()
        for _ in range(2):
            answer = self.payments.authorise(order, "tok_decline")
            self.assertEqual((answer.status, answer.code, answer.json["reason"]), (402, "payment-declined", "generic_decline"))
        self.assertEqual(self.payments.of_order(order)["decline_reason"], "generic_decline")
        self.assertEqual(self.payments.authorise(order, "tok_insufficient", attempt=2).json["reason"], "insufficient_funds")
        self.assertEqual(self.payments.authorise(order, attempt=3).status, 201)
        self.assertEqual(self.payments.topics(order), ["declined", "declined", "authorised"])
        late = self.payments.authorise(order, attempt=2, key="another")
        self.assertEqual(late.status, 422)  # attempt 2 had another card

    def test_a_token_the_provider_does_not_know_is_declined(self) -> None:
        answer = self.payments.authorise(new_order(), "tok_from_nowhere")
        self.assertEqual((answer.status, answer.json["reason"]), (402, "token_unknown"))

    def test_an_order_is_never_paid_twice(self) -> None:
        order = new_order()
        self.payments.authorise(order)
        second = self.payments.authorise(order, attempt=2)
        self.assertEqual((second.status, second.code), (409, "already-authorised"))
        self.payments.capture(order)
        third = self.payments.authorise(order, attempt=3)
        self.assertEqual((third.status, third.code), (409, "already-authorised"))
        self.assertEqual(len(self.world.intents(order)), 1)

    def test_an_attempt_that_arrives_after_a_later_one_is_refused(self) -> None:
        order = new_order()
        self.payments.authorise(order, "tok_decline", attempt=2)
        late = self.payments.authorise(order, attempt=1)
        self.assertEqual((late.status, late.code), (409, "attempt-superseded"))
        self.assertEqual(len(self.world.intents(order)), 1)

    def test_many_at_once_with_one_key_make_one_intent(self) -> None:
        order = new_order()
        answers = self.parallel(8, lambda i: self.payments.authorise(order))
        self.assertLessEqual({a.status for a in answers}, {201, 409})
        self.assertEqual({a.code for a in answers if a.status == 409} - {"request-in-progress"}, set())
        for answer in answers:
            if answer.status == 409:
                self.assertIn("retry-after", answer.headers)
        self.assertEqual(self.payments.authorise(order).status, 201)
        self.assertEqual(len(self.world.intents(order)), 1)

    def test_many_attempts_at_once_never_hold_twice(self) -> None:
        for _ in range(5):
            order = new_order()
            self.parallel(4, lambda i: self.payments.authorise(order, attempt=i + 1))
            self.assertLessEqual(len(self.world.live_intents(order)), 1)

    # ---- 3-D Secure ------------------------------------------------------------------------------

    def test_three_d_secure_approved(self) -> None:
        order = new_order()
        asked = self.payments.authorise(order, "tok_3ds", extra={"return_url": f"/orders/{order}"})
        self.assertEqual((asked.status, asked.json["state"]), (202, "REQUIRES_ACTION"))
        self.assertRegex(asked.json["action_url"], r"^/psp/3ds/pi_")
        back = self.world.answer_bank(asked.json["action_url"], "approve")
        self.assertTrue(back.headers["location"].startswith(f"/orders/{order}?"))
        eventually(lambda: self.payments.state(order) == "AUTHORISED")
        self.assertIsNone(self.payments.of_order(order)["action_url"])
        # 202 was no end: the repetition tells the end.
        self.assertEqual(self.payments.authorise(order, "tok_3ds", extra={"return_url": f"/orders/{order}"}).status, 201)
        self.assertEqual(self.payments.topics(order), ["action_required", "authorised"])
        self.assertEqual(self.payments.events(order)[0]["action_url"], asked.json["action_url"])

    def test_three_d_secure_refused(self) -> None:
        order = new_order()
        asked = self.payments.authorise(order, "tok_3ds")
        self.world.answer_bank(asked.json["action_url"], "refuse")
        eventually(lambda: self.payments.state(order) == "DECLINED")
        again = self.payments.authorise(order, "tok_3ds")
        self.assertEqual((again.status, again.json["reason"]), (402, "authentication_failed"))
        self.assertEqual(self.payments.topics(order), ["action_required", "declined"])

    def test_a_new_card_replaces_an_unanswered_question(self) -> None:
        order = new_order()
        asked = self.payments.authorise(order, "tok_3ds")
        self.assertEqual(self.payments.authorise(order, attempt=2).status, 201)
        # The old question is void: approving it now must not hold a second time.
        self.world.answer_bank(asked.json["action_url"], "approve")
        self.assertEqual(len(self.world.live_intents(order)), 1)
        old = self.payments.authorise(order, "tok_3ds")
        self.assertEqual((old.status, old.code), (409, "attempt-superseded"))

    # ---- capture ---------------------------------------------------------------------------------

    def test_capture_takes_the_money_once(self) -> None:
        order = new_order()
        self.payments.authorise(order)
        first = self.payments.capture(order)
        self.assertEqual((first.status, first.json["state"], first.json["captured"]["amount_minor"]), (200, "CAPTURED", 1299))
        again = self.payments.capture(order)
        self.assertEqual((again.json, again.headers["idempotency-replayed"]), (first.json, "true"))
        other = self.payments.capture(order, key=order + ":capture:2")
        self.assertEqual((other.status, other.json["capture_id"]), (200, first.json["capture_id"]))
        captured = [e for e in self.payments.events(order) if e["topic"] == "payment.captured"]
        self.assertEqual([e["capture_id"] for e in captured], [first.json["capture_id"]])
        self.assertEqual([i["captured_minor"] for i in self.world.intents(order)], [1299])

    def test_many_captures_at_once_with_different_keys(self) -> None:
        order = new_order()
        self.payments.authorise(order)
        answers = self.parallel(6, lambda i: self.payments.capture(order, key=f"{order}:c{i}"))
        self.assertEqual({a.status for a in answers}, {200})
        self.assertEqual(len({a.json["capture_id"] for a in answers}), 1)
        self.assertEqual(self.payments.topics(order), ["authorised", "captured"])

    def test_what_cannot_be_captured(self) -> None:
        self.assertEqual(self.payments.capture(new_order()).status, 404)
        declined, asked, voided = new_order(), new_order(), new_order()
        self.payments.authorise(declined, "tok_decline")
        self.payments.authorise(asked, "tok_3ds")
        self.payments.authorise(voided)
        self.payments.void(voided)
        for order in (declined, asked, voided):
            answer = self.payments.capture(order)
            self.assertEqual((answer.status, answer.code, answer.json["retryable"]), (409, "capture-failed", False))

    def test_an_expired_authorisation(self) -> None:
        order = new_order()
        self.payments.authorise(order, "tok_auth_expires")
        for _ in range(2):
            answer = self.payments.capture(order)
            self.assertEqual((answer.status, answer.code), (409, "capture-failed"))
        self.assertEqual(self.payments.state(order), "EXPIRED")
        self.assertEqual(self.payments.topics(order)[0], "authorised")
        self.assertIn("expired", self.payments.topics(order))
        self.assertEqual(self.payments.void(order).status, 200)

    def test_an_authorisation_that_lapses_by_itself_is_noticed(self) -> None:
        order = new_order()
        self.payments.authorise(order, "tok_auth_expires")
        eventually(lambda: self.payments.state(order) == "EXPIRED")
        self.assertEqual(self.payments.topics(order), ["authorised", "expired"])

    def test_a_refused_capture_leaves_a_hold_that_void_gives_back(self) -> None:
        order = new_order()
        self.payments.authorise(order, "tok_capture_fails")
        answer = self.payments.capture(order)
        self.assertEqual((answer.status, answer.code, answer.json["reason"]), (409, "capture-failed", "capture_failed"))
        self.assertEqual(self.payments.state(order), "AUTHORISED")
        self.assertEqual(self.payments.capture(order, key=order + ":capture:2").status, 409)
        self.assertEqual(self.payments.void(order).json["state"], "VOIDED")
        self.assertEqual(self.world.live_intents(order), [])
        self.assertEqual(self.payments.topics(order), ["authorised", "capture_failed", "capture_failed", "voided"])

    # ---- void ------------------------------------------------------------------------------------

    def test_void_gives_the_hold_back_and_closes_the_order(self) -> None:
        order = new_order()
        payment = self.payments.authorise(order).json
        for key in (None, None, order + ":void:2"):
            answer = self.payments.void(order, key=key)
            self.assertEqual((answer.status, answer.json["state"], answer.json["payment_id"]), (200, "VOIDED", payment["id"]))
        self.assertEqual([i["status"] for i in self.world.intents(order)], ["canceled"])
        late = self.payments.authorise(order, attempt=2)
        self.assertEqual((late.status, late.code), (410, "order-tombstoned"))
        self.assertEqual(self.payments.topics(order), ["authorised", "voided"])

    def test_void_of_an_unknown_order_is_a_tombstone(self) -> None:
        order = new_order()
        answer = self.payments.void(order)
        self.assertEqual((answer.status, answer.json), (200, {"order_id": order, "payment_id": None, "state": "VOIDED"}))
        for attempt in (1, 1, 2):
            late = self.payments.authorise(order, attempt=attempt)
            self.assertEqual((late.status, late.code), (410, "order-tombstoned"))
        self.assertEqual(self.world.intents(order), [])
        self.assertEqual(self.payments.topics(order), [])

    def test_void_of_a_question_that_is_open_and_of_a_decline(self) -> None:
        asked, declined = new_order(), new_order()
        self.payments.authorise(asked, "tok_3ds")
        self.payments.authorise(declined, "tok_decline")
        for order in (asked, declined):
            self.assertEqual(self.payments.void(order).json["state"], "VOIDED")
            self.assertEqual(self.world.live_intents(order), [])
        self.assertEqual(self.payments.state(declined), "DECLINED")

    def test_captured_money_cannot_be_voided(self) -> None:
        order = new_order()
        self.payments.authorise(order)
        self.payments.capture(order)
        answer = self.payments.void(order)
        self.assertEqual((answer.status, answer.code), (409, "already-captured"))
        self.assertEqual(self.payments.state(order), "CAPTURED")

    # ---- refunds ---------------------------------------------------------------------------------

    def test_refunds_until_nothing_is_left(self) -> None:
        order = new_order()
        self.payments.authorise(order)
        self.payments.capture(order)
        for _ in range(2):
            part = self.payments.refund(order, 300, key=order + ":r1")
            self.assertEqual((part.status, part.json["state"], part.json["refunded"]["amount_minor"]), (200, "PARTIALLY_REFUNDED", 300))
        much = self.payments.refund(order, 1000, key=order + ":r2")
        self.assertEqual((much.status, much.json["errors"][0]["pointer"]), (422, "/amount/amount_minor"))
        rest = self.payments.refund(order, 999, key=order + ":r3")
        self.assertEqual((rest.json["state"], rest.json["refunded"]["amount_minor"]), ("REFUNDED", 1299))
        self.assertEqual([i["refunded_minor"] for i in self.world.intents(order)], [1299])
        refunds = [e["amount"]["amount_minor"] for e in self.payments.events(order) if e["topic"] == "payment.refunded"]
        self.assertEqual(refunds, [300, 999])

    def test_what_cannot_be_refunded(self) -> None:
        self.assertEqual(self.payments.refund(new_order(), 1).status, 404)
        order = new_order()
        self.payments.authorise(order)
        self.assertEqual(self.payments.refund(order, 1).status, 422)

    def test_many_refunds_at_once_never_exceed_the_capture(self) -> None:
        order = new_order()
        self.payments.authorise(order, amount=1000)
        self.payments.capture(order)
        answers = self.parallel(6, lambda i: self.payments.refund(order, 300, key=f"{order}:r{i}"))
        self.assertEqual(sorted(a.status for a in answers), [200, 200, 200, 422, 422, 422])
        self.assertEqual(self.payments.of_order(order)["refunded"]["amount_minor"], 900)
        self.assertEqual([i["refunded_minor"] for i in self.world.intents(order)], [900])

    # ---- bad input -------------------------------------------------------------------------------

    def test_keys(self) -> None:
        order = new_order()
        answer = self.payments.send("POST", "/v1/payments", {"order_id": order})
        self.assertEqual((answer.status, answer.code), (400, "idempotency-key-missing"))
        self.payments.authorise(order, key=order)
        reused = self.payments.authorise(order, key=order, amount=1)
        self.assertEqual((reused.status, reused.code), (422, "idempotency-key-reused"))
        self.assertEqual(self.payments.authorise(new_order(), key=order).code, "idempotency-key-reused")
        other = new_order()
        self.payments.authorise(other)
        self.payments.capture(order, key=other + "same")
        self.assertEqual(self.payments.capture(other, key=other + "same").code, "idempotency-key-reused")
        self.assertEqual(self.payments.void(other, key=order).status, 200)  # keys belong to a route
        self.assertEqual(self.payments.void(new_order(), key="k" * 201).status, 422)

    def test_members_that_are_wrong_are_all_named(self) -> None:
        order = new_order()
        good = {"order_id": order, "attempt": 1, "amount": {"amount_minor": 1, "currency": "EUR"}, "method_token": "tok_ok",
                "capture": "manual"}
        bad = {"/order_id": {"order_id": "a b"}, "/attempt": {"attempt": 0}, "/amount/amount_minor": {"amount": {"amount_minor": 0, "currency": "EUR"}},
               "/amount/currency": {"amount": {"amount_minor": 1, "currency": "USD"}}, "/method_token": {"method_token": "x" * 129},
               "/capture": {"capture": "automatic"}, "/return_url": {"return_url": "javascript:alert(1)"}, "/extra": {"extra": 1},
               "/amount/extra": {"amount": {"amount_minor": 1, "currency": "EUR", "extra": 1}}, "/amount": {"amount": 5}}
        for pointer, change in bad.items():
            answer = self.payments.command("/v1/payments", order + pointer, good | change)
            self.assertEqual((answer.status, answer.code), (422, "validation"), pointer)
            self.assertIn(pointer, [e["pointer"] for e in answer.json["errors"]])
        for change in ({"attempt": 1.5}, {"attempt": True}, {"attempt": 10 ** 30}, {"order_id": None}, {"order_id": 7},
                       {"return_url": "//evil.test"}, {"amount": {"amount_minor": "1", "currency": "EUR"}}):
            self.assertEqual(self.payments.command("/v1/payments", order, good | change).status, 422, change)
        many = self.payments.command("/v1/payments", order, {})
        self.assertEqual(len(many.json["errors"]), 5)
        self.assertEqual(self.payments.command(f"/v1/orders/{order}/payment/void", order, {"x": 1}).status, 422)
        self.assertEqual(self.payments.of_order(order), None)

    def test_bodies_that_are_no_json(self) -> None:
        for body in (b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}{}", b"[" * 50_000, b'{"order_id":"a","order_id":"b"}', b"{\"a\":NaN}"):
            answer = self.payments.send("POST", "/v1/payments", body, {"idempotency-key": "bad"})
            self.assertEqual(answer.status, 422, body[:20])
        answer = self.payments.send("POST", "/v1/payments", b'"' + b"x" * 300_000 + b'"', {"idempotency-key": "bad"})
        self.assertEqual((answer.status, answer.code), (413, "too-large"))

    def test_paths_that_are_not_there(self) -> None:
        for method, path in (("GET", "/"), ("GET", "/v1"), ("GET", "/v1/orders/o/payment/capture/x"), ("POST", "/v1/orders/o/payment/steal"),
                             ("GET", "/v1/payments/pay_x/more"), ("GET", "/v1/orders//payment"), ("GET", "/v1/payments/%00"), ("GET", "/_archipel/x")):
            answer = call(self.payments.base, method, path, headers={"dapr-api-token": settings.api_token, "idempotency-key": "p"})
            self.assertEqual((answer.status, answer.code), (404, "not-found"), path)
        self.assertEqual(call(self.payments.base, "DELETE", "/v1/payments").status, 405)

    # ---- webhooks --------------------------------------------------------------------------------

    def event(self, intent: dict, **change) -> dict:
        return {"id": "evt_" + new_order(), "type": "payment_intent.x", "created": 1, "data": {"intent": intent | change}}

    def test_only_genuine_webhooks_are_believed(self) -> None:
        order = new_order()
        self.payments.authorise(order)
        lie = json.dumps(self.event(self.world.intents(order)[0], status="succeeded", captured_minor=1299, held_minor=0)).encode()
        now = int(time.time())
        sign = self.world.sign
        for signature in (None, "", "v1=00", "t=1", f"t={now},v1=", sign(lie, secret="another"), sign(lie + b" "), sign(lie, at=now - 301),
                          sign(lie, at=now + 400), sign(lie).replace("t=", "t=1"), "t=x,v1=" + "0" * 64, f"t={now},v1=" + "z" * 64, "t=" + "9" * 40 + ",v1=" + "0" * 64):
            headers = {} if signature is None else {"psp-signature": signature}
            answer = self.payments.send("POST", "/v1/webhooks/psp", lie, headers)
            self.assertEqual((answer.status, answer.code), (400, "signature-invalid"), signature)
        self.assertEqual(self.payments.state(order), "AUTHORISED")
        body = b'{"id":"evt_1","data":{}}'
        for signature in (sign(body, at=now - 290), sign(body) + ",v1=" + "0" * 64, "v1=" + "0" * 64 + "," + sign(body)):
            self.assertEqual(self.payments.send("POST", "/v1/webhooks/psp", body, {"psp-signature": signature}).status, 200)

    def test_old_doubled_and_foreign_webhooks_change_nothing(self) -> None:
        order = new_order()
        self.payments.authorise(order)
        young = self.world.intents(order)[0]
        self.payments.capture(order)
        self.payments.refund(order, 100)
        before, topics = self.payments.of_order(order), self.payments.topics(order)
        old = self.event(young)
        self.assertEqual([self.world.webhook(old).json["status"] for _ in range(3)], ["applied", "duplicate", "duplicate"])
        for change in ({"status": "requires_action"}, {"status": "processing"}, {"status": "canceled", "cancellation_reason": "expired"},
                       {"status": "requires_payment_method", "decline_code": "x"}, {"refunded_minor": 100, "captured_minor": 1299, "status": "succeeded"}):
            self.assertEqual(self.world.webhook(self.event(young, **change)).status, 200)
        for stranger in (self.event(young | {"id": "pi_stranger", "idempotency_key": "none"}), self.event({"id": 5}), self.event(young, status="odd"),
                         {"id": "evt_x"}, {"id": "evt_y", "data": []}):
            self.assertEqual(self.world.webhook(stranger).json["status"], "ignored")
        self.assertEqual((self.payments.of_order(order), self.payments.topics(order)), (before, topics))
        for bad in (b"{", b'{"data":{}}', b"[]"):
            self.assertEqual(self.payments.send("POST", "/v1/webhooks/psp", bad, {"psp-signature": self.world.sign(bad)}).status, 422)

    # ---- the platform's side ---------------------------------------------------------------------

    def test_the_outbox_is_read_in_pages_and_waits(self) -> None:
        order = new_order()
        last = self.payments.outbox(limit=0)["last_seq"]
        self.payments.authorise(order, headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
        self.payments.capture(order)
        page = self.payments.outbox(last, limit=1)
        self.assertEqual((len(page["events"]), page["events"][0]["topic"]), (1, "payment.authorised"))
        self.assertEqual(page["events"][0]["event"]["traceparent"][3:35], "ab" * 16)
        for name in ("subject", "correlationid", "partitionkey"):
            self.assertEqual(page["events"][0]["event"][name], order)
        end = self.payments.outbox(0)["last_seq"]
        waited: list = []
        thread = threading.Thread(target=lambda: waited.append(self.payments.outbox(end, wait_ms=20_000)))
        start = time.monotonic()
        thread.start()
        self.payments.authorise(new_order())
        thread.join(timeout=15)
        self.assertLess(time.monotonic() - start, 10)
        self.assertEqual(len(waited[0]["events"]), 1)
        now = self.payments.outbox(0)["last_seq"]
        empty = self.payments.outbox(now, wait_ms=50)
        self.assertEqual((empty["events"], empty["last_seq"]), ([], now))
        for query in ("after=x", "after=-1", "limit=1.5"):
            answer = self.payments.send("GET", f"/_archipel/outbox?{query}", headers={"dapr-api-token": settings.api_token})
            self.assertEqual(answer.status, 422)

    def test_the_platform_must_show_its_token(self) -> None:
        for headers in ({}, {"dapr-api-token": "wrong"}):
            for path in ("/_archipel/info", "/_archipel/outbox"):
                self.assertEqual(self.payments.send("GET", path, headers=headers).status, 401 if settings.api_token else 200)
        self.assertEqual(self.payments.send("GET", "/_archipel/info", headers={"dapr-api-token": settings.api_token}).json["name"], "payments")
        self.assertEqual(self.payments.send("GET", "/healthz").status, 200)
