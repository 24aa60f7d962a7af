"""Beside the loop: what takes long because it was given much is done in a thread.

Reading, checking and writing a megabyte of JSON takes up to seconds. A thread gives way to the loop
every few milliseconds, so nobody else waits for it. Small values, which most are, stay in the loop.
The threads are a few of their own: functions of users that block cannot keep them busy.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dama.contained import carried
from dama.shapes import is_collection, is_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

V = TypeVar("V")

LARGE_TEXT = 64 * 1024
MOST_PARTS = 2000  # what is looked at to find out takes no longer than what it saves
THREADS = 4
_PLAIN = frozenset({int, float, bool, type(None)})


async def beside(value: object, function: Callable[..., V], *arguments: object) -> V:
    """Call a function: in a thread when a value that it works on is large, and else here."""
    return await off_loop(function, *arguments) if is_large(value) else function(*arguments)


async def off_loop(function: Callable[..., V], *arguments: object) -> V:
    """Call a function in a thread, however much it is given: it may be a large part of a file."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads(), carried(function), *arguments)


def is_large(value: object) -> bool:
    """Whether a value has much text or many parts; no more of it is looked at than that."""
    parts, text = MOST_PARTS, LARGE_TEXT
    found: list[object] = [value]
    while found:
        each = found.pop()
        kind = type(each)
        if kind in _PLAIN:
            continue
        if kind is str or kind is bytes:
            text -= len(cast("str", each))
        else:
            within = _within(each)
            parts -= len(within)
            if parts >= 0:
                found += within
        if parts < 0 or text < 0:
            return True
    return False


def _within(value: Any) -> Collection[object]:
    """The parts of a value, as far as JSON would have them."""
    if is_dict(value):
        return value if len(value) > MOST_PARTS else [*value, *value.values()]
    if is_collection(value):
        return value
    names: Any = getattr(value, "__struct_fields__", None)
    names = names or getattr(value, "__dataclass_fields__", ())
    return [getattr(value, name, None) for name in names]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="dama beside")
