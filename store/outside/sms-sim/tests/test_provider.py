"""Drives the program from outside, as notifications and a browser do."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = {"to": "+447700900123", "body": "Ada, we have your order #00ABC1.", "order_ref": "ord_00abc1", "template": "received"}


class World:
    def __init__(self, **env: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.env = {"PATH": os.environ["PATH"], "PORT": "0", "DATABASE_URL": f"sqlite:///{self.folder.name}/s.db", **env}
        self.launch()

    def launch(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "sms_sim"], cwd=ROOT, env=self.env, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if address := json.loads(line).get("address"):
                self.address = address
                self.reader = threading.Thread(target=self.process.stdout.read, daemon=True)
                self.reader.start()
                return
        raise AssertionError("the program did not open")

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        code = self.process.wait(10)
        self.reader.join()
        self.process.stdout.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self.folder.cleanup()

    def ask(self, method: str, path: str, body: object = None, key: str | None = None, **headers: str):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            if key is not None:
                headers["Idempotency-Key"] = key
            content = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
            connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            connection.close()

    def send(self, key: str, **more: str):
        status, body, headers = self.ask("POST", "/v1/messages", {**TEXT, **more}, key)
        return status, json.loads(body), headers.get("Idempotency-Replayed")


class Page(HTMLParser):
    """The texts of the page, and every address it asks a browser to load or follow."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def texts(self) -> list[str]:
        return [a["id"] or "" for tag, a in self.tags if tag == "li" and a.get("class") == "text"]

    def addresses(self) -> list[str]:
        return [a.get("href") or a.get("src") or "" for _, a in self.tags if "href" in a or "src" in a]


