"""Forks: contexts that have the history of another one up to one of its events.

The history is copied, in one transaction, so that whoever reads a fork reads a whole context. The
other one is only read, and may be archived. See functions/forks.sql.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.domain.event import ABSENT
from dama.domain.exact import decode_stored
from dama.shapes import Json
from dama.store.errors import UnknownContextError, UnknownEventError
from dama.store.items import as_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.store.database import Database

MOST_FORKS = 100
MOST_STEPS = 1000


@dataclass(frozen=True)
class ForkPoint:
    """An event after which a context can be forked.

    Attributes:
        task: Of the context; None for one of an old program.
        event_id: Of the event.
        version: Its place in the context.
        type: Of the event.
        payload: Of the event, or `ABSENT`.
        params: What the context was started with.
    """

    task: str | None
    event_id: int
    version: int
    type: str
    payload: Json
    params: Any


@dataclass(frozen=True)
class Forked:
    """One context that was forked.

    Attributes:
        context_id: Its own id.
        source_id: The context whose history it has.
        version: How many events of it.
    """

    context_id: int
    source_id: int
    version: int


@dataclass(frozen=True)
class Origin:
    """Where a context was forked from.

    Attributes:
        context_id: From which context.
        event_id: After which of its events.
        version: The place of that event.
    """

    context_id: int
    event_id: int
    version: int


@dataclass(frozen=True)
class DoneStep:
    """A step that was done after an event.

    Attributes:
        key: Its own.
        is_transactional: Its rows are in the database, as part of the same commit.
    """

    key: str
    is_transactional: bool


class Forks:
    """The forks of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def point(self, context_id: int, event_id: int | None) -> ForkPoint:
        """An event of a context, also of an archived one; None for its latest.

        Raises:
            UnknownContextError: There is no such context.
            UnknownEventError: It has no such event.
        """
        params = {"context_id": context_id, "event_id": event_id}
        for task, found, version, type_, payload, first in await self._database.rows(
            "read_fork_point", params
        ):
            if found is None:
                raise UnknownEventError(
                    f"Context {context_id} has no event {event_id}.",
                    f"`dama events {context_id}` lists those that it has, with their ids.",
                )
            return ForkPoint(
                task, found, version, type_, _decoded(payload), _decoded(first, none=None)
            )
        raise UnknownContextError(
            f"There is no context {context_id}.", "`dama ls` lists the contexts."
        )

    async def before_step(self, context_id: int, task: str, step: str) -> int | None:
        """The last event before a step; where it was not reached, the last before the failure."""
        prefix = f"{task}/{step}:".replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        params = {"context_id": context_id, "step": f"{prefix}%"}
        return next(iter(await self._database.column("find_before_step", params)), None)

    async def steps_after(self, context_id: int, version: int) -> list[DoneStep]:
        """The steps that a context did after a version, at most `MOST_STEPS`."""
        params = {"context_id": context_id, "version": version, "limit": MOST_STEPS}
        rows = await self._database.rows("list_steps_after", params)
        return [
            DoneStep(type_.partition("/")[2].rpartition(":")[0], transactional)
            for type_, transactional in rows
        ]

    async def create(
        self,
        source: int,
        version: int,
        edits: Mapping[int, Any],
        meta: Mapping[str, Json],
        *,
        is_before: bool = False,
    ) -> list[Forked]:
        """Make the fork, with all subtasks that were not done at that moment; its own first.

        Args:
            source: The context whose history is shared.
            version: The last event that is.
            edits: Other payloads, by version.
            meta: Who does it.
            is_before: The moment is that before the next event of the source.

        Raises:
            UnknownContextError: There is no such context.
            LifeCycleError: It had ended with that event.

        Source: store/functions/forks.sql
        """
        await self._database.rows("poll_log")
        params = {
            "source": source,
            "upto": version,
            "edits": as_json({str(place): payload for place, payload in edits.items()}),
            "meta": as_json(meta),
            "is_before": is_before,
        }
        rows = await self._database.rows("fork_context", params, again=False)
        return [Forked(*row) for row in rows]

    async def of(self, context_id: int) -> tuple[Origin | None, list[int]]:
        """Where a context was forked from, and the latest contexts that were forked from it."""
        params = {"context_id": context_id, "limit": MOST_FORKS}
        origin: Origin | None = None
        forks: list[int] = []
        for fork_id, source_id, event_id, version in await self._database.rows(
            "read_forks", params
        ):
            if fork_id == context_id:
                origin = Origin(source_id, event_id, version)
            else:
                forks.append(fork_id)
        return origin, forks


def _decoded(text: str | None, none: Any = ABSENT) -> Any:
    return none if text is None else decode_stored(text)
