"""The scheduler: starts what the schedules of its tasks want. Every worker has one.

Any number of them may look at the same moment. A firing is started, and its schedule moved on, in
one transaction that only one of them gets; and its context has the firing as its idempotency key.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dama.duty import in_words
from dama.run.errors import TaskUsageError
from dama.run.starts import start_of
from dama.store.errors import DatabaseUnreachableError, UnknownScheduleError
from dama.store.translation import may_pass

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dama.definitions.registry import Registry
    from dama.domain.schedule import Schedule
    from dama.store import Start, Store
    from dama.store.schedules import ScheduleRow

_log = logging.getLogger("dama.scheduler")


class Scheduler:
    """The schedules of some tasks.

    Args:
        store: Where they are.
        registry: The tasks.
        on_start: Called when runs were started.
    """

    def __init__(self, store: Store, registry: Registry, on_start: Callable[[], None]) -> None:
        self._store = store
        self._registry = registry
        self._on_start = on_start
        self._due = asyncio.Event()

    def look(self) -> None:
        """Something is due."""
        self._due.set()

    async def fire_always(self) -> None:
        """Start what is due whenever something is."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.fire()

    async def fire(self) -> list[int]:
        """Start what is due now; returns the contexts.

        Only what will not pass by itself pauses a schedule; all else is tried at the next look.

        Raises:
            DatabaseUnreachableError: The database does not answer.
        """
        contexts: list[int] = []
        for row in await self._store.schedules.due(self._registry.names):
            try:
                contexts += await self._fire(row)
            except DatabaseUnreachableError:
                raise
            except Exception as error:  # noqa: BLE001 - the others continue
                name = row.schedule.name
                if may_pass(error):
                    _log.warning("the schedule %s was not fired: %s", name, in_words(error))
                    continue
                failure = str(error) or type(error).__name__
                _log.error("the schedule %s is paused: %s", name, failure)
                with suppress(UnknownScheduleError):  # somebody has removed it
                    await self._store.schedules.fail(row, failure)
        return contexts

    async def _fire(self, row: ScheduleRow) -> list[int]:
        schedule = row.schedule
        due = schedule.due(row.next_at, await self._store.now())
        contexts = await self._store.schedules.fire(
            schedule.name,
            row.next_at,
            [start_at(schedule, firing, self._registry) for firing in due.firings],
            latest=due.firings[-1] if due.firings else None,
            following=due.following,
            missed=due.missed,
        )
        if contexts:
            _log.info("the schedule %s started %s", schedule.name, contexts)
            self._store.hints.send()
            self._on_start()
        return contexts or []


def start_at(schedule: Schedule, firing: datetime, registry: Registry) -> Start:
    """The start of a firing.

    Raises:
        UnknownTaskError: Its task is not known.
        InvalidParamsError: Its params are not what the task takes.
        TaskUsageError: The task has a limit of its own, which the overlap cannot be added to.
    """
    meta = {"schedule": schedule.name, "scheduled_for": firing.isoformat()}
    start = start_of(
        registry.task(schedule.task),
        schedule.params_at(firing),
        meta,
        key=schedule.key(firing),
        delay=schedule.delay(firing) or None,
    )
    if schedule.overlap == "allow":
        return start
    if start.limit_key is not None:
        raise TaskUsageError(
            f"{schedule.task} has a concurrency of its own, and a run is counted by one key only.",
            f"Let the schedule {schedule.name} allow overlap: the task decides.",
        )
    when_open = "return" if schedule.overlap == "skip" else "queue"
    key = f"schedule/{schedule.name}"
    return replace(start, limit_key=key, key_limit=1, when_open=when_open)
