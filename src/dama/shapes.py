"""Shapes: what a value that came from outside is, for the reader and for the type checker.

`isinstance` alone leaves a checker with a dict of unknown things. What is asked here is JSON: its
objects have strings as keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import TypeIs

# What JSON can hold. A checker lets it be anything: who takes a part of it asks what that is.
Json: TypeAlias = Any

NOTHING: Mapping[str, Json] = {}


def is_object(value: object) -> TypeIs[Mapping[str, Json]]:
    """Whether it is a mapping."""
    return isinstance(value, Mapping)


def is_dict(value: object) -> TypeIs[dict[str, Json]]:
    """Whether it is a dict, as what is read from JSON is."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeIs[list[Json]]:
    """Whether it is a list, as what is read from JSON is."""
    return isinstance(value, list)


def is_array(value: object) -> TypeIs[list[Json] | tuple[Json, ...]]:
    """Whether it is a list or a tuple: what becomes an array of JSON."""
    return isinstance(value, list | tuple)


def is_collection(
    value: object,
) -> TypeIs[list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]]:
    """Whether it is a list, a tuple or a set."""
    return isinstance(value, list | tuple | set | frozenset)


def is_whole(value: object) -> TypeIs[int]:
    """Whether it is a whole number; True is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_name(value: object) -> TypeIs[str]:
    """Whether it is a string that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def as_object(value: object) -> Mapping[str, Json]:
    """The value if it is a mapping; an empty one for all else."""
    return value if is_object(value) else NOTHING
