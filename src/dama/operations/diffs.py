"""Diffs: what is different between two moments of a context, two attempts, or two contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from dama.beside import off_loop
from dama.counts import number_of
from dama.domain.account import Account
from dama.domain.difference import Change, changes
from dama.domain.errors import InvalidSliceError
from dama.domain.event import kind_of
from dama.domain.exact import document
from dama.domain.lifecycle import lifecycle
from dama.domain.own_code import named
from dama.domain.slice import find_slice, slices
from dama.errors import NotFoundError
from dama.operations import contexts

if TYPE_CHECKING:
    from dama.app import App

MOST_CHANGES = 1000
SHOWN_STEPS = 1000


class UnknownAttemptError(NotFoundError):
    """A context has no attempt of that number."""

    code = "UNKNOWN_ATTEMPT"


@dataclass(frozen=True)
class Side:
    """One of two that are compared.

    Attributes:
        context_id: Which context.
        at: After which event; None for the latest.
        attempt: Only what this attempt did, from 1; None for all of them.
    """

    context_id: int
    at: int | None = None
    attempt: int | None = None


@dataclass(frozen=True)
class Timing:
    """How long a step took on each side, in seconds; None where it was not done.

    Attributes:
        step: Its key; empty for all of it.
        first: On the one side, from the event before to its end.
        second: On the other.
    """

    step: str
    first: float | None
    second: float | None


@dataclass(frozen=True)
class Diff:
    """What is different.

    Attributes:
        first: The one side.
        second: The other.
        changes: What changes of the account of the first give that of the second: status, params,
            steps with their results and functions, subtasks, answers, result, error.
        states: The same of the slices that differ, by name.
        is_whole: Whether these are all changes.
        timings: How long all of it and each step took.
        unfoldable: Why slices could not be compared, by name: one of their functions raised.
    """

    first: Side
    second: Side
    changes: Sequence[Mapping[str, Any]]
    states: Mapping[str, Sequence[Mapping[str, Any]]]
    is_whole: bool
    timings: Sequence[Timing]
    unfoldable: Mapping[str, str] = field(default_factory=dict[str, str])


async def diff(app: App, first: Side, second: Side, *, names: Sequence[str] | None = None) -> Diff:
    """Compare two sides.

    Args:
        app: Where they are.
        first: The one.
        second: The other.
        names: The slices that are compared; by default all that the modules define.

    Raises:
        UnknownContextError: There is no such context.
        UnknownEventError: It has no such event.
        UnknownAttemptError: It has no such attempt.
        UnknownSliceError: No module defines the slice.
        ReducerError: A slice of `names` cannot be folded; of all, those are left out and named.
    """
    one, other = await account(app, first), await account(app, second)
    found = await off_loop(_changes, one.document(), other.document())
    is_whole = len(found) <= MOST_CHANGES
    states: dict[str, Sequence[Mapping[str, Any]]] = {}
    unfoldable: dict[str, str] = {}
    if first.attempt is None and second.attempt is None:
        for name in _all_slices() if names is None else names:
            try:
                before, after = await _state(app, first, name), await _state(app, second, name)
            except InvalidSliceError as error:
                if names is not None:
                    raise
                unfoldable[name] = error.message
                continue
            if differences := await off_loop(_changes, before, after):
                is_whole = is_whole and len(differences) <= MOST_CHANGES
                states[name] = _shown(differences)
    return Diff(first, second, _shown(found), states, is_whole, _timings(one, other), unfoldable)


async def account(app: App, side: Side) -> Account:
    """What a context, or one attempt of it, did up to an event.

    Raises:
        UnknownContextError: There is no such context.
        UnknownEventError: It has no such event.
        UnknownAttemptError: It has no such attempt.
    """
    await app.store.context(side.context_id)
    last = None
    if side.at is not None:
        last = (await app.store.forks.point(side.context_id, side.at)).version
    told, attempt = Account(), 0
    async for page in app.store.pages(side.context_id):
        events = [event for event in page if last is None or event.version <= last]
        if side.attempt is None:
            await off_loop(told.take, events)
        else:
            for event in events:
                attempt += kind_of(event.type) == "STARTED"
                if event.version == 1 or attempt == side.attempt:
                    told.take([event])
        if len(events) < len(page):
            break
    if side.attempt is not None and side.attempt > attempt:
        raise UnknownAttemptError(
            f"Context {side.context_id} has {number_of(attempt, 'attempt')}, "
            f"and no attempt {side.attempt}.",
            f"`dama show {side.context_id}` lists them.",
        )
    return told


def _all_slices() -> list[str]:
    """Those of the modules; what the life cycle says is in the accounts.

    A slice of `each` has the ids of contexts as keys, which say nothing of two contexts.
    """
    own = slices().keys() - {lifecycle.name}
    return sorted(name for name in own if not name.startswith("each("))


async def _state(app: App, side: Side, name: str) -> Any:
    slice_ = find_slice(name)
    state = await contexts.state(app, side.context_id, slice_, side.at)
    with named(slice_):
        return document(slice_.encode_state(state))


def _changes(before: Any, after: Any) -> list[Change]:
    return list(islice(changes(before, after), MOST_CHANGES + 1))


def _shown(found: Sequence[Change]) -> list[Mapping[str, Any]]:
    return [change.document() for change in found[:MOST_CHANGES]]


def _timings(one: Account, other: Account) -> list[Timing]:
    keys = [*dict.fromkeys(["", *one.seconds, *other.seconds])]
    return [
        Timing(key, one.seconds.get(key), other.seconds.get(key)) for key in keys[: SHOWN_STEPS + 1]
    ]
