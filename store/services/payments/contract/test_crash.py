"""kill -9 of payments, at chosen points and at random ones; afterwards the books agree payment by payment."""

from __future__ import annotations

import http.client
import random
import threading
import time
import unittest

from .books import Books
from .world import LOUD, Answer, World, call, eventually, new_order, settings


def patiently(ask, seconds: float = 180) -> Answer:
    """What orders does: the same key again and again, through crashes, until the answer is an end."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = ask()
            if answer.certain:
                return answer
        except (OSError, http.client.HTTPException):
            pass  # killed while it answered
        if time.monotonic() > end:
            raise AssertionError(f"no certain answer within {seconds} s")
        time.sleep(0.02)


@unittest.skipIf(settings.base_url, "needs a service that it may kill")
class KilledBetweenReplyAndCommit(unittest.TestCase):
    """The provider has done it and said so; the service dies before the answer is in its books."""

    def setUp(self) -> None:
        self.world = World()
        self.addCleanup(self.world.close)
        self.payments = self.world.payments
        self.world.webhook_wire.always("swallow")  # nobody else shall tell it either

    def kill_at(self, part: str, deliver: bool, chance: random.Random) -> threading.Event:
        """Kills the service when the reply is about to reach it, or a moment after it has."""
        killed = threading.Event()

        def at_the_reply(forward):
            answer = forward()

            def kill():
                self.world.service.kill()
                killed.set()
            if deliver:
                threading.Timer(chance.random() * 0.006, kill).start()
                return answer
            kill()
            return None
        self.world.wire.once(at_the_reply, part=part)
        return killed

    def life(self, seed: int) -> None:
        chance = random.Random(seed)
        for deliver in (False, True):
            for what in ("authorise", "capture", "refund", "void"):
                order = new_order()
                with self.subTest(seed=seed, what=what, deliver=deliver):
                    self.one(order, what, deliver, chance)

    def one(self, order: str, what: str, deliver: bool, chance: random.Random) -> None:
        steps = {"authorise": ("/v1/payment_intents", lambda: self.payments.authorise(order), 201),
                 "capture": ("/capture", lambda: self.payments.capture(order), 200),
                 "refund": ("/refunds", lambda: self.payments.refund(order, 400), 200),
                 "void": ("/cancel", lambda: self.payments.void(order), 200)}
        if what != "authorise":
            self.payments.authorise(order)
        if what == "refund":
            self.payments.capture(order)
        part, ask, good = steps[what]
        killed = self.kill_at(part, deliver, chance)
        try:
            ask()
        except (OSError, http.client.HTTPException):
            pass
        self.assertTrue(killed.wait(timeout=10))
        self.world.service.start()
        if chance.random() < 0.5:  # half the time nobody asks again, and it has to find out by itself
            self.assertEqual(patiently(ask).status, good)
        books = Books(self.world)
        books.wait_for_rest()
        self.assertEqual(books.problems(), [])
        self.assertEqual(patiently(ask).status, good)
        self.assertEqual(len(self.world.intents(order)), 1)

    def test_every_command(self) -> None:
        for seed in settings.seeds:
            self.life(seed)


@unittest.skipIf(settings.base_url, "needs a service that it may kill")
class Stopping(unittest.TestCase):
    def test_sigterm_lets_what_runs_finish(self) -> None:
        world = World()
        self.addCleanup(world.close)
        order, answers = new_order(), []
        world.wire.slow_s = 0.5
        world.wire.once("slow", part="/v1/payment_intents")
        thread = threading.Thread(target=lambda: answers.append(world.payments.authorise(order)))
        thread.start()
        eventually(lambda: world.intents(order), "the request has reached the provider")
        # A reader that waits for events must not hold the stop up.
        waiting = threading.Thread(target=self.wait_for_events, args=(world,))
        waiting.start()
        start = time.monotonic()
        self.assertEqual(world.service.terminate(), 0)
        self.assertLess(time.monotonic() - start, 5)
        thread.join()
        waiting.join()
        self.assertEqual(answers[0].status, 201)
        world.service.start()
        self.assertEqual(world.payments.topics(order), ["authorised"])

    def wait_for_events(self, world: World) -> None:
        try:
            call(world.payments.base, "GET", "/_archipel/outbox?after=10000&wait_ms=20000",
                 headers={"dapr-api-token": settings.api_token}, timeout=30)
        except (OSError, http.client.HTTPException):
            pass


@unittest.skipIf(settings.base_url, "needs a service of its own")
class FullDisk(unittest.TestCase):
    def test_a_full_disk_refuses_and_loses_nothing(self) -> None:
        world = World()
        self.addCleanup(world.close)
        world.service.kill()
        world.service.file_limit_kib = 3 * 1024
        world.service.start()
        orders: dict[str, int] = {}
        refused: list[Answer] = []

        def one_more() -> bool:
            order = new_order()
            answer = world.payments.authorise(order, f"tok_ok_{order}")
            orders[order] = answer.status
            refused.extend([answer] if answer.status == 507 else [])
            return len(refused) == 3
        eventually(one_more, "the disk is full", 60)
        for answer in refused:
            self.assertEqual((answer.code, answer.json["retryable"]), ("storage-full", True))
        # A checkpoint may have made room in the meantime.
        self.assertIn(world.payments.send("GET", "/readyz").status, (200, 507))
        done = next(order for order, status in orders.items() if status == 201)
        self.assertEqual(world.payments.state(done), "AUTHORISED")  # reading goes on
        world.service.kill()
        world.service.file_limit_kib = None
        world.service.start()
        for order, status in orders.items():
            self.assertEqual(patiently(lambda: world.payments.authorise(order, f"tok_ok_{order}")).status, 201)
        books = Books(world)
        books.wait_for_rest()
        self.assertEqual(books.problems(), [])


class Order:
    """One order's saga as its owner drives it: stubborn about keys, random about everything else."""

    TOKENS = ("ok",) * 8 + ("decline", "insufficient", "3ds", "3ds", "drop", "webhook_first", "webhook_thrice",
                            "slow", "auth_expires", "capture_fails")

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world, self.payments, self.chance = world, world.payments, chance
        self.id = new_order()
        self.amount = chance.randint(100, 9_999)
        self.refunded = 0
        self.told: list[str] = []

    def run(self) -> None:
        if self.chance.random() < 0.05:
            self.void()  # before it was ever paid: the tombstone
        for attempt in range(1, 4):
            answer = self.authorise(attempt)
            self.told.append(f"authorise {attempt}: {answer.status if answer else 'given up'}")
            if answer is None:
                self.void()
                return
            if answer.status == 201:
                break
            if answer.status == 410:
                return
        else:
            self.void()
            return
        if self.chance.random() < 0.25:
            self.void()
            return
        answer = patiently(lambda: self.payments.capture(self.id))
        self.told.append(f"capture: {answer.status}")
        if answer.status != 200:
            self.void()
            return
        while self.refunded < self.amount and self.chance.random() < 0.4:
            self.refund(self.chance.randint(1, self.amount - self.refunded))

    def authorise(self, attempt: int) -> Answer | None:
        token = f"tok_{self.chance.choice(self.TOKENS)}_{self.id[-12:]}"
        giving_up = self.chance.random() < 0.1
        end = time.monotonic() + 180
        while time.monotonic() < end:
            try:
                answer = self.payments.authorise(self.id, token, attempt=attempt, amount=self.amount)
            except (OSError, http.client.HTTPException):
                answer = None
            if giving_up and self.chance.random() < 0.5:
                return None  # cancelled by the customer while nobody knows
            if answer is not None and answer.status == 202 and answer.json["action_url"]:
                if self.chance.random() < 0.2:
                    return answer  # leaves the question unanswered and takes another card
                self.world.answer_bank(answer.json["action_url"], self.chance.choice(("approve", "approve", "refuse")))
            elif answer is not None and answer.certain:
                return answer
            time.sleep(0.02)
        raise AssertionError(f"{self.id}: attempt {attempt} never ended")

    def void(self) -> None:
        answer = patiently(lambda: self.payments.void(self.id))
        self.told.append(f"void: {answer.status}")
        if answer.status != 200:
            raise AssertionError(f"{self.id}: void was refused: {answer.body!r}; {self.told}")

    def refund(self, amount: int) -> None:
        key = f"{self.id}:refund:{self.refunded}"
        answer = patiently(lambda: self.payments.refund(self.id, amount, key=key))
        self.told.append(f"refund {amount}: {answer.status}")
        if answer.status != 200:
            raise AssertionError(f"{self.id}: refund was refused: {answer.body!r}; {self.told}")
        self.refunded += amount


