"""Its database, filled once with what such a shop would have sold."""

from __future__ import annotations

import sqlite3
import threading

SCHEMA = """
CREATE TABLE tbl_artikel (art_no TEXT PRIMARY KEY, name TEXT, grp TEXT, price_cent INTEGER, stock INTEGER);
CREATE TABLE tbl_order (order_no INTEGER PRIMARY KEY, cust_no INTEGER, day TEXT, state INTEGER, total_cent INTEGER);
CREATE TABLE tbl_order_pos (order_no INTEGER, pos INTEGER, art_no TEXT, qty INTEGER, price_cent INTEGER);
"""
GROUPS = ["Lamps", "Ropes", "Tents", "Boots"]
WORDS = ["Harbour", "Reef", "Lagoon", "Drift", "Gale", "Cove"]
# What the numbers in `state` mean stands nowhere but here.
STATES = {0: "open", 1: "paid", 2: "shipped", 9: "cancelled"}
ORDERS = range(1001, 1041)
CUSTOMERS = 12


class Shop:
    def __init__(self, path: str = ":memory:") -> None:
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        if not self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'tbl_order'").fetchone():
            self.fill()

    def fill(self) -> None:
        with self.db:
            self.db.executescript(SCHEMA)
            for n in range(24):
                name = f"{WORDS[n % 6]} {GROUPS[n % 4][:-1]} {n + 1}"
                row = (f"A-{100 + n}", name, GROUPS[n % 4], 990 + n * 135, n * 7 % 20)
                self.db.execute("INSERT INTO tbl_artikel VALUES (?,?,?,?,?)", row)
            for no in ORDERS:
                self.insert(no, no % CUSTOMERS + 1, [(f"A-{100 + no % 24}", 1 + no % 3), (f"A-{100 + no * 5 % 24}", 1)],
                            (no % 4) if no % 4 < 3 else 9, f"{1 + no % 28:02}.{1 + no % 12:02}.2019")

    def insert(self, no: int, customer: int, lines: list[tuple[str, int]], state: int, day: str) -> None:
        total = 0
        for pos, (article, qty) in enumerate(lines, 1):
            price = self.db.execute("SELECT price_cent FROM tbl_artikel WHERE art_no = ?", (article,)).fetchone()[0]
            total += price * qty
            self.db.execute("INSERT INTO tbl_order_pos VALUES (?,?,?,?,?)", (no, pos, article, qty, price))
        self.db.execute("INSERT INTO tbl_order VALUES (?,?,?,?,?)", (no, customer, day, state, total))

    def articles(self, group: str | None = None) -> list[dict]:
        with self.lock:
            rows = self.db.execute("SELECT * FROM tbl_artikel WHERE ? IS NULL OR grp = ? ORDER BY art_no", (group, group)).fetchall()
        return [article(row) for row in rows]

    def article(self, number: str) -> dict | None:
        with self.lock:
            row = self.db.execute("SELECT * FROM tbl_artikel WHERE art_no = ?", (number,)).fetchone()
        return article(row) if row else None

    def orders(self, customer: int | None = None) -> list[dict]:
        with self.lock:
            rows = self.db.execute("SELECT * FROM tbl_order WHERE ? IS NULL OR cust_no = ? ORDER BY order_no", (customer, customer)).fetchall()
            return [self.with_lines(row) for row in rows]

    def order(self, number: int) -> dict | None:
        with self.lock:
            row = self.db.execute("SELECT * FROM tbl_order WHERE order_no = ?", (number,)).fetchone()
            return self.with_lines(row) if row else None

    def place(self, customer: int, lines: list[tuple[str, int]], day: str) -> dict:
        with self.lock, self.db:
            # Two at once would get the same number, were it not for the lock: it has always been so.
            number = self.db.execute("SELECT max(order_no) + 1 FROM tbl_order").fetchone()[0]
            self.insert(number, customer, lines, 0, day)
            return self.with_lines(self.db.execute("SELECT * FROM tbl_order WHERE order_no = ?", (number,)).fetchone())

    def with_lines(self, row: sqlite3.Row) -> dict:
        lines = self.db.execute("SELECT * FROM tbl_order_pos WHERE order_no = ? ORDER BY pos", (row["order_no"],)).fetchall()
        return {
            "number": row["order_no"],
            "customer": row["cust_no"],
            "day": row["day"],
            "status": STATES.get(row["state"], "?"),
            "total_minor": row["total_cent"],
            "lines": [{"article": line["art_no"], "qty": line["qty"], "price_minor": line["price_cent"]} for line in lines],
        }


def article(row: sqlite3.Row) -> dict:
    return {"article": row["art_no"], "name": row["name"], "group": row["grp"],
            "price_minor": row["price_cent"], "available": row["stock"] > 0}
