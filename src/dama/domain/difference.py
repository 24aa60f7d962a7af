"""Differences of two JSON values, place by place; applied to the first they give the second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from dama.shapes import is_list, is_object

MOST_SHOWN = 200


@dataclass(frozen=True)
class Change:
    """What is different at one place.

    Attributes:
        keys: Where: names of members and numbers of elements, from the outermost; none for the
            whole.
        kind: Whether the value came, went or is another one.
        before: The earlier value; None when there was none.
        after: The later one.
    """

    keys: tuple[str | int, ...]
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any

    @property
    def path(self) -> str:
        """As people read it: `attempts[0].outcome`; empty for the whole."""
        parts = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.keys]
        return "".join(parts).removeprefix(".")

    @property
    def pointer(self) -> str:
        """As a JSON pointer (RFC 6901)."""
        return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in self.keys)

    def document(self) -> dict[str, Any]:
        """As JSON shows it; what was not there is left out."""
        shown: dict[str, Any] = {"path": self.pointer, "kind": self.kind}
        if self.kind != "added":
            shown["before"] = self.before
        if self.kind != "removed":
            shown["after"] = self.after
        return shown


def changes(before: Any, after: Any, keys: tuple[str | int, ...] = ()) -> Iterator[Change]:
    """What is different between two values of JSON builtins, in the order of the later one.

    Elements of lists are told apart by their place; of a list that is shorter the last ones went,
    from the end, so that each change can be applied when it is met.
    """
    if is_object(before) and is_object(after):
        yield from _of_objects(before, after, keys)
    elif _is_list(before) and _is_list(after):
        yield from _of_lists(before, after, keys)
    elif isinstance(before, bool) is not isinstance(after, bool) or before != after:
        yield Change(keys, "changed", before, after)


def applied(value: Any, differences: Iterable[Change]) -> Any:
    """The later value, made of the earlier one; which stays as it is."""
    whole: list[Any] = [_copied(value)]
    for change in differences:
        holder: Any = whole
        *above, last = (0, *change.keys)
        for key in above:
            holder = holder[key]
        if change.kind == "removed":
            del holder[last]
        elif change.kind == "added" and is_list(holder):
            holder.append(_copied(change.after))
        else:
            holder[last] = _copied(change.after)
    return whole[0]


def _of_objects(
    before: Mapping[str, Any], after: Mapping[str, Any], keys: tuple[str | int, ...]
) -> Iterator[Change]:
    for name in before:
        if name not in after:
            yield Change((*keys, name), "removed", before[name], None)
    for name in after:
        if name in before:
            if not _are_same(before[name], after[name]):
                yield from changes(before[name], after[name], (*keys, name))
        else:
            yield Change((*keys, name), "added", None, after[name])


def _of_lists(
    before: Sequence[Any], after: Sequence[Any], keys: tuple[str | int, ...]
) -> Iterator[Change]:
    shared = min(len(before), len(after))
    for place in range(shared):
        if not _are_same(before[place], after[place]):
            yield from changes(before[place], after[place], (*keys, place))
    for place in reversed(range(shared, len(before))):
        yield Change((*keys, place), "removed", before[place], None)
    for place in range(shared, len(after)):
        yield Change((*keys, place), "added", None, after[place])


def _are_same(before: Any, after: Any) -> bool:
    """Whether it is seen at once: a state may have 100,000 steps, and all but one are the same."""
    return before is after or (type(before) is str and before == after)


def _copied(value: Any) -> Any:
    if is_object(value):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if _is_list(value) else value


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
