"""The one run that an engine has started a worker for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import timedelta

    from dama.store import Claim
    from dama.store.placements import Placements
    from dama.store.queue import Place


class PlacedRun(NamedTuple):
    """The run that an engine has started a worker for."""

    context_id: int
    epoch: int
    lease: timedelta


class ClaimOfPlaced:
    """The only claim of a worker that an engine has started for a run.

    Args:
        placements: Of the database.
        context_id: The context of the run.
        epoch: Its epoch.
    """

    def __init__(self, placements: Placements, context_id: int, epoch: int) -> None:
        self._placements = placements
        self._run = context_id, epoch
        self._is_taken = False

    def places(self) -> dict[str, Place]:
        """It looks nowhere for work."""
        return {}

    async def take(self, worker_id: int, demand: int) -> list[Claim]:  # noqa: ARG002 - it is one
        """The run, once; none when another one has it."""
        if self._is_taken:
            return []
        self._is_taken = True
        return await self._placements.take(*self._run, worker_id)
