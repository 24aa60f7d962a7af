"""Values that nobody may change in place: whether they are still what they were."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import TypeVar

V = TypeVar("V")


def copy_of(value: V) -> V | None:
    """A copy to compare a value with later; None where it cannot change or be compared."""
    try:
        hash(value)
    except TypeError:
        with suppress(Exception):  # what cannot be copied or compared
            copied = deepcopy(value)
            return copied if value == copied else None
    return None


def is_as(value: V, copied: V) -> bool:
    """Whether a value is equal to the copy that was made of it."""
    try:
        return bool(value == copied)
    except Exception:  # noqa: BLE001 - it could be compared before, so it was changed
        return False