@unittest.skipIf(settings.base_url, "needs a wire of its own and a service that it may kill")
class RandomLives(unittest.TestCase):
    """Many orders at once over a bad wire, with kill -9 in between, from a seed."""

    def test_the_books_agree_after_a_bad_day(self) -> None:
        for seed in settings.seeds:
            with self.subTest(seed=seed):
                print(f"(seed {seed}; again: python3 -m contract --seed {seed} test_crash.RandomLives)", end=" ", flush=True)
                self.life(seed)

    def life(self, seed: int) -> None:
        world = World()
        try:
            orders, errors = self.day(world, random.Random(seed))
            world.calm()
            books = Books(world)
            books.wait_for_rest()
            self.assertEqual(errors, [])
            self.assertEqual(books.problems(), [])
            self.answers_hold(world, orders)
        finally:
            world.close()

    def day(self, world: World, chance: random.Random) -> tuple[list[Order], list[str]]:
        orders = [Order(world, random.Random(chance.random())) for _ in range(settings.orders)]
        queue, errors, lock = list(orders), [], threading.Lock()
        dice = random.Random(chance.random())
        world.wire.policy = self.weather(world, dice, 0.15, LOUD + ("twice",), 0.015)
        world.webhook_wire.policy = self.weather(world, dice, 0.3, ("lost", "swallow", "hold", "hold", "twice", "error"), 0.01)

        def worker() -> None:
            while True:
                with lock:
                    if not queue:
                        return
                    order = queue.pop()
                try:
                    order.run()
                except Exception as error:  # every failure of a life is reported, whatever it is
                    errors.append(f"{type(error).__name__}: {error}")

        workers = [threading.Thread(target=worker) for _ in range(8)]
        for thread in workers:
            thread.start()
        reaper = threading.Thread(target=self.reaper, args=(world, workers, random.Random(chance.random())))
        reaper.start()
        for thread in workers:
            thread.join()
        reaper.join()
        return orders, errors

    def weather(self, world: World, dice: random.Random, bad: float, actions: tuple[str, ...], deadly: float):
        def policy(method: str, path: str):
            throw = dice.random()
            if throw < deadly:
                return lambda forward: self.die(world, forward(), dice)
            return dice.choice(actions) if throw < deadly + bad else "pass"
        return policy

    def die(self, world: World, answer: Answer | None, dice: random.Random) -> Answer | None:
        """The service dies around the moment at which this answer reaches it."""
        if dice.random() < 0.5:
            threading.Timer(dice.random() * 0.006, self.resurrect, args=(world,)).start()
            return answer
        threading.Thread(target=self.resurrect, args=(world,)).start()
        return None

    def reaper(self, world: World, workers: list[threading.Thread], dice: random.Random) -> None:
        while any(thread.is_alive() for thread in workers):
            time.sleep(1 + 3 * dice.random())
            self.resurrect(world)

    def resurrect(self, world: World) -> None:
        with world.service.lock:
            world.service.kill()
            world.service.start()
        world.deaths += 1

    def answers_hold(self, world: World, orders: list[Order]) -> None:
        """What a caller was told for certain is what happened."""
        for order in orders:
            payment = world.payments.of_order(order.id)
            refunded = payment["refunded"]["amount_minor"] if payment else 0
            self.assertEqual(refunded, order.refunded, order.told)
            captured = any(line == "capture: 200" for line in order.told)
            self.assertEqual(bool(payment) and payment["captured"]["amount_minor"] == order.amount, captured, order.told)
            if any(line == "void: 200" for line in order.told):
                self.assertEqual(world.live_intents(order.id), [], order.told)
        print(f"{len(orders)} orders, {world.deaths} deaths, {len(world.wire.log)} requests to the provider,"
              f" {sum(a != 'pass' for *_, a in world.wire.log)} of them hurt ...", end=" ", flush=True)
