"""Checking: code against what a run has recorded, with everything answered from the record.

Nothing is done and nothing is written: where the code comes to what no run has recorded, the check
ends as a run that leaves memory. What it finds before that is what a replay would find.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dama.duty import in_words
from dama.run.body import call_body, end_beyond
from dama.run.errors import DivergedError, ParkSignal
from dama.run.execution import Execution
from dama.run.group_commit import GroupCommit
from dama.run.starts import without_removed
from dama.run.subtasks import Endings
from dama.store import Appended, Claim, Store

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.definitions.task import TaskDefinition
    from dama.run.records import Asked
    from dama.shapes import Json
    from dama.store import Append, Start
    from dama.store.database import Database

MOST_SHOWN = 300  # characters of a value
ASIDE = (":LOG", ":PROGRESS")  # what may be left out of a replay


@dataclass(frozen=True)
class Found:
    """How code differs from what a run has recorded.

    Attributes:
        kind: diverged, raised, returned another result, or stuck.
        recorded: What the run did.
        found: What the code does instead.
    """

    kind: str
    recorded: str
    found: str


@dataclass(frozen=True)
class Recorded:
    """What is known of a run besides its journal.

    Attributes:
        claim: As a worker would get it now.
        status: Of its context.
        result: The payload of its FINAL, if it has one.
        error: That of its ERROR.
    """

    claim: Claim
    status: str | None
    result: object
    error: Mapping[str, Any] | None


class Check:
    """Checks runs of one registry.

    Args:
        database: Where they are.
        registry: The code.
        work_dir: A folder that is there, for functions that look at theirs.
        seconds: In which the code must come to the end of a record.
    """

    def __init__(
        self, database: Database, registry: Registry, work_dir: Path, seconds: float
    ) -> None:
        self._store = _Reading(database)
        self._registry = registry
        self._work_dir = work_dir
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(thread_name_prefix="dama-check")

    def close(self) -> None:
        """Start no more threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, task: TaskDefinition[Any], recorded: Recorded) -> Found | None:
        """Hold the code of a task against one run; None when it fits."""
        claim = await without_removed(task, recorded.claim, self._store)
        commits = _NoCommits(self._store)
        execution = _Checked(
            claim,
            store=self._store,
            commits=commits,
            endings=Endings(self._store, lambda: None, park_after=0.0),
            registry=self._registry,
            pool=self._pool,
            on_waiting=lambda _: None,
            work_dir=self._work_dir,
        )
        self._store.execution = commits.execution = execution
        timer = asyncio.timeout(self._seconds)
        try:
            async with timer:
                await execution.remember()
                result = await call_body(task, execution)
        except BaseException as raised:
            if isinstance(raised, KeyboardInterrupt | SystemExit | asyncio.CancelledError):
                raise
            if timer.expired():
                return Found("stuck", "an end", f"none within {self._seconds:g} s")
            return _raised(execution, recorded, end_beyond(execution, raised) or raised)
        finally:
            execution.close()
        if recorded.status == "DONE" and result != recorded.result:
            return Found("returned", _value(recorded.result), _value(result))
        return None


def _raised(execution: Execution, recorded: Recorded, error: BaseException) -> Found | None:
    if isinstance(error, DivergedError):
        return Found("diverged", error.recorded, error.found)
    if isinstance(error, ParkSignal):
        left = execution.replay.left
        return Found("diverged", left, "the function waits for something else") if left else None
    if recorded.status != "DONE" and (recorded.error or {}).get("name") == type(error).__name__:
        return None
    was = "the function returned" if recorded.status == "DONE" else "it did not fail with that"
    return Found("raised", was, in_words(error))


def _value(value: object) -> str:
    return f"the result {str(value)[:MOST_SHOWN]}"


class _Checked(Execution):
    """An execution that ends where its record does."""

    @override
    async def begin_new(self, asked: Asked) -> None:
        await self.replay.all(asked)
        self.park()

    @override
    def abandon(self, ending: Coroutine[Any, Any, None]) -> None:
        ending.close()


class _NoCommits(GroupCommit):
    """Commits of which there are none."""

    execution: Execution

    @override
    def submit(self, items: Sequence[Append]) -> asyncio.Future[list[Appended]]:
        if not all(item.event.type.endswith(ASIDE) for item in items):
            self.execution.park()
        answer: asyncio.Future[list[Appended]] = asyncio.get_running_loop().create_future()
        answer.set_result([Appended(0, 0, is_new=False) for _ in items])
        return answer


class _Reading(Store):
    """A store in which nobody writes: who tries to has come to the end of the record."""

    execution: Execution

    @override
    async def append_many(self, items: Sequence[Append], *, waits: bool = True) -> list[Appended]:
        self.execution.park()

    @override
    async def start(self, starts: Sequence[Start], **_: Any) -> list[int]:
        self.execution.park()

    @override
    async def cancel(
        self,
        context_ids: Sequence[int],
        why: str,
        meta: Mapping[str, Json],
        *,
        parent: int | None = None,
    ) -> list[int]:
        self.execution.park()

    @override
    async def resume(self, context_id: int, meta: Mapping[str, Json]) -> list[int]:
        self.execution.park()
