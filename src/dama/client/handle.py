"""The handle of a run: what came of it, what happens in it, and what can be done to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar, override

from dama.client.frames import frame
from dama.config.duration import optional_duration
from dama.domain.event import ABSENT
from dama.errors import UnavailableError, UsageError
from dama.operations import contexts, run_files
from dama.operations.who import person
from dama.run.errors import RunError
from dama.shapes import Json, is_whole

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

    from dama.client.link import Link
    from dama.config.duration import Duration
    from dama.definitions.task import TaskDefinition
    from dama.domain.event import StoredEvent
    from dama.domain.slice import Slice
    from dama.operations.contexts import ContextReport
    from dama.store import ContextRow

R = TypeVar("R")
S = TypeVar("S")


class Handle(Generic[R]):
    """A run that was started, in this process or in another.

    Attributes:
        context_id: Its context.
        task: Its definition; None when only its id is known.
    """

    def __init__(self, context_id: int, task: TaskDefinition[R] | None, link: Link) -> None:
        self.context_id = context_id
        self.task = task
        self._link = link

    @override
    def __repr__(self) -> str:
        of = f" of {self.task.name}" if self.task else ""
        return f"<context {self.context_id}{of}>"

    async def result(self, timeout: Duration | None = None) -> R:
        """Wait for its end and return its result.

        Args:
            timeout: How long: seconds, a string such as "5m", or a timedelta. The run continues
                when it is over.

        Raises:
            RunError: It failed for good or was cancelled.
            TimeoutError: It has not ended in time.
            NoWorkerError: For a while no live worker would have claimed it.
        """
        seconds = optional_duration(timeout, of="timeout")
        try:
            async with asyncio.timeout(seconds):
                ended = await self._link.ends.wait(self.context_id)
        except TimeoutError:
            raise TimeoutError(
                f"Context {self.context_id} has not ended in {timeout}; it continues."
            ) from None
        except UnavailableError:
            self._link.check()  # closed while somebody waits, it is no outage
            raise
        if ended.status != "DONE":
            task = (await self.report()).task
            raise RunError(self.context_id, str(task), ended.error, ended.status)
        value = None if ended.result is ABSENT else ended.result
        result: Any = self.task.decode_result(value) if self.task else value
        return result

    async def report(self) -> ContextReport:
        """How it is: its status, its result or error, why it does not run if it does not."""
        return await contexts.read(self._link.app, self.context_id)

    async def events(
        self, *, follow: bool = False, tree: bool = False
    ) -> AsyncGenerator[StoredEvent]:
        """Its events, from the first.

        Args:
            follow: Wait for more until it has ended.
            tree: Those of the contexts below it as well.
        """
        try:
            events = contexts.follow(self._link.app, self.context_id, tree=tree, wait=follow)
            async for event in events:
                yield event
        except UnavailableError:
            self._link.check()
            raise

    async def state(self, slice_: Slice[S], at: int | None = None) -> S:
        """Its state in a slice, after an event or after the latest.

        Raises:
            UsageError: `at` is not the id of an event.
        """
        if at is not None and not is_whole(at):
            raise UsageError(f"at is {at!r}: expected the id of an event, a whole number.")
        state: Any = await contexts.state(self._link.app, self.context_id, slice_, at)
        return state

    async def signal(self, type_: str, payload: Json = ABSENT) -> int:
        """Append an event that its task waits for, an approval for one; returns the event's id."""
        event = {"type": type_} if payload is ABSENT else {"type": type_, "payload": payload}
        return await contexts.dispatch(self._link.app, self.context_id, event)

    async def cancel(self, reason: str | None = None) -> list[int]:
        """End it and all below it that have not ended; returns their ids."""
        return await contexts.cancel(self._link.app, self.context_id, person(reason))

    async def resume(self, reason: str | None = None) -> None:
        """Let it continue from its last step, after it has failed or was cancelled."""
        await contexts.resume(self._link.app, self.context_id, person(reason), here=False)

    async def tree(self) -> list[ContextRow]:
        """The contexts of the tree that it is in, depth first, from the root."""
        return await contexts.tree(self._link.app, self.context_id)

    async def logs(self, level: str | None = None) -> list[str]:
        """What it has logged, and what its program printed on this host, line by line.

        Args:
            level: Only log lines from this one on, such as "warning"; what a program printed has
                no level, and is there.
        """
        return [line async for line in run_files.lines_of(self._link.app, self.context_id, level)]

    async def frame(self, *, tree: bool = False) -> DataFrame:
        """Its events as a frame of pandas, a row for each."""
        return frame([event async for event in self.events(tree=tree)])
