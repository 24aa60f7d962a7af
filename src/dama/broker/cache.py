"""The cache of results: in the memory of one node, bounded, with an age for each entry."""

from __future__ import annotations

import copy
from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Any

from dama.broker.pattern import matches
from dama.domain.exact import canonical
from dama.shapes import is_dict

if TYPE_CHECKING:
    from dama.broker.call import Call
    from dama.definitions.policies import CachePolicy

ENTRIES = 10_000


class Cache:
    """Results by action and params.

    Args:
        entries: How many are kept; what was not asked for longest goes first.
    """

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._found: OrderedDict[str, tuple[Any, float | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> tuple[bool, Any]:
        """Whether there is an entry that is not too old, and a copy of its value."""
        entry = self._found.get(key)
        if entry is None:
            return False, None
        value, until = entry
        if until is not None and monotonic() >= until:
            del self._found[key]
            return False, None
        self._found.move_to_end(key)
        # What one caller does to a result must not be seen by the next.
        return True, copy.deepcopy(value)

    def put(self, key: str, value: object, ttl: float | None = None) -> None:
        """Keep a value, for some seconds."""
        self._found[key] = (copy.deepcopy(value), None if ttl is None else monotonic() + ttl)
        self._found.move_to_end(key)
        if len(self._found) > self._entries:
            self._found.popitem(last=False)

    def clean(self, pattern: str = "**") -> int:
        """Forget the results of the actions whose names fit; returns how many."""
        gone = [key for key in self._found if matches(key.partition(":")[0], pattern)]
        for key in gone:
            del self._found[key]
        return len(gone)


def cache_key(call: Call, policy: CachePolicy) -> str | None:
    """What makes two calls the same; None when the params cannot be compared."""
    if policy.keys is None:
        parts: object = call.params
    else:
        parts = [
            _at(call.meta, key[1:]) if key.startswith("#") else _at(call.params, key)
            for key in policy.keys
        ]
    try:
        return f"{call.name}:{canonical(parts).decode()}"
    except (TypeError, ValueError, NotImplementedError):
        return None


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if is_dict(value) else None
    return value
