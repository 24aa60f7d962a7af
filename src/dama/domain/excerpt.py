"""Excerpts: so much of a large value as a person reads, in time that does not grow with the value.

An error that names every problem of 90,000 values, each with the value beside it, helps nobody and
holds the process for minutes. So problems are counted, and the first of them are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

MOST_PROBLEMS = 100
_NODES = 1000


def excerpt(value: object, *, most: int = MOST_PROBLEMS, longest: int = 1000) -> Any:
    """The beginning of a value: of each list and object the first items, of texts the beginning."""
    left = [_NODES]

    def part(item: object) -> object:
        left[0] -= 1
        match item:
            case str():
                return item[:longest]
            case list() | tuple():
                items = cast("list[object]", item)
                return [part(each) for each in islice(items, _room(left, most))]
            case Mapping():
                fields = cast("Mapping[object, object]", item).items()
                return {key: part(each) for key, each in islice(fields, _room(left, most))}
            case _:
                return item

    return part(value)


def _room(left: list[int], most: int) -> int:
    return max(min(most, left[0]), 0)


def shortened(value: object, longest: int = 60) -> str:
    """A value for a message."""
    text = repr(excerpt(value, most=longest, longest=longest + 1))
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def first_problems(
    error: ValidationError, validate: Callable[[Any], object], value: object
) -> tuple[list[ErrorDetails], int]:
    """The first problems that pydantic found, and how many there are in all.

    It can only tell all of them at once. Of a large value that is wrong everywhere, therefore, an
    excerpt is validated again: what is wrong within it is told, with the same places.
    """
    from pydantic import ValidationError as Invalid

    count = error.error_count()
    if count <= MOST_PROBLEMS:
        return error.errors(include_url=False), count
    try:
        validate(excerpt(value))
    except Invalid as smaller:
        return smaller.errors(include_url=False)[:MOST_PROBLEMS], count
    return [], count
