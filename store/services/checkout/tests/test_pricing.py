"""Sums, taxes and roundings, without a server."""

from __future__ import annotations

import random
import unittest
from decimal import ROUND_HALF_EVEN, Decimal

from checkout.pricing import TAX, Line, Option, changes, chosen, half_even, totals


class Pricing(unittest.TestCase):
    def test_half_even_is_what_decimal_says(self) -> None:
        chance = random.Random(1)
        for _ in range(5_000):
            numerator, denominator = chance.randint(0, 10 ** 9), chance.choice([2, 4, 100, 108, 119, 120])
            wanted = int((Decimal(numerator) / Decimal(denominator)).quantize(Decimal(1), ROUND_HALF_EVEN))
            self.assertEqual(half_even(numerator, denominator), wanted, (numerator, denominator))
        self.assertEqual([half_even(n, 2) for n in (1, 3, 5, 7)], [0, 2, 2, 4])

    def test_taxes(self) -> None:
        lines = [Line("a", "A", 2, 6000, 100), Line("b", "B", 1, 1250, 100)]
        france = totals(lines, 490, "FR")
        self.assertEqual((france.subtotal, france.tax, france.tax_included, france.total), (13250, 0, 2290, 13740))
        self.assertEqual(totals(lines, 0, "DE").tax_included, 1916 + 200)
        states = totals(lines, 490, "US")
        self.assertEqual((states.tax, states.tax_included, states.total), (960 + 100, 0, 13250 + 490 + 1060))

    def test_the_total_is_always_its_parts(self) -> None:
        chance = random.Random(2)
        for _ in range(2_000):
            lines = [Line(str(n), "x", chance.randint(1, 99), chance.randint(0, 10 ** 6), 1) for n in range(chance.randint(1, 50))]
            country, shipping = chance.choice(list(TAX)), chance.randint(0, 5_000)
            t = totals(lines, shipping, country)
            self.assertEqual(t.total, t.subtotal - t.discount + t.shipping + t.tax)
            self.assertEqual(t.subtotal, sum(line.qty * line.unit for line in lines))
            self.assertTrue(0 <= t.tax_included < t.subtotal + t.shipping + 1)

    def test_which_price_counts_as_seen(self) -> None:
        line = [Line("a", "A", 1, 12, 1)]
        self.assertEqual(changes(line, {}, {}), [])
        self.assertEqual(changes(line, {}, {"a": 12}), [])
        self.assertEqual(changes(line, {"a": 12}, {"a": 10}), [])
        self.assertEqual(changes(line, {"a": 10}, {"a": 12}), [])
        self.assertEqual([c["was"]["amount_minor"] for c in changes(line, {"a": 11}, {"a": 10})], [11])

    def test_the_option_that_is_counted(self) -> None:
        options = [Option("express", "", 9, 1, 1), Option("standard", "", 4, 2, 4)]
        self.assertEqual(chosen(options, None).id, "standard")
        self.assertEqual(chosen(options, "express").id, "express")
        self.assertIsNone(chosen(options, "drone"))
