"""Supposing: the state of a context without one of its events, or with another payload of it.

Only in memory: nothing is stored, and history stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from dama.beside import off_loop
from dama.domain.difference import Change, changes
from dama.domain.event import ABSENT
from dama.domain.exact import document
from dama.domain.lifecycle import lifecycle
from dama.domain.slice import Slice, find_slice
from dama.operations.folding import through

if TYPE_CHECKING:
    from dama.app import App

MOST_CHANGES = 1000


@dataclass(frozen=True)
class Supposition:
    """What would be other.

    Attributes:
        context_id: Of which context.
        slice: In which slice.
        version: The place of the event in the context.
        event_id: Its id.
        type: Its type.
        events: How many events after it were folded again.
        changes: What changes of the state of today give the other one.
        is_whole: Whether these are all of them.
        error: What a reducer raises; None when none does.
        failed_at: The version of the event that it raises at.
    """

    context_id: int
    slice: str
    version: int
    event_id: int
    type: str
    events: int
    changes: Sequence[Mapping[str, Any]]
    is_whole: bool = True
    error: str | None = None
    failed_at: int | None = None


async def suppose(
    app: App, context_id: int, slice_: str, event_id: int, *, payload: object = ABSENT
) -> Supposition:
    """Fold the events of a context without one of them, or with another payload of it.

    Args:
        app: Where it is.
        context_id: Which.
        slice_: The name of the slice.
        event_id: Which of its events.
        payload: Its payload instead; ABSENT leaves the whole event out.

    Raises:
        UnknownContextError: There is no such context.
        UnknownEventError: It has no such event.
        UnknownSliceError: No module defines the slice.
    """
    found = lifecycle if slice_ == lifecycle.name else find_slice(slice_)
    await app.store.context(context_id)
    version = (await app.store.forks.point(context_id, event_id)).version
    near = await app.store.events(context_id, after_version=max(version - 2, 0), limit=2)
    event = next(each for each in near if each.version == version)
    state: Any = found.initial
    if near[0].version < version:
        state = await app.store.state(context_id, found, near[0].event_id)
    other = [] if payload is ABSENT else [msgspec.structs.replace(event, payload=payload)]
    state, failed_at, error = await off_loop(through, found, state, other)
    events = 0
    async for page in app.store.pages(context_id, after_version=version):
        if error is not None:
            break
        state, failed_at, error = await off_loop(through, found, state, page)
        events += len(page)
    differences: list[Change] = []
    if error is None:
        today = await app.store.state(context_id, found)
        differences = await off_loop(_changes, found, today, state)
    return Supposition(
        context_id, found.name, version, event_id, event.type, events,
        [each.document() for each in differences[:MOST_CHANGES]],
        len(differences) <= MOST_CHANGES, error, failed_at,
    )  # fmt: skip


def _changes(slice_: Slice[Any], before: Any, after: Any) -> list[Change]:
    one, other = (document(slice_.encode_state(each)) for each in (before, after))
    return list(islice(changes(one, other), MOST_CHANGES + 1))
