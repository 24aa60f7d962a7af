"""Activity: what happened in each minute and how full the queues were, for charts.

Derived from the log by whoever serves pages, one at a time; what nobody noted is in no chart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from dama.store.database import Database

WINDOW = 5000  # positions of the log in one statement


@dataclass(frozen=True)
class Count:
    """Contexts of one outcome in a piece of a time.

    Attributes:
        piece: Its number, from 0.
        outcome: started, done, error or cancelled.
        bucket: They took at most 2 ^ (bucket / 4) milliseconds; -1 where that is not known.
        count: How many.
    """

    piece: int
    outcome: str
    bucket: int
    count: int


class QueueSample(NamedTuple):
    """The most that was in a queue in a piece of a time.

    Attributes:
        queue: Its name.
        piece: The number of the piece, from 0.
        queued: Runs that could start.
        running: Runs.
        age: Seconds for which the oldest had been queued.
    """

    queue: str
    piece: int
    queued: int
    running: int
    age: float


class Activity:
    """The activity of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self) -> bool:
        """Note a window of what is new in the log, and a look at the queues; whether it was full.

        Source: store/functions/activity.sql
        """
        ((read,),) = await self._database.rows("note_activity", {"most": WINDOW}, again=False)
        return read == WINDOW

    async def counts(self, since: datetime, width: float) -> list[Count]:
        """What happened since then, in pieces of so many seconds."""
        rows = await self._database.rows("read_activity", {"since": since, "width": width})
        return [Count(*row) for row in rows]

    async def queues(self, since: datetime, width: float) -> list[QueueSample]:
        """What was in the queues, by queue and piece."""
        rows = await self._database.rows("read_queue_samples", {"since": since, "width": width})
        return [QueueSample(*row) for row in rows]
