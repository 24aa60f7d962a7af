"""Health: what the database tells of itself, for `dama doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.store.rights import own_functions

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
        migration: The last one that was applied.
        log_position: The last position that was given; events may wait for theirs.
        oldest_transaction: pid, application, state, writes and seconds of the one that is open for
            longest.
        prepared: Transactions that were prepared and not ended: gid, seconds.
        idle_slots: Replication slots that nobody reads and that keep rows or logs.
        bloated: Tables with many more dead rows than live ones: table, live, dead, and vacuumed:
            seconds since the last vacuum, or None.
        lapsed_workers: `host:pid` of those whose lease has run out.
        troubled_workers: Those in which something fails in the background: worker (`host:pid`),
            trouble.
        unclaimed: What is queued and no live worker would claim: queue, labels, runs, seconds.
        passed_over: What is queued though a live worker has room for it: task, queue, runs,
            seconds.
        failed_schedules: Those that are paused since a firing could not be started.
        full_sequences: Sequences of integers that have come far: sequence, and used, a share of 1.
        client_check: How often a statement looks whether its client has gone: never when it is `0`;
            None where the server cannot.
        damaged: What was switched off, removed or left half built in the schema: kind (trigger,
            index, table, function), name, of (the table).
    """

    server_version: str
    fsync: bool
    synchronous_commit: str
    autovacuum: bool
    now: datetime
    migration: str
    log_position: int
    oldest_transaction: dict[str, Any] | None
    prepared: Sequence[dict[str, Any]]
    idle_slots: Sequence[str]
    bloated: Sequence[dict[str, Any]]
    lapsed_workers: Sequence[str]
    troubled_workers: Sequence[dict[str, Any]]
    unclaimed: Sequence[dict[str, Any]]
    passed_over: Sequence[dict[str, Any]]
    failed_schedules: Sequence[str]
    full_sequences: Sequence[dict[str, Any]]
    client_check: str | None = None
    damaged: Sequence[dict[str, Any]] = ()


async def read_health(database: Database) -> HealthRow:
    """Ask the database how it is.

    Source: store/sql/read_health.sql
    """
    (row,) = await database.rows("read_health", {"functions": sorted(own_functions())})
    return HealthRow(*row)
