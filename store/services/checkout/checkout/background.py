"""What runs without being asked: submitted checkouts become orders, forgotten ones expire.

The promise of submit is in the database; here it is kept. A dead orders service delays an order and never
loses it: the same order under the same id is posted until it is accepted.
"""

from __future__ import annotations

import asyncio
import logging
import random

from . import ids, outbox, sessions, trace
from .calls import Callee, NoAnswer
from .db import Database

AT_ONCE = 4
BACKOFF_FIRST_MS = 200
BACKOFF_MAX_MS = 30_000
SWEEP_S = 30

log = logging.getLogger("background")


class Submitter:
    def __init__(self, db: Database, orders: Callee) -> None:
        self._db, self._orders = db, orders
        self._wake = asyncio.Event()
        self._busy: set[str] = set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                wait = 5.0
                try:
                    wait = await self._hand_out(tasks)
                except Exception:
                    log.exception("the submitter could not look")
                try:
                    await asyncio.wait_for(self._wake.wait(), wait)
                except TimeoutError:
                    pass

    async def _hand_out(self, tasks: asyncio.TaskGroup) -> float:
        now = ids.now_ms()
        for submission in await self._db.do(lambda tx: sessions.due(tx, now, 2 * AT_ONCE)):
            if len(self._busy) < AT_ONCE and submission.id not in self._busy:
                self._busy.add(submission.id)
                tasks.create_task(self._submit(submission))
        if self._busy:
            return 5.0  # whoever ends wakes us
        due = await self._db.do(sessions.next_due)
        return 60.0 if due is None else max(0.01, (due - ids.now_ms()) / 1000)

    async def _submit(self, submission: sessions.Submission) -> None:
        trace.enter(submission.traceparent)
        trace.order(submission.order_id)
        try:
            if await self._post(submission):
                await self._db.do(lambda tx: sessions.ordered(tx, submission.id))
            else:
                at = ids.now_ms() + backoff_ms(submission.tries)
                await self._db.do(lambda tx: sessions.try_again(tx, submission.id, at))
        except Exception:
            log.exception("a submission could not be handled; it comes again")
            await asyncio.sleep(1)
        finally:
            self._busy.discard(submission.id)
            self.wake()

    async def _post(self, submission: sessions.Submission) -> bool:
        try:
            answer = await self._orders.post("/v1/orders", submission.body.encode())
        except NoAnswer as error:
            log.warning("orders does not answer (%s); the order waits", error)
            return False
        if answer.status in (200, 201):
            return True
        # A refusal of what we promised is a bug of somebody, and people must see it; the promise stands.
        level = logging.WARNING if answer.status >= 500 or answer.status == 429 else logging.ERROR
        log.log(level, "orders answered %d: %s", answer.status, answer.body[:500].decode(errors="replace"))
        return False


def backoff_ms(tries: int) -> int:
    full = min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** min(tries, 16))
    return int(full * (0.5 + 0.5 * random.random()))


async def sweep(db: Database) -> None:
    while True:
        try:
            while await db.do(lambda tx: sessions.expire(tx, ids.now_ms())) > 0:
                pass
            await db.do(outbox.purge)
        except Exception:
            log.exception("the sweep failed")
        await asyncio.sleep(SWEEP_S)