class ProviderTest(unittest.TestCase):
    def world(self, **env: str) -> World:
        world = World(**env)
        self.addCleanup(world.close)
        return world

    def test_the_same_key_is_the_same_text(self) -> None:
        w = self.world()
        status, first, replayed = w.send("msg_1")
        self.assertEqual((status, replayed), (202, None))
        self.assertRegex(first["id"], r"^sms_[0-9a-f]{12}7[0-9a-f]{19}$")
        self.assertEqual(w.send("msg_1"), (202, first, "true"))
        self.assertEqual(w.send("msg_1", body="another")[1]["code"], "idempotency-key-reused")
        self.assertNotEqual(w.send("msg_2")[1], first)
        items = json.loads(w.ask("GET", "/v1/messages?order=ord_00abc1")[1])["items"]
        self.assertEqual([item["id"] for item in items][:1], [first["id"]])
        self.assertEqual({k: items[0][k] for k in TEXT}, TEXT)

    def test_what_is_refused(self) -> None:
        w = self.world()
        bad = ["", "{", "[]", "null", "7", "[" * 100_000, b"\xff\xfe", {}, {**TEXT, "more": 1}, {**TEXT, "to": "nobody"}, {**TEXT, "to": ""},
               {**TEXT, "body": ""}, {**TEXT, "body": "x" * 1601}, {**TEXT, "body": 7}, {**TEXT, "order_ref": None}, '{"to":"+447700900123","body":"\\ud800","order_ref":"o","template":"t"}']
        for body in bad:
            status, answer, headers = w.ask("POST", "/v1/messages", body, "k", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            self.assertEqual(status, 422, (str(body)[:80], answer))
            self.assertEqual(headers["Content-Type"], "application/problem+json")
            self.assertEqual(json.loads(answer)["trace_id"], "0af7651916cd43dd8448eb211c80319c")
        self.assertEqual(w.ask("POST", "/v1/messages", TEXT)[0], 400)
        self.assertEqual(w.ask("POST", "/v1/messages", " " * 300_000, "k")[0], 413)
        self.assertEqual(w.ask("GET", "/v1/nothing")[0], 404)
        self.assertEqual(w.ask("GET", "//[")[0], 404)
        self.assertEqual(json.loads(w.ask("GET", "/v1/messages")[1])["items"], [])

    def test_requests_that_are_none(self) -> None:
        w = self.world()
        host, _, port = w.address.rpartition(":")
        for raw in (b"\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                    b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"):
            with socket.create_connection((host, int(port)), timeout=10) as s:
                s.sendall(raw)
                self.assertRegex(s.makefile("rb").readline(), rb"^HTTP/1.1 4\d\d ", raw[:60])
        self.assertEqual(w.ask("GET", "/healthz")[0], 200)

    def test_the_phone_shows_texts_newest_last(self) -> None:
        w = self.world(SENDER_NAME="Archipelago <Goods>")
        ids = [w.send(f"k{n}", body=f"<b>text {n}</b> & more", order_ref=f"ord_{n % 2}")[1]["id"] for n in range(4)]
        status, html, headers = w.ask("GET", "/phone/")
        self.assertEqual(status, 200)
        self.assertEqual(Page(html).texts(), ids)
        self.assertIn("&lt;b&gt;text 0&lt;/b&gt; &amp; more", html)
        self.assertNotIn("<b>text", html)
        self.assertIn("Archipelago &lt;Goods&gt;", html)
        self.assertNotRegex(html, r"<script(?![^>]* src=)|<style|style=|\son\w+=")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertEqual(Page(w.ask("GET", "/phone/?order=ord_1")[1]).texts(), ids[1::2])
        self.assertIn("No texts yet", w.ask("GET", "/phone/?order=%22%3E%3Cscript%3E")[1])
        self.assertNotIn('"><script>', w.ask("GET", "/phone/?order=%22%3E%3Cscript%3E")[1])

    def test_the_phone_lives_below_its_prefix_and_answers_stripped_too(self) -> None:
        w = self.world(PUBLIC_PREFIX="/my/phone/")
        w.send("k")
        self.assertEqual(w.ask("GET", "/my/phone")[2]["Location"], "/my/phone/")
        for path in ("/my/phone/", "/"):
            status, html, _ = w.ask("GET", path)
            self.assertEqual(status, 200)
            for address in Page(html).addresses():
                self.assertRegex(address, r"^(/my/phone/|data:)")
                if not address.startswith("data:"):
                    self.assertEqual(w.ask("GET", address)[0], 200, address)
                    self.assertEqual(w.ask("GET", address.removeprefix("/my/phone"))[0], 200, address)
        self.assertEqual(w.ask("POST", "/my/phone/v1/messages", TEXT, "k2")[0], 404)

    def test_without_scripts_it_loads_itself_anew_unless_told_not_to(self) -> None:
        w = self.world()
        self.assertIn('<noscript><meta http-equiv="refresh"', w.ask("GET", "/phone/")[1])
        still = w.ask("GET", "/phone/?order=o&still=1")[1]
        self.assertNotIn("http-equiv", still)
        self.assertIn('href="/phone/?order=o"', still)

    def test_an_unchanged_page_is_not_sent_again(self) -> None:
        w = self.world()
        w.send("k")
        etag = w.ask("GET", "/phone/")[2]["ETag"]
        self.assertEqual(w.ask("GET", "/phone/", If_None_Match=etag)[:2], (304, ""))
        w.send("k2")
        self.assertEqual(w.ask("GET", "/phone/", If_None_Match=etag)[0], 200)

    def test_the_platforms_paths(self) -> None:
        w = self.world(APP_API_TOKEN="secret")
        self.assertEqual(w.ask("GET", "/_archipel/info")[0], 401)
        self.assertEqual(json.loads(w.ask("GET", "/_archipel/info", dapr_api_token="secret")[1])["name"], "sms-sim")
        self.assertEqual((w.ask("GET", "/readyz")[0], w.ask("HEAD", "/healthz")[:2]), (200, (200, "")))

    def test_killed_again_and_again_it_keeps_what_it_accepted(self) -> None:
        w = self.world()
        accepted: dict[str, str] = {}
        for n in range(60):
            accepted[f"k{n}"] = w.send(f"k{n}")[1]["id"]
            if n % 12 == 7:
                w.kill()
                w.launch()
        for key, text_id in accepted.items():
            self.assertEqual(w.send(key), (202, {"id": text_id}, "true"))
        self.assertEqual(len(json.loads(w.ask("GET", "/v1/messages")[1])["items"]), 60)

    def test_many_senders_of_one_text_make_one(self) -> None:
        w = self.world()
        ids: set[str] = set()
        threads = [threading.Thread(target=lambda: ids.add(w.send("k")[1]["id"])) for _ in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(ids), 1)

    def test_a_term_signal_is_an_end(self) -> None:
        w = self.world()
        w.send("k")
        self.assertEqual(w.kill(signal.SIGTERM), 0)

    def test_the_contract_names_every_code_the_program_uses(self) -> None:
        used = set(re.findall(r'Refusal\(\s*\w+, "([a-z-]+)"', (ROOT / "sms_sim" / "server.py").read_text()))
        named = re.search(r"code: \{ enum: \[(.*?)\]", (ROOT / "openapi.yaml").read_text())
        self.assertEqual(used, set(named[1].split(", ")))


if __name__ == "__main__":
    unittest.main()
