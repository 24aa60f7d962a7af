"""Unclaimed: the records that nothing has asked for yet, and which of them an ask is for.

A record is that of the branch which it names. The end of a subtask is the same for whoever awaits
it, and an older history does not say what tells its branches from each other: such a record goes to
another branch that asks for its like, when its own is there no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama.run.records import base_of, fits, is_alike, is_end, is_of

if TYPE_CHECKING:
    from dama.run.branch import Branches
    from dama.run.records import Asked, Record


class Unclaimed:
    """The records that nothing has asked for yet.

    Args:
        branches: Those that ask.

    Attributes:
        is_lenient: Whether the code may ask for things in another order.
    """

    def __init__(self, branches: Branches) -> None:
        self.is_lenient = False
        self._branches = branches
        self._records: dict[str, dict[str, list[Record]]] = {}

    def add(self, record: Record) -> None:
        """One more, after those that are there."""
        self._like(record).append(record)

    def give_back(self, record: Record) -> None:
        """What had asked for it was given up before it came to its turn."""
        self._like(record).insert(0, record)

    def has(self, record: Record) -> bool:
        """Whether nothing has asked for it."""
        places = self._records.get(base_of(record.key), {})
        return any(each is record for each in places.get(record.place, ()))

    def remove(self, record: Record) -> None:
        """It is asked for, or is recorded no longer."""
        like = self._like(record)
        at = next((at for at, each in enumerate(like) if each is record), None)
        if at is not None:
            del like[at]
        if not like:
            del self._records[base_of(record.key)][record.place]

    def find(self, asked: Asked) -> Record | None:
        """The record that an ask is for; None when it has none."""
        left: Record | None = None
        for record in self._records.get(base_of(asked.name), {}).get(asked.place, ()):
            is_its = self.is_lenient or is_of(record, asked)
            if record.what != asked.what or not is_its:
                continue
            if fits(record, asked):
                return record
            if left is None and record.indexes and asked.nth is not None:
                left = record
        return self._of_another(asked) or left

    def _of_another(self, asked: Asked) -> Record | None:
        """One of a branch that is not there, which would do."""
        for place, records in self._records.get(base_of(asked.name), {}).items():
            if place == asked.place:
                continue
            for record in records:
                is_like = record.what == asked.what and is_alike(record, asked)
                if is_like and self._is_anybodys(record):
                    return record
        return None

    def _is_anybodys(self, record: Record) -> bool:
        if record.args is None:  # of an older version, which did not say its branch
            return True
        is_free = not record.kin or is_end(record.key) or self.is_lenient
        return is_free and not self._branches.is_live(record.place)

    def _like(self, record: Record) -> list[Record]:
        return self._records.setdefault(base_of(record.key), {}).setdefault(record.place, [])
