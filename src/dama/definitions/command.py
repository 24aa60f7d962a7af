"""Commands: the arguments of a program, with placeholders that params fill. There is no shell.

An element of a command is one argument, whatever the value has in it. `{year}` is the value of a
param; an element drops out when its param has none, and is repeated for each item of a list.
Elements in brackets do so together: `["--airport", "{airport}"]`. `{?check}` adds no text: its
element stays only when the param is true or given, that of `{!check}` when it is not. `{{year}}`
is the text `{year}`; `${year}` and all other braces mean nothing here. `{etl_work_dir}` needs no
param: it is the working folder of the tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

Command = tuple[str | tuple[str, ...], ...]
"""Elements, and groups of elements that drop out or are repeated together."""

WORK_DIR = "etl_work_dir"

_TOKEN = re.compile(
    r"\{(\{[?!]?[A-Za-z_][\w-]*\})\}|(?<!\$)\{(?P<mark>[?!]?)(?P<name>[A-Za-z_][\w-]*)\}"
)


@dataclass(frozen=True)
class Placeholder:
    """A place for a param.

    Attributes:
        name: The param.
        mark: Empty for its value, `?` for "only when it is given", `!` for "only when not".
    """

    name: str
    mark: str = ""


def placeholders(text: str) -> list[Placeholder]:
    """Find the placeholders of a string, in their order."""
    return [
        Placeholder(found["name"], found["mark"])
        for found in _TOKEN.finditer(text)
        if found["name"]
    ]


def escape(text: str) -> str:
    """Write a string so that nothing in it is a placeholder."""
    return _TOKEN.sub(lambda found: f"{{{found[0]}}}", text)


def fill(text: str, values: Mapping[str, Any]) -> str | None:
    """Put the values into a string; None when one of them has none."""
    if not all(_stays(found, values) for found in placeholders(text)):
        return None

    def put(found: re.Match[str]) -> str:
        if not found["name"]:
            return found[1]
        return "" if found["mark"] else as_text(values[found["name"]])

    return _TOKEN.sub(put, text)


def expand(command: Command, values: Mapping[str, Any]) -> list[str]:
    """Make the arguments of a command."""
    return [
        argument
        for part in command
        for argument in _expand((part,) if isinstance(part, str) else part, values)
    ]


def _expand(group: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    found = [placeholder for text in group for placeholder in placeholders(text)]
    listed = next((p.name for p in found if not p.mark and _is_list(values.get(p.name))), None)
    rounds = [values] if listed is None else [{**values, listed: v} for v in values[listed]]
    arguments: list[str] = []
    for each in rounds:
        filled = [fill(text, each) for text in group]
        texts = [text for text in filled if text is not None]
        if len(texts) == len(filled):
            arguments += texts
    return arguments


def _stays(placeholder: Placeholder, values: Mapping[str, Any]) -> bool:
    value = values.get(placeholder.name)
    if not placeholder.mark:
        return value is not None
    given = value is not None and value is not False and value not in ("", [], ())
    return given == (placeholder.mark == "?")


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def as_text(value: object) -> str:
    """A value as a program gets it: as JSON has it, but texts without quotes."""
    match value:
        case str() | float():
            return str(value) if isinstance(value, str) or isfinite(value) else json.dumps(value)
        case None | bool() | int() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=as_text)
        case Mapping():
            return json.dumps(
                dict(cast("Mapping[str, Any]", value)), ensure_ascii=False, default=as_text
            )
        case datetime():
            text = value.isoformat()
            # As the params are written in events.
            return f"{text[:-6]}Z" if value.utcoffset() == timedelta(0) else text
        case date():
            return value.isoformat()
        case _:
            return str(value)
