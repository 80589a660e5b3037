"""Calls to the other services: HTTP/1.1 over pooled connections, one deadline for the whole exchange.

h11 (which uvicorn brings) keeps the protocol; here are only sockets, a small pool and the deadline.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11

from . import trace
from .problems import unavailable

TIMEOUT_S = 2.0
POOL_MAX = 8
ANSWER_MAX = 1024 * 1024


class NoAnswer(Exception):
    """Nothing is known of what the callee did."""


@dataclass
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.protocol = h11.Connection(h11.CLIENT)

    async def exchange(self, request: h11.Request, body: bytes) -> Answer:
        out = self.protocol.send(request) or b""
        if body:
            out += self.protocol.send(h11.Data(data=body)) or b""
        out += self.protocol.send(h11.EndOfMessage()) or b""
        self.writer.write(out)
        await self.writer.drain()
        status, parts, size = 0, [], 0
        while True:
            event = self.protocol.next_event()
            if event is h11.NEED_DATA:
                self.protocol.receive_data(await self.reader.read(65_536))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > ANSWER_MAX:
                    raise NoAnswer(f"an answer of more than {ANSWER_MAX} bytes")
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, b"".join(parts))
            elif isinstance(event, h11.ConnectionClosed):
                raise NoAnswer("the connection was closed")

    def reusable(self) -> bool:
        if self.protocol.our_state is h11.DONE and self.protocol.their_state is h11.DONE and not self.reader.at_eof():
            self.protocol.start_next_cycle()
            return True
        return False

    def close(self) -> None:
        self.writer.close()


class Callee:
    def __init__(self, name: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise SystemExit(f"{name.upper()}_URL is {url!r}; it has the form http://host:port")
        self.name, self._prefix = name, parts.path.rstrip("/")
        self._host, self._port = parts.hostname, parts.port or 80
        self._idle: list[_Connection] = []

    async def get(self, path: str) -> Answer:
        return await self._call("GET", path, b"")

    async def post(self, path: str, body: Any, language: str | None = None) -> Answer:
        """Only for what may be repeated: a connection that was closed while idle is tried again once."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        more = [("accept-language", language)] if language else []
        return await self._call("POST", path, raw, [("content-type", "application/json"),
                                                    ("content-length", str(len(raw))), *more])

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _call(self, method: str, path: str, body: bytes, headers: list[tuple[str, str]] | None = None) -> Answer:
        request = h11.Request(method=method, target=self._prefix + path, headers=[
            ("host", f"{self._host}:{self._port}"), ("accept", "application/json"),
            ("traceparent", trace.traceparent()), *(headers or [])])
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while self._idle:
                    try:
                        return await self._on(self._idle.pop(), request, body)
                    except (NoAnswer, OSError, h11.RemoteProtocolError):
                        continue
                reader, writer = await asyncio.open_connection(self._host, self._port)
                return await self._on(_Connection(reader, writer), request, body)
        except (OSError, h11.RemoteProtocolError, TimeoutError) as error:
            raise NoAnswer(f"{self.name}: {type(error).__name__} {error}") from None

    async def _on(self, connection: _Connection, request: h11.Request, body: bytes) -> Answer:
        try:
            answer = await connection.exchange(request, body)
        except BaseException:
            connection.close()
            raise
        if connection.reusable() and len(self._idle) < POOL_MAX:
            self._idle.append(connection)
        else:
            connection.close()
        return answer


async def wanted(callee: Callee, method: str, path: str, body: Any = None, language: str | None = None) -> Answer:
    """An answer that says something about the request; anything else is a 503 for our caller."""
    try:
        answer = await (callee.get(path) if method == "GET" else callee.post(path, body, language))
    except NoAnswer:
        raise unavailable(callee.name) from None
    if answer.status >= 500 or answer.status in (408, 425, 429):
        raise unavailable(callee.name)
    return answer
