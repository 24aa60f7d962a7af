"""Forms: whether a value fits a JSON schema, as pydantic writes it, and what does not.

It serves where the model itself is not at hand: at the doors by which an answer comes. The model
has the last word, so that what is not known here is let through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

from dama.domain.excerpt import shortened
from dama.shapes import is_dict, is_list, is_object

Schema = Mapping[str, Any]

_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "string": ("a string", (str,)),
    "integer": ("an integer", (int, float)),
    "number": ("a number", (int, float)),
    "boolean": ("a boolean", (bool,)),
    "array": ("an array", (list,)),
    "object": ("an object", (dict,)),
    "null": ("null", (type(None),)),
}
_FORMATS: dict[str, tuple[str, Callable[[str], object]]] = {
    "date": ("a date", date.fromisoformat),
    "date-time": ("a date with a time", datetime.fromisoformat),
    "time": ("a time", time.fromisoformat),
    "uuid": ("a UUID", UUID),
}
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("at least", lambda value, bound: value >= bound),
    "exclusiveMinimum": ("greater than", lambda value, bound: value > bound),
    "maximum": ("at most", lambda value, bound: value <= bound),
    "exclusiveMaximum": ("less than", lambda value, bound: value < bound),
}
_SIZES = {
    "minLength": ("characters", "least", "str"),
    "maxLength": ("characters", "most", "str"),
    "minItems": ("items", "least", "list"),
    "maxItems": ("items", "most", "list"),
}


def problems_of(schema: Schema, value: object) -> list[str]:
    """What does not fit, a sentence each; none when it fits."""
    return _Checking(schema).problems(schema, value, "")


def fields_of_form(schema: Schema) -> str:
    """What a form asks for, on one line: `approved (boolean), comment (string, optional)`."""
    required: set[str] = set(schema.get("required", ()))
    fields: Mapping[str, Schema] = schema.get("properties", {})
    order: list[str] = [name for name in schema.get("x-order", ()) if name in fields]
    return ", ".join(
        f"{name} ({_kind(fields[name])}{'' if name in required else ', optional'})"
        for name in order or fields
    )


def _kind(schema: Schema) -> str:
    parts: Sequence[Schema] = schema.get("anyOf", ())
    if kinds := [_kind(part) for part in parts if part.get("type") != "null"]:
        return " or ".join(kinds)
    if "enum" in schema:
        return " or ".join(map(repr, schema["enum"]))
    return str(schema.get("format") or schema.get("type") or "any")


class _Checking:
    """One check against a schema, whose parts may refer to others of it."""

    def __init__(self, root: Schema) -> None:
        self._definitions: Mapping[str, Schema] = root.get("$defs", {})

    def problems(self, schema: Schema, value: Any, path: str) -> list[str]:
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        if name:
            return self.problems(self._definitions.get(name, {}), value, path)
        choices: Sequence[Schema] = schema.get("anyOf") or schema.get("oneOf") or ()
        if choices:
            return self._of_any(choices, value, path)
        if expected := _expected(schema, value):
            return [f"{path or 'it'} should be {expected}, but is {shortened(value)}"]
        if is_dict(value):
            return self._of_object(schema, value, path)
        if is_list(value):
            return self._of_items(schema, value, path)
        return _of_size(schema, value, path)

    def _of_any(self, choices: Sequence[Schema], value: Any, path: str) -> list[str]:
        found = [self.problems(choice, value, path) for choice in choices]
        if not all(found):
            return []
        left = [f for c, f in zip(choices, found, strict=True) if c.get("type") != "null"]
        if len(left) == 1:
            return left[0]
        kinds = [choice for choice in choices if choice.get("type") != "null"]
        names = " or ".join(_KINDS.get(str(k.get("type")), ("another", ()))[0] for k in kinds)
        return [f"{path or 'it'} should be {names}, but is {shortened(value)}"]

    def _of_object(self, schema: Schema, value: dict[str, Any], path: str) -> list[str]:
        fields: Mapping[str, Schema] = schema.get("properties", {})
        others: object = schema.get("additionalProperties", True)
        required: Sequence[str] = schema.get("required", ())
        found = [f"{_within(path, name)} is required" for name in required if name not in value]
        for name, each in value.items():
            field = fields.get(name, others)
            if field is False:
                found.append(f"{_within(path, name)} is not part of it")
            elif is_object(field):
                found += self.problems(field, each, _within(path, name))
        return found

    def _of_items(self, schema: Schema, value: list[Any], path: str) -> list[str]:
        items: object = schema.get("items")
        found = _of_size(schema, value, path)
        if is_object(items):
            for place, each in enumerate(value):
                found += self.problems(items, each, f"{path}[{place}]")
        return found


def _within(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _expected(schema: Schema, value: Any) -> str:
    """What it should be; empty when it is."""
    kind = str(schema.get("type", ""))
    words, types = _KINDS.get(kind, ("", (object,)))
    is_odd = isinstance(value, bool) and kind in {"integer", "number"}
    is_part = kind == "integer" and isinstance(value, float) and not value.is_integer()
    if not isinstance(value, types) or is_odd or is_part:
        return words
    choices: list[Any] = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if choices and not any(value == each and type(value) is type(each) for each in choices):
        return " or ".join(map(repr, choices))
    if isinstance(value, str) and (format_ := _FORMATS.get(str(schema.get("format")))):
        try:
            format_[1](value)
        except ValueError:
            return format_[0]
    return _bound(schema, value)


def _bound(schema: Schema, value: Any) -> str:
    if isinstance(value, int | float):
        for name, (words, holds) in _BOUNDS.items():
            if name in schema and not holds(value, schema[name]):
                return f"{words} {schema[name]}"
    pattern = schema.get("pattern")
    if isinstance(value, str) and isinstance(pattern, str):
        with suppress(re.error):  # one of another language
            if not re.search(pattern, value):
                return f"a string like {pattern}"
    return ""


def _of_size(schema: Schema, value: Any, path: str) -> list[str]:
    found: list[str] = []
    for name, (what, side, kind) in _SIZES.items():
        if name in schema and type(value).__name__ == kind:
            size, bound = len(value), schema[name]
            if size < bound if side == "least" else size > bound:
                found.append(f"{path or 'it'} has {size} {what}; {bound} at {side}")
    return found
