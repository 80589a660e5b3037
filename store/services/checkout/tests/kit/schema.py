"""The part of JSON Schema 2020-12 that our contracts use. An unknown keyword is an error, not a pass."""

from __future__ import annotations

import re
from typing import Any

_TYPES = {"object": dict, "array": list, "string": str, "null": type(None), "boolean": bool}
_NOTES = {"$schema", "$id", "title", "description", "format", "example", "examples", "default", "$comment"}


def errors(value: Any, schema: Any, root: dict[str, Any], at: str = "") -> list[str]:
    """What is wrong with `value`; `root` is the document that `$ref` points into."""
    if schema is True or schema is False:
        return [] if schema else [f"{at or '/'}: not allowed"]
    found: list[str] = []
    for word, rule in schema.items():
        if word in _NOTES or word in ("properties", "required", "additionalProperties", "items"):
            continue
        check = _CHECKS.get(word)
        if check is None:
            raise ValueError(f"the schema keyword {word!r} is not known here")
        found += check(value, rule, root, at)
    if isinstance(value, dict):
        found += _object(value, schema, root, at)
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            found += errors(item, schema["items"], root, f"{at}/{i}")
    return found


def resolve(ref: str, root: dict[str, Any]) -> Any:
    node: Any = root
    for part in ref.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def _object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    known = schema.get("properties", {})
    found = [f"{at}/{name}: is missing" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        if name in known:
            found += errors(item, known[name], root, f"{at}/{name}")
        elif "additionalProperties" in schema:
            found += errors(item, schema["additionalProperties"], root, f"{at}/{name}")
    return found


def _is(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return isinstance(value, int if name == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[name])


def _type(value: Any, rule: Any, root: Any, at: str) -> list[str]:
    names = rule if isinstance(rule, list) else [rule]
    return [] if any(_is(value, name) for name in names) else [f"{at or '/'}: {value!r} is not of type {names}"]


def _same(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _text(test: Any, what: str) -> Any:
    def check(value: Any, rule: Any, root: Any, at: str) -> list[str]:
        return [] if not isinstance(value, str) or test(value, rule) else [f"{at or '/'}: {value!r} {what} {rule}"]
    return check


def _number(test: Any, what: str) -> Any:
    def check(value: Any, rule: Any, root: Any, at: str) -> list[str]:
        return [] if not _is(value, "number") or test(value, rule) else [f"{at or '/'}: {value!r} {what} {rule}"]
    return check


_CHECKS = {
    "$ref": lambda v, r, root, at: errors(v, resolve(r, root), root, at),
    "allOf": lambda v, r, root, at: [e for part in r for e in errors(v, part, root, at)],
    "anyOf": lambda v, r, root, at: [] if any(not errors(v, part, root, at) for part in r)
    else [f"{at or '/'}: fits none of anyOf"],
    "oneOf": lambda v, r, root, at: [] if sum(not errors(v, part, root, at) for part in r) == 1
    else [f"{at or '/'}: does not fit exactly one of oneOf"],
    "type": _type,
    "const": lambda v, r, root, at: [] if _same(v, r) else [f"{at or '/'}: {v!r} is not {r!r}"],
    "enum": lambda v, r, root, at: [] if any(_same(v, x) for x in r) else [f"{at or '/'}: {v!r} is not one of {r}"],
    "pattern": _text(lambda v, r: re.search(r, v), "does not match"),
    "minLength": _text(lambda v, r: len(v) >= r, "is shorter than"),
    "maxLength": _text(lambda v, r: len(v) <= r, "is longer than"),
    "minimum": _number(lambda v, r: v >= r, "is less than"),
    "maximum": _number(lambda v, r: v <= r, "is more than"),
    "minItems": lambda v, r, root, at: [] if not isinstance(v, list) or len(v) >= r else [f"{at or '/'}: too few items"],
    "maxItems": lambda v, r, root, at: [] if not isinstance(v, list) or len(v) <= r else [f"{at or '/'}: too many items"],
}
