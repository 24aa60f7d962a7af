"""Trends: what a context has in common with the runs of its task before it, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.store.checked import Finding, findings

if TYPE_CHECKING:
    from dama.app import App
    from dama.store import ContextRow


@dataclass(frozen=True)
class CheckTrend(Finding):
    """What a check found, and what the check of this name found before.

    Attributes:
        earlier: In the 10 runs of the task before, the latest first; runs without the check are
            left out.
    """

    earlier: Sequence[Finding] = ()


async def checks(app: App, context: ContextRow) -> list[CheckTrend]:
    """The checks of a context in their order, each beside those of the runs of its task before."""
    if context.task is None:
        return []
    found = await findings(app.store.database, context.task, context.context_id)
    own = [each for each in found if each.context_id == context.context_id]
    return [
        CheckTrend(
            **vars(each),
            earlier=[old for old in found if old.name == each.name and old is not each],
        )
        for each in reversed(own)
    ]


async def usual_seconds(app: App, context: ContextRow) -> float | None:
    """The median of the seconds that the latest runs of a context's task took that were done."""
    if context.task is None:
        return None
    found = await app.store.windows.usual(context.task, context.context_id)
    if not found:
        return None
    from statistics import median

    return median(found)
