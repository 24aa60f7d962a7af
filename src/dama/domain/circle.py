"""Circles: runs that wait for each other, so that none of them can ever continue.

A run that waits for subtasks needs all of them; one that waits for a place of its key needs any
run that holds a place there to end. What can continue is found first; what is left waits forever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class WaitsFor:
    """One run waits for another.

    Attributes:
        waiter: The context that waits.
        awaited: The context that it waits for.
        key: The limit whose place the other one holds; None when its end is awaited.
        limit: How many runs may hold a place there.
    """

    waiter: int
    awaited: int
    key: str | None = None
    limit: int = 0

    def text(self) -> str:
        """In words."""
        if self.key is None:
            return f"{self.waiter} waits for the end of {self.awaited}"
        which = "the only place" if self.limit == 1 else f"one of the {self.limit} places"
        return f"{self.waiter} waits for {which} of {self.key}, which {self.awaited} holds"


def find_circle(waits: Iterable[WaitsFor], start: int) -> list[WaitsFor]:
    """The circle that a run waits in, or behind; empty when it can continue.

    Args:
        waits: All waits of all runs that can be reached from it.
        start: The run.
    """
    return _path(_stuck(waits), start)


def find_circles(waits: Iterable[WaitsFor]) -> list[list[WaitsFor]]:
    """All circles, each once."""
    stuck = _stuck(waits)
    found: dict[frozenset[WaitsFor], list[WaitsFor]] = {}
    for start in sorted(stuck):
        circle = _path(stuck, start)
        found.setdefault(frozenset(circle), circle)
    return [*found.values()]


def _stuck(waits: Iterable[WaitsFor]) -> dict[int, list[WaitsFor]]:
    """The waits, for one another, of those that can never continue."""
    of: dict[int, list[WaitsFor]] = {}
    for wait in waits:
        of.setdefault(wait.waiter, []).append(wait)
    stuck = set(of)
    while free := {waiter for waiter in stuck if _can_continue(of[waiter], stuck)}:
        stuck -= free
    return {waiter: [each for each in of[waiter] if each.awaited in stuck] for waiter in stuck}


def _path(stuck: Mapping[int, Sequence[WaitsFor]], start: int) -> list[WaitsFor]:
    """From a run on until one comes again; the part that comes again."""
    places: dict[int, int] = {}
    path: list[WaitsFor] = []
    here = start
    while here in stuck and here not in places:
        places[here] = len(path)
        path.append(stuck[here][0])
        here = path[-1].awaited
    return path[places[here] :] if path else []


def who_waits(circle: Sequence[WaitsFor]) -> str:
    """Who waits for whom."""
    return "; ".join(wait.text() for wait in circle)


def _can_continue(waits: Sequence[WaitsFor], stuck: set[int]) -> bool:
    """Whether something outside of all that is stuck lets a run continue."""
    if any(wait.awaited in stuck for wait in waits if wait.key is None):
        return False
    places = [wait for wait in waits if wait.key is not None]
    if not places or len(places) < places[0].limit:
        return True
    return any(wait.awaited not in stuck for wait in places)
