"""Records: what a run has recorded, and whether what its code asks for is the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.journal import Entry

MAINS = frozenset({"__main__", "__dama_main__"})
NO_ARGS = ""
ANY_ARGS = "?"
OUTSIDE = "0"  # the place of what is asked for outside of the branches, and the first part of it
END = "end:"
CANCELLED = "cancelled:"  # before the key of what the function was cancelled in

_KINDS = {"SPAWNED": "subtask", "SENT": "event", "WAITING": "wait"}
_NUMBER = re.compile(r"(#\d+)+$")


@dataclass(frozen=True)
class Asked:
    """What the code asks for.

    Attributes:
        name: Of the step, subtask, wait or event.
        what: step, subtask, wait or event.
        function: Of a step.
        args: A digest of what it is called with: `NO_ARGS`, or `ANY_ARGS` when it cannot be said.
        place: The branch.
        within: The keys of the steps that it is a part of, from the outermost.
        nth: How many asks of the branch had the name, with this one; None outside of the branches.
    """

    name: str
    what: str
    function: str | None = None
    args: str = NO_ARGS
    place: str = ""
    within: tuple[str, ...] = ()
    nth: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the meta of its events tells a later run, which knows the record by it."""
        is_said = self.nth is not None and (self.nth > 1 or is_end(self.name))
        return {"args": self.args, **({"nth_ask": self.nth} if is_said else {})}

    @property
    def is_unordered(self) -> bool:
        """Whether it is asked for outside of the branches, or by what is done there."""
        return self.place.startswith(OUTSIDE)

    @override
    def __str__(self) -> str:
        """How an error names it."""
        return _words(self.what, self.name, self.function)


@dataclass
class Record:
    """What is recorded with one key, and where in the history.

    Attributes:
        key: Its own.
        what: step, subtask, wait or event.
        function: Of a step; None when the history does not say.
        args: As of what asked for it; None when the history does not say.
        place: The branch.
        nth: As of what asked for it; None for the first, and when the history does not say.
        kin: What tells the branch from others; empty when the history does not say.
        indexes: Of its entries that have not come to their turn.
    """

    key: str
    what: str
    function: str | None
    args: str | None
    place: str
    nth: int | None = None
    kin: tuple[str, ...] = ()
    indexes: list[int] = field(default_factory=list[int])

    @override
    def __str__(self) -> str:
        return _words(self.what, self.key, self.function)


def record_of(entry: Entry) -> Record:
    """The record that an entry is the first of."""
    what = _KINDS.get(entry.kind, "step")
    return Record(
        entry.key, what, entry.function, entry.args, entry.place, nth=entry.nth, kin=entry.kin
    )


def difference(record: Record, asked: Asked) -> tuple[str, str] | None:
    """What was recorded, and what is asked for; None when both are the same."""
    if record.what == "step" and not _is_function(record.function, asked.function):
        return str(record), str(asked)
    # Who starts subtasks compares them itself, and can name the params.
    if record.what != "subtask" and not fits(record, asked):
        return (
            f"{record}, called with {_said(record.args)}",
            f"{asked}, called with {_said(asked.args)}",
        )
    return None


def _is_function(known: str | None, name: str | None) -> bool:
    """Whether a function is the one that a journal names."""
    if known is None or name is None or known == name or ":" not in known:  # of an older version
        return True
    (module, own), (other, theirs) = name.split(":", 1), known.split(":", 1)
    # A module that was started as a program has two names.
    is_same_module = module == other or not MAINS.isdisjoint((module, other))
    return own == theirs and is_same_module


def _said(args: str | None) -> str:
    """What is known of arguments: they may hold secrets, so their digest stands for them."""
    return f"arguments of the digest {args}" if args else "no arguments"


def fits(record: Record, asked: Asked) -> bool:
    """Whether a record was called with what is asked for."""
    unknown = {None, ANY_ARGS}
    return record.args in unknown or asked.args in unknown or record.args == asked.args


def is_of(record: Record, asked: Asked) -> bool:
    """Whether a record may be that of an ask: one that was given up left none to those after it.

    The end of a subtask is the same whoever asks for it, and asking again and again is usual.
    """
    return is_end(record.key) or None in {record.nth, asked.nth} or record.nth == asked.nth


def is_its_own(record: Record, asked: Asked) -> bool:
    """Whether an ask is the one that got what is recorded, and not another that it would do for.

    What was given up before, in this branch or in one that is there no more, was never told.
    """
    if record.place != asked.place:
        return False
    if None in {record.nth, asked.nth}:
        return not is_end(record.key)
    return _order(asked) >= _order(record)


def is_end(name: str) -> bool:
    """Whether a name or a key is that of the end of subtasks."""
    return name.rpartition("/")[2].startswith(END)


def _order(one: Asked | Record) -> int:
    return one.nth or 1


def is_alike(record: Record, asked: Asked) -> bool:
    """Whether a record of another branch will do: its result is what this one would be."""
    if record.args is None:  # of an older version, which did not say its branch
        return True
    is_told = asked.args not in {NO_ARGS, ANY_ARGS}
    return is_told and record.args == asked.args and record.function == asked.function


def _words(what: str, key: str, function: str | None) -> str:
    key = key.removeprefix("dispatch/") if what == "event" else key
    return f"the {what} {key}" + (f", done by {function}" if function else "")


def base_of(key: str) -> str:
    """A name or a key without the numbers that tell it from its like."""
    return _NUMBER.sub("", key)


def without_parts(entries: Sequence[Entry]) -> list[Entry]:
    """Entries but for the parts of steps that have an outcome: their functions are not called."""
    ended = {entry.key for entry in entries if entry.kind in {"DONE", "FAILED"}}
    return [entry for entry in entries if ended.isdisjoint(entry.within)]
