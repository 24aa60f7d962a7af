"""Kin: what tells a branch from those beside it, in whatever order they are started.

A branch is numbered as it is started, and has its number again in every later run: it is known by
the function that it runs and what that was called with. How many others there are beside it, and
which are started first, may be another matter each time: a set has no order, and libraries start
tasks of their own.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from hashlib import sha256
from inspect import CO_VARARGS, CO_VARKEYWORDS
from itertools import chain, islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dama.shapes import is_array, is_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dama.domain.journal import Entry

DIGITS = 8
MOST = 200  # values that are looked at: an argument of more is told by its type
LONGEST = 1000  # characters, likewise
_PART = re.compile(r"\d+|:")
_PLAIN = (bool, int, float, complex, date, time, timedelta, Decimal, Enum, PurePath, UUID)


def kin_of(coroutine: object) -> str:
    """A digest of the function of a coroutine that has not begun, and of its arguments.

    What is called in a thread is a partial.
    """
    if isinstance(coroutine, partial):  # called in a thread
        return _digest([*_told(coroutine.func), *_told(coroutine.args)])
    code: Any = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    frame: Any = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    if code is None or frame is None:
        return _digest([type(coroutine).__qualname__])
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    values = frame.f_locals
    told: list[str] = [code.co_qualname]
    for name in code.co_varnames[:count]:
        told += [name, *_told(values.get(name))]
    return _digest(told)


class Recorded:
    """The numbers of the branches that have recorded anything.

    Args:
        entries: What earlier runs recorded.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._highest: dict[str, int] = {}
        for place, kin in {(entry.place, entry.kin) for entry in entries if entry.place}:
            self._add(place, list(kin))

    def number(self, parent: str, kin: str) -> int | None:
        """That of the branch which a branch at a place has started; None when it has none."""
        return self._numbers.get(parent, {}).get(kin)

    def highest(self, parent: str) -> int:
        """The highest of those that a branch at a place has started; 0 when there are none."""
        return self._highest.get(parent, 0)

    def _add(self, place: str, kin: list[str]) -> None:
        above = ""
        for part in _PART.findall(place):
            if part != ":":
                number = int(part)
                self._highest[above] = max(self._highest.get(above, 0), number)
                if kin:
                    self._numbers.setdefault(above, {})[kin.pop(0)] = number
            above = below(above, part)


def below(place: str, part: str) -> str:
    """A place with one part more."""
    is_joined = part == ":" or not place or place.endswith(":")
    return f"{place}{part}" if is_joined else f"{place}.{part}"


def _digest(told: Iterable[str]) -> str:
    return sha256("\0".join(told).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _told(value: object) -> list[str]:
    """What tells a value from others, by what every process says of it."""
    try:
        found = [*islice(_walked(value), MOST + 1)]
    except Exception:  # noqa: BLE001 - anything may be an argument
        found = []
    return found if 0 < len(found) <= MOST else [type(value).__qualname__]


def _walked(value: Any) -> Iterator[str]:
    kind = type(value).__qualname__
    within: Iterable[Any] = ()
    if value is None or isinstance(value, _PLAIN):
        kind = f"{kind} {value}"
    elif isinstance(value, str | bytes):
        kind = f"{kind} {len(value)} {value[:LONGEST]!r}"
    elif is_array(value):
        within = value
    elif is_dict(value):
        within = chain.from_iterable(value.items())
    elif is_dataclass(value):
        within = [getattr(value, field.name, None) for field in fields(value)]
    else:
        name: object = getattr(value, "__qualname__", None)
        kind = name if isinstance(name, str) else kind  # a proxy has whatever it is asked for
    yield kind
    for each in within:
        yield from _walked(each)
    yield "."
