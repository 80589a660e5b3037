"""Money is conserved: a seeded random life of the provider, checked after every single command."""

from __future__ import annotations

import os
import random
import tempfile
import unittest

from psp_sim import tokens
from psp_sim.db import Database
from psp_sim.provider import Provider, Refused, Rules

CARD = 20_000


class Books:
    """Recomputes the balances from the append-only moves and from the intents."""

    def __init__(self, test: unittest.TestCase, db: Database, seed: int) -> None:
        self.test, self.db, self.seed = test, db, seed

    def check(self, after: str) -> None:
        note = f"PSP_SEED={self.seed}, after {after}"
        with self.db.read() as tx:
            accounts = {r["id"]: dict(r) for r in tx.execute("SELECT * FROM account")}
            moves = tx.execute("SELECT * FROM move").fetchall()
            intents = tx.execute("SELECT * FROM intent").fetchall()
            refunds = tx.execute("SELECT intent, SUM(amount_minor) s FROM refund GROUP BY intent").fetchall()
        equal = self.test.assertEqual
        equal(sum(a["balance_minor"] for a in accounts.values()), sum(a["initial_minor"] for a in accounts.values()), note)
        balance = {name: a["initial_minor"] for name, a in accounts.items()}
        for move in moves:
            balance[move["from_account"]] -= move["amount_minor"]
            balance[move["to_account"]] += move["amount_minor"]
        equal(balance, {name: a["balance_minor"] for name, a in accounts.items()}, note)
        equal(accounts["holds"]["balance_minor"], sum(i["held_minor"] for i in intents), note)
        equal(accounts["merchant"]["balance_minor"],
              sum(i["captured_minor"] - i["refunded_minor"] for i in intents), note)
        equal({r["intent"]: r["s"] for r in refunds},
              {i["ref"]: i["refunded_minor"] for i in intents if i["refunded_minor"]}, note)


class Life:
    """Random commands, with repeated keys, over few cards and a clock that jumps."""

    def __init__(self, provider: Provider, chance: random.Random) -> None:
        self.provider, self.chance = provider, chance
        self.time = 1_700_000_000_000
        self.keys: list[tuple] = []

    def step(self) -> str:
        kind = self.chance.choice(["create"] * 4 + ["capture"] * 3 + ["cancel", "refund", "refund", "3ds", "time", "again"])
        if kind == "time":
            self.time += self.chance.choice([1, 500, 2_000, 60_000, 8 * 24 * 3600 * 1000] if self.chance.random() < 0.3 else [1, 500])
            self.provider.run_due()
            return "time"
        command = self.chance.choice(self.keys) if kind == "again" and self.keys else self._fresh(kind)
        self.keys.append(command)
        try:
            self._do(*command)
        except Refused as refused:
            if refused.code == "internal":
                raise
        return str(command)

    def _fresh(self, kind: str) -> tuple:
        refs = [i["ref"] for i in self._intents()] or ["pi_none"]
        # Mostly the young ones: an old intent has ended, and all it can teach is a refusal.
        key, ref = f"k{len(self.keys)}", self.chance.choice(refs if self.chance.random() < 0.2 else refs[-6:])
        if kind in ("create", "again"):
            token = f"tok_{self.chance.choice(tokens.BEHAVIOURS)}_{self.chance.choice('abc')}"
            body = {"amount_minor": self.chance.randint(1, 6_000), "currency": "EUR", "method_token": token,
                    "order_ref": f"ord_{self.chance.randint(1, 9)}"}
            return "create", key, body
        if kind == "refund":
            return kind, key, ref, self.chance.randint(1, 6_000)
        if kind == "3ds":
            return kind, ref, self.chance.random() < 0.5
        return kind, key, ref

    def _do(self, kind: str, *args) -> None:
        call = {"create": self.provider.create, "capture": self.provider.capture, "cancel": self.provider.cancel,
                "refund": self.provider.refund, "3ds": self.provider.authenticate}[kind]
        call(*args)

    def _intents(self):
        with self.provider._db.read() as tx:
            return tx.execute("SELECT ref FROM intent ORDER BY rowid").fetchall()


class Money(unittest.TestCase):
    def test_a_random_life_conserves_money_at_every_step(self) -> None:
        seeds = [int(os.environ["PSP_SEED"])] if "PSP_SEED" in os.environ else range(1, 9)
        kinds: set[str] = set()
        for seed in seeds:
            with self.subTest(seed=seed), tempfile.TemporaryDirectory() as folder:
                db = Database(f"{folder}/psp.db")
                db._conn.execute("PRAGMA synchronous=OFF")  # thousands of commits, none of which must last
                life = Life(Provider(db, Rules(card_initial_minor=CARD), clock=lambda: life.time), random.Random(seed))
                books = Books(self, db, seed)
                for _ in range(400):
                    books.check(life.step())
                with db.read() as tx:
                    seen = {r[0] for r in tx.execute("SELECT DISTINCT kind FROM move")}
                db.close()
                kinds |= seen
        if len(seeds) > 1:
            self.assertEqual(kinds, {"hold", "release", "capture", "refund"}, "the lives were too dull")

    def test_the_schema_itself_refuses_money_from_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            db = Database(f"{folder}/psp.db")
            with self.assertRaisesRegex(Exception, "CHECK"):
                with db.write() as tx:
                    tx.execute("UPDATE account SET balance_minor = -1 WHERE id='merchant'")
            db.close()


class Tokens(unittest.TestCase):
    def test_the_name_after_the_behaviour_is_the_card(self) -> None:
        self.assertEqual(tokens.parse("tok_webhook_first_ann"), tokens.Token("webhook_first", "card:ann"))
        self.assertEqual(tokens.parse("tok_ok_ann"), tokens.Token("ok", "card:ann"))
        self.assertEqual(tokens.parse("tok_ok_ok"), tokens.Token("ok", "card:ok"))
        for bad in ("", "tok_", "tok_okay", "ok", "tok_ok_", "tok_ok_a b", "tok_ok_" + "x" * 81):
            self.assertIsNone(tokens.parse(bad), bad)


if __name__ == "__main__":
    unittest.main()
