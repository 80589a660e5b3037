"""Checks what a service says against its `openapi.yaml` and `events/*.schema.json`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from . import schema, yamlish


class Spec:
    def __init__(self, folder: Path) -> None:
        self.document = yamlish.load((folder / "openapi.yaml").read_text())
        self._paths = [(re.compile(re.sub(r"\{[^}]+\}", r"[^/]+", path) + r"\Z"), item)
                       for path, item in self.document["paths"].items()]
        self.events = {file.name.removesuffix(".schema.json"): json.loads(file.read_text())
                       for file in sorted((folder / "events").glob("*.schema.json"))}
        # What the tests have seen, so that they can say what they have not.
        self.seen: set[tuple[str, str]] = set()

    def check_answer(self, method: str, path: str, status: int, kind: str, body: bytes) -> None:
        operation = self._operation(method, path.partition("?")[0])
        if operation is None:
            return
        name = operation["operationId"]
        answer = operation["responses"].get(str(status))
        if answer is None:
            raise AssertionError(f"{name} answered {status}, which openapi.yaml does not know: {body[:500]!r}")
        self.seen.add((name, str(status)))
        if "$ref" in answer:
            answer = schema.resolve(answer["$ref"], self.document)
        shapes = answer.get("content")
        if not shapes:
            if body:
                raise AssertionError(f"{name} {status} has a body that openapi.yaml does not know")
            return
        shape = shapes.get(kind.partition(";")[0].strip())
        if shape is None:
            raise AssertionError(f"{name} {status} is {kind}, openapi.yaml has {list(shapes)}")
        wrong = schema.errors(json.loads(body), shape["schema"], self.document)
        if wrong:
            raise AssertionError(f"{name} {status} is not what openapi.yaml says: {wrong}: {body[:1000]!r}")

    def check_event(self, topic: str, data: Any) -> None:
        if topic not in self.events:
            raise AssertionError(f"{topic} has no schema in events/")
        wrong = schema.errors(data, self.events[topic], self.events[topic])
        if wrong:
            raise AssertionError(f"{topic} is not what its schema says: {wrong}: {data}")
        self.seen.add(("event", topic))

    def unseen(self) -> list[str]:
        every = {(item["operationId"], status) for methods in self.document["paths"].values()
                 for item in methods.values() for status in item["responses"]}
        every |= {("event", topic) for topic in self.events}
        return sorted(" ".join(pair) for pair in every - self.seen)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, item in self._paths:
            if pattern.match(path):
                return item.get(method.lower())
        return None
