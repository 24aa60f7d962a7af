"""Earlier runs of a task: the last that has ended, and its state, in the archive as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.contained import contained
from dama.domain.event import StoredEvent
from dama.domain.exact import reader
from dama.store.items import as_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from dama.domain.slice import Slice
    from dama.store.database import Database
    from dama.store.store import Store

PAGE = 5000
LAST = 2**63 - 1

_read = reader(StoredEvent)


async def find(
    database: Database,
    tasks: Sequence[str],
    context_id: int,
    params: Mapping[str, Any],
    defaults: Mapping[str, Any],
    types: Collection[str] | None,
) -> list[int] | None:
    """The context of the last run that has ended, and its latest event; None without one.

    Args:
        database: Where.
        tasks: The names of the task, former ones included.
        context_id: Another one than this.
        params: What its params contain.
        defaults: What counts for params that it does not say.
        types: It has an event of one of these; None for any run.

    Source: store/sql/read_previous.sql, read_previous_archived.sql
    """
    given = {
        "tasks": [*tasks],
        "context_id": context_id,
        "params": as_json(params),
        "defaults": as_json(defaults),
        "types": None if types is None else sorted(types),
    }
    found = await _newest(database, "read_previous", given)
    since = {"after": found[0] if found else 0}
    return await _newest(database, "read_previous_archived", {**given, **since}) or found


async def _newest(
    database: Database, name: str, given: Mapping[str, Any], before: int = LAST
) -> list[int] | None:
    """The newest run that one statement finds, window after window."""
    while True:
        rows = await database.rows(name, {**given, "before": before})
        found = [[context_id, event_id] for context_id, event_id, is_found in rows if is_found]
        further = [context_id for context_id, _, is_found in rows if not is_found]
        newest, rest = next(iter(found), None), next(iter(further), None)
        # Of a task with several names, one that was not looked through may have a newer run.
        if rest is None or (newest is not None and newest[0] > rest):
            return newest
        before = rest


async def state_of(store: Store, context_id: int, slice_: Slice[Any], event_id: int) -> Any:
    """Fold the events of an earlier run, up to its latest, wherever they are now."""
    database = store.database
    if not await database.rows("is_archived", {"context_id": context_id}):
        return await store.state(context_id, slice_, event_id)
    state, version = slice_.initial, 0
    while True:
        params = {"context_id": context_id, "after_version": version, "limit": PAGE}
        page = [_read(text) for (text,) in await database.rows("read_archived_events", params)]
        with contained():
            state = slice_.fold(page, state)
        if len(page) < PAGE:
            return state
        version = page[-1].version
