"""Records: what a run has recorded, and whether what its code asks for is the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import override

MAINS = frozenset({"__main__", "__dama_main__"})
NO_ARGS = ""
ANY_ARGS = "?"


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
    """

    name: str
    what: str
    function: str | None = None
    args: str = NO_ARGS
    place: str = ""
    within: tuple[str, ...] = ()

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
        indexes: Of its entries that have not come to their turn.
    """

    key: str
    what: str
    function: str | None
    args: str | None
    place: str
    indexes: list[int] = field(default_factory=list[int])

    @override
    def __str__(self) -> str:
        return _words(self.what, self.key, self.function)


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


def is_alike(record: Record, asked: Asked) -> bool:
    """Whether a record of another branch will do: its result is what this one would be."""
    if record.args is None:  # of an older version, which did not say its branch
        return True
    is_told = asked.args not in {NO_ARGS, ANY_ARGS}
    return is_told and record.args == asked.args and record.function == asked.function


def _words(what: str, key: str, function: str | None) -> str:
    key = key.removeprefix("dispatch/") if what == "event" else key
    return f"the {what} {key}" + (f", done by {function}" if function else "")
