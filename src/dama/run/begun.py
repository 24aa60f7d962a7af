"""Begun: steps that were under way when their run ended: only their parts are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.run.branch import PARTS
from dama.run.records import base_of

if TYPE_CHECKING:
    from collections.abc import Container, KeysView

    from dama.domain.journal import Entry
    from dama.run.records import Asked


@dataclass
class _Step:
    index: int  # of the first of its parts
    place: str
    is_taken: bool = False


class Begun:
    """The steps of a run that have parts and no outcome."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}

    def add(self, index: int, entry: Entry, ended: Container[str]) -> None:
        """An entry, which may be a part of such steps.

        Args:
            index: Its own.
            entry: What is recorded.
            ended: The keys of those that have an outcome.
        """
        places = entry.place.split(PARTS)
        for depth, key in enumerate(entry.within):
            if key not in ended and key not in self._steps:
                self._steps[key] = _Step(index, PARTS.join(places[: depth + 1]))

    def keys(self) -> KeysView[str]:
        """Their keys."""
        return self._steps.keys()

    def index(self, key: str) -> int | None:
        """The first part of one; None when there is none with the key."""
        return self._steps[key].index if key in self._steps else None

    def claim(self, asked: Asked) -> str | None:
        """The key of the one that is asked for; None when it is another."""
        for key, step in self._steps.items():
            is_asked = asked.what == "step" and base_of(key) == base_of(asked.name)
            if is_asked and step.place == asked.place and not step.is_taken:
                step.is_taken = True
                return key
        return None
