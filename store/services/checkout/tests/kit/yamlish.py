"""Reads the YAML that our contract files use, with the standard library alone.

Block mappings and sequences, flow sequences and mappings of scalars, quoted and plain scalars, folded
(`>-`) text, comments on lines of their own. Anything else is an error with its line, never a guess.
"""

from __future__ import annotations

import re
from typing import Any

_KEY = re.compile(r"""('(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s'"\[\]{}#,&*!|>%@`-][^#]*?|-[^\s][^#]*?)\s*:(?:\s+(.*))?$""")


class Bad(Exception):
    pass


def load(text: str) -> Any:
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        lines.append((number, len(line) - len(line.lstrip(" ")), line.lstrip(" ")))
    reader = _Reader(lines)
    value = reader.node(0)
    reader.skip()
    if reader.at < len(lines):
        raise Bad(f"line {lines[reader.at][0]}: not understood: {lines[reader.at][2]}")
    return value


class _Reader:
    def __init__(self, lines: list[tuple[int, int, str]]) -> None:
        self.lines, self.at = lines, 0

    def skip(self) -> None:
        while self.at < len(self.lines) and (not self.lines[self.at][2] or self.lines[self.at][2].startswith("#")):
            self.at += 1

    def peek(self) -> tuple[int, int, str] | None:
        self.skip()
        return self.lines[self.at] if self.at < len(self.lines) else None

    def node(self, least: int) -> Any:
        line = self.peek()
        if line is None or line[1] < least:
            return None
        return self.sequence(line[1]) if line[2] == "-" or line[2].startswith("- ") else self.mapping(line[1])

    def sequence(self, indent: int) -> list[Any]:
        items = []
        while (line := self.peek()) and line[1] == indent and (line[2] == "-" or line[2].startswith("- ")):
            number, _, text = line
            rest = text[1:].lstrip(" ")
            if not rest:
                self.at += 1
                items.append(self.node(indent + 1))
            elif _KEY.match(rest):
                # A mapping that begins on the dash's own line: read it as if it stood alone, further in.
                self.lines[self.at] = (number, indent + len(text) - len(rest), rest)
                items.append(self.mapping(indent + len(text) - len(rest)))
            else:
                self.at += 1
                items.append(_scalar(rest, number))
        return items

    def mapping(self, indent: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while (line := self.peek()) and line[1] == indent:
            number, _, text = line
            found = _KEY.match(text)
            if found is None:
                raise Bad(f"line {number}: a key was expected: {text}")
            key, rest = str(_scalar(found[1], number, key=True)), found[2]
            if key in result:
                raise Bad(f"line {number}: {key} is there twice")
            self.at += 1
            if rest in (">-", "|-"):
                result[key] = self.block(indent, rest == "|-")
            elif rest:
                result[key] = _scalar(rest, number)
            else:
                following = self.peek()
                dash = following is not None and following[1] == indent and following[2].startswith("- ")
                result[key] = self.sequence(indent) if dash else self.node(indent + 1)
        return result

    def block(self, indent: int, literal: bool) -> str:
        parts = []
        while self.at < len(self.lines) and (not self.lines[self.at][2] or self.lines[self.at][1] > indent):
            parts.append(self.lines[self.at][2])
            self.at += 1
        return ("\n" if literal else " ").join(parts).strip()


def _scalar(text: str, line: int, key: bool = False) -> Any:
    value, rest = _value(text, line, flow=False, key=key)
    if rest.strip():
        raise Bad(f"line {line}: text after a value: {rest}")
    return value


def _value(text: str, line: int, flow: bool, key: bool = False) -> tuple[Any, str]:
    if text.startswith("'"):
        found = re.match(r"'((?:[^']|'')*)'", text)
        if found is None:
            raise Bad(f"line {line}: a quote is not closed")
        return found[1].replace("''", "'"), text[found.end():]
    if text.startswith('"'):
        found = re.match(r'"((?:[^"\\]|\\.)*)"', text)
        if found is None:
            raise Bad(f"line {line}: a quote is not closed")
        return re.sub(r"\\(.)", r"\1", found[1]), text[found.end():]
    if not key and text[:1] in "[{":
        return _flow(text, line)
    if not key and text[:1] in "&*!|>%@`":
        raise Bad(f"line {line}: this kind of YAML is not used here: {text}")
    end = re.search(r"[,\]}]|:\s", text).start() if flow and re.search(r"[,\]}]|:\s", text) else len(text)
    plain = text[:end].strip()
    return (plain if key else _plain(plain)), text[end:]


def _flow(text: str, line: int) -> tuple[Any, str]:
    closing = "]" if text[0] == "[" else "}"
    result: Any = [] if closing == "]" else {}
    rest = text[1:].lstrip()
    while not rest.startswith(closing):
        if not rest:
            raise Bad(f"line {line}: {text[0]} is not closed")
        value, rest = _value(rest, line, flow=True)
        rest = rest.lstrip()
        if isinstance(result, list):
            result.append(value)
        else:
            if not rest.startswith(":"):
                raise Bad(f"line {line}: a colon was expected before: {rest}")
            result[str(value)], rest = _value(rest[1:].lstrip(), line, flow=True)
            rest = rest.lstrip()
        if rest.startswith(","):
            rest = rest[1:].lstrip()
        elif not rest.startswith(closing):
            raise Bad(f"line {line}: a comma was expected before: {rest}")
    return result, rest[1:]


def _plain(text: str) -> Any:
    if text in ("", "null", "~"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
        return int(text)
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", text):
        return float(text)
    return text
