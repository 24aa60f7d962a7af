"""Differences of two states, path by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from dama.shapes import is_object

MOST_SHOWN = 200


@dataclass(frozen=True)
class Change:
    """What is different at one path.

    Attributes:
        path: Such as `attempts[0].outcome`; empty for the whole state.
        kind: Whether the value came, went or is another one.
        before: The earlier value; None when there was none.
        after: The later one.
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """What is different between two values of JSON builtins, in the order of the later one."""
    if type(before) is type(after) and before == after:
        return
    if is_object(before) and is_object(after):
        yield from _of_objects(before, after, path)
    elif _is_list(before) and _is_list(after):
        yield from _of_lists(before, after, path)
    else:
        yield Change(path, "changed", before, after)


def _of_objects(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Change]:
    for name in before:
        if name not in after:
            yield Change(_below(path, name), "removed", before[name], None)
    for name in after:
        if name in before:
            yield from changes(before[name], after[name], _below(path, name))
        else:
            yield Change(_below(path, name), "added", None, after[name])


def _of_lists(before: Sequence[Any], after: Sequence[Any], path: str) -> Iterator[Change]:
    shared = min(len(before), len(after))
    for place in range(shared):
        yield from changes(before[place], after[place], f"{path}[{place}]")
    for place in range(shared, len(before)):
        yield Change(f"{path}[{place}]", "removed", before[place], None)
    for place in range(shared, len(after)):
        yield Change(f"{path}[{place}]", "added", None, after[place])


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
