"""What a run waits for, and what wakes it when it has left memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from dama.domain.outcome import Waiting
from dama.store import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(eq=False)
class Wait:
    """What would end a wait.

    Attributes:
        awaited: The contexts of subtasks: all of them must have ended.
        fail_fast: One of them that has failed is enough.
        until: When it ends by itself; None for never.
        types: The types of the signal.
        seen: Up to which version of the context it has looked for the signal.
        ends: Those of them that are known to have ended.
        is_known: Whether all this is known, so that the run can leave memory and be woken by it.
    """

    awaited: tuple[int, ...] = ()
    fail_fast: bool = False
    until: datetime | None = None
    types: tuple[str, ...] = ()
    seen: int = 0
    ends: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    is_known: bool = True


def parking(waits: Sequence[Wait]) -> Waiting:
    """What wakes a run that waits for several things at once: the first of them.

    A signal that one of them has not looked for yet wakes it at once, whatever others have seen.
    """
    awaited = [{*wait.awaited} - wait.ends.keys() for wait in waits if wait.awaited]
    untils = [wait.until for wait in waits if wait.until is not None]
    return Waiting(
        awaited=sorted({context_id for each in awaited for context_id in each}),
        on_failure=any(wait.fail_fast for wait in waits),
        until=min(untils, default=None),
        types=[type_ for wait in waits for type_ in wait.types],
        seen=min((wait.seen for wait in waits if wait.types), default=0),
        any_end=len(awaited) > 1,
    )
