"""Health: what the database tells of itself, for `dama doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dama.store.database import Database


@dataclass(frozen=True)
class HealthRow:
    """What the database tells of itself.

    Attributes:
        server_version: Of PostgreSQL.
        fsync: Whether a commit survives a crash of the machine.
        synchronous_commit: Whether a commit is durable when it is answered: not when it is `off`.
        autovacuum: Whether dead rows are cleared.
        now: Its clock.
        oldest_transaction: pid, application, state and seconds of the one that is open for longest.
        bloated: Tables with many more dead rows than live ones: table, live, dead.
        lapsed_workers: `host:pid` of those whose lease has run out.
        unclaimed: What is queued and no live worker would claim: queue, labels, runs.
        failed_schedules: Those that are paused since a firing could not be started.
    """

    server_version: str
    fsync: bool
    synchronous_commit: str
    autovacuum: bool
    now: datetime
    oldest_transaction: dict[str, Any] | None
    bloated: Sequence[dict[str, Any]]
    lapsed_workers: Sequence[str]
    unclaimed: Sequence[dict[str, Any]]
    failed_schedules: Sequence[str]


async def read_health(database: Database) -> HealthRow:
    """Ask the database how it is.

    Source: store/sql/read_health.sql
    """
    (row,) = await database.rows("read_health")
    return HealthRow(*row)
