"""The doctor: judges what the database and the disk tell. Facts come in, findings go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from dama.store.health import HealthRow

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_TRANSACTION = 600
LARGEST_SKEW = 2.0
LARGEST_LAG = 1000
LEAST_DISK = 2 * 2**30

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        level: Whether it is well.
        found: What was found.
        advice: What to do, where something is to be done.
    """

    name: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Facts:
    """What was found out.

    Attributes:
        health: What the database tells of itself.
        now: The clock of this machine.
        free_disk: Bytes that are free where the embedded database is; None when it is not ours.
        hints: Whether a NOTIFY arrives.
        behind: The names of durable subscriptions, and by how many positions they are behind.
        parked: How many contexts subscriptions could not handle.
    """

    health: HealthRow
    now: datetime
    free_disk: int | None
    hints: bool
    behind: Sequence[tuple[str, int]]
    parked: int


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the order in which they should be read."""
    return [*_database(facts), *_work(facts), *_log(facts)]


def _database(facts: Facts) -> Iterator[Finding]:
    health = facts.health
    yield Finding("server", "ok", f"PostgreSQL {health.server_version}")
    durable = health.fsync and health.synchronous_commit != "off"
    yield Finding(
        "durability",
        "ok" if durable else "fail",
        f"fsync {'on' if health.fsync else 'off'}, synchronous_commit {health.synchronous_commit}",
        "" if durable else "A crash may lose what was acknowledged: set both on.",
    )
    yield Finding(
        "autovacuum",
        "ok" if health.autovacuum else "fail",
        "on" if health.autovacuum else "off",
        "" if health.autovacuum else "Set it on: dead rows of the queue are never cleared.",
    )
    skew = abs((health.now - facts.now).total_seconds())
    yield Finding(
        "clock",
        "ok" if skew < LARGEST_SKEW else "warn",
        f"{skew:.1f} s from that of the database",
        ""
        if skew < LARGEST_SKEW
        else "Leases and schedules follow the database's; set the clocks.",
    )
    yield _transaction(facts)
    yield _bloat(facts)
    if facts.free_disk is not None:
        enough = facts.free_disk > LEAST_DISK
        yield Finding(
            "disk",
            "ok" if enough else "fail",
            f"{facts.free_disk / 2**30:.1f} GiB free",
            "" if enough else "Make room: without it the database stops.",
        )


def _transaction(facts: Facts) -> Finding:
    oldest = facts.health.oldest_transaction
    if oldest is None or oldest["seconds"] < LONG_TRANSACTION:
        return Finding("transactions", "ok", "none is open for long")
    minutes = oldest["seconds"] / 60
    return Finding(
        "transactions",
        "warn",
        f"{oldest['application'] or 'a client'} (pid {oldest['pid']}, {oldest['state']}) "
        f"has had one open for {minutes:.0f} min",
        "Dead rows are kept for it. dama goes on; if it was forgotten: "
        f"SELECT pg_terminate_backend({oldest['pid']})",
    )


def _bloat(facts: Facts) -> Finding:
    if not facts.health.bloated:
        return Finding("bloat", "ok", "no table has many more dead rows than live ones")
    tables = ", ".join(
        f"{row['table']} ({row['dead']} dead, {row['live']} live)" for row in facts.health.bloated
    )
    return Finding(
        "bloat", "warn", tables, "Autovacuum clears them when no old transaction is open."
    )


def _work(facts: Facts) -> Iterator[Finding]:
    lapsed = facts.health.lapsed_workers
    yield Finding(
        "workers",
        "warn" if lapsed else "ok",
        f"the lease of {', '.join(lapsed)} has run out" if lapsed else "no lease has run out",
        "Another worker takes its runs over; is one running?" if lapsed else "",
    )
    for row in facts.health.unclaimed:
        needs = f" with the labels {', '.join(row['labels'])}" if row["labels"] else ""
        yield Finding(
            "queue",
            "warn",
            f"{row['runs']} runs wait in {row['queue']}{needs}, and no live worker claims them",
            f"Start one: dama worker --queue {row['queue']}"
            + "".join(f" --label {label}" for label in row["labels"]),
        )
    for name in facts.health.failed_schedules:
        yield Finding(
            "schedule",
            "fail",
            f"{name} is paused: its last firing could not be started",
            f"dama schedule show {name}",
        )
    yield Finding(
        "hints",
        "ok" if facts.hints else "warn",
        "NOTIFY arrives" if facts.hints else "NOTIFY does not arrive behind a pooler",
        "" if facts.hints else "Workers look once a second instead; nothing else changes.",
    )


def _log(facts: Facts) -> Iterator[Finding]:
    for name, behind in facts.behind:
        yield Finding(
            "subscription",
            "warn" if behind > LARGEST_LAG else "ok",
            f"{name} is {behind} events behind",
            "Does its program run?" if behind > LARGEST_LAG else "",
        )
    if facts.parked:
        yield Finding(
            "parked",
            "fail",
            f"{facts.parked} contexts could not be handled by a subscription",
            "dama log status",
        )
