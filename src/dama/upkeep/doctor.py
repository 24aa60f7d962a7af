"""The doctor: judges what the database and the disk tell. Facts come in, findings go out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from dama.counts import number_of
from dama.domain.circle import WaitsFor, who_waits
from dama.domain.labels import options_for
from dama.run import commands
from dama.store.health import HealthRow
from dama.store.queue_rows import MOST_COUNTED
from dama.upkeep.damage import damaged

LONG_TRANSACTION = 600
LONG_WAIT = 60
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
        log_position: The last position of the log, after all events have theirs.
        now: The clock of this machine.
        free_disk: Bytes that are free where dama's files are, and the embedded database.
        hints: Whether a NOTIFY arrives.
        behind: The names of durable subscriptions, and by how many positions they are behind.
        parked: How many contexts subscriptions could not handle.
        circles: Runs that wait for each other, and forever.
        adrift: Contexts of programs of this host that nobody supervises, with their state.
        kill_modes: The units of systemd that workers of this host are in, and what ends with them.
        home: The folder of dama's files.
        home_mode: Its permissions.
        is_own_home: Whether it belongs to the user who asks.
    """

    health: HealthRow
    log_position: int
    now: datetime
    free_disk: int
    hints: bool
    behind: Sequence[tuple[str, int]]
    parked: int
    circles: Sequence[Sequence[WaitsFor]] = ()
    adrift: Sequence[tuple[int, str]] = ()
    kill_modes: Sequence[tuple[str, str]] = ()
    home: str = ""
    home_mode: int = 0o700
    is_own_home: bool = True


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the order in which they should be read."""
    return [finding for check in CHECKS for finding in check(facts)]


def _judged(
    name: str, found: str, advice: str, *, well: bool, otherwise: Level = "warn"
) -> Finding:
    return Finding(name, "ok" if well else otherwise, found, "" if well else advice)


def home(facts: Facts) -> Iterator[Finding]:
    """Whether others may look into the files of dama: results, logs, keys."""
    is_private = not facts.home_mode & 0o077
    found = f"{facts.home} has the mode {facts.home_mode:03o}"
    yield _judged(
        "home",
        found if facts.is_own_home else f"{found} and belongs to another user",
        f"chmod 700 {facts.home}"
        if facts.is_own_home
        else "Run dama as the user whose home it is.",
        well=is_private and facts.is_own_home,
    )


def _ago(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def server(facts: Facts) -> Iterator[Finding]:
    """Which database it is."""
    yield Finding("server", "ok", f"PostgreSQL {facts.health.server_version}")
    # A schema that is not this version's was refused before anything was asked.
    yield Finding(
        "schema", "ok", f"up to {facts.health.migration}, with the functions of this dama"
    )


def damage(facts: Facts) -> Iterator[Finding]:
    """What somebody has switched off or removed in the schema."""
    for row in facts.health.damaged:
        yield Finding("schema", "fail", *damaged(row))


def durability(facts: Facts) -> Iterator[Finding]:
    """Whether a commit is kept."""
    health = facts.health
    yield _judged(
        "durability",
        f"fsync {'on' if health.fsync else 'off'}, synchronous_commit {health.synchronous_commit}",
        "A crash may lose what was acknowledged: set both on.",
        well=health.fsync and health.synchronous_commit != "off",
        otherwise="fail",
    )


def autovacuum(facts: Facts) -> Iterator[Finding]:
    """Whether dead rows are cleared."""
    yield _judged(
        "autovacuum",
        "on" if facts.health.autovacuum else "off",
        "Set it on: dead rows of the queue are never cleared.",
        well=facts.health.autovacuum,
        otherwise="fail",
    )


def abandoned(facts: Facts) -> Iterator[Finding]:
    """Whether the statement of a program that was killed ends with it."""
    interval = facts.health.client_check
    yield _judged(
        "abandoned",
        "the server cannot look whether clients have gone"
        if interval is None
        else f"client_connection_check_interval {interval}",
        "A program that was cancelled may leave a statement that continues, with its locks. Set "
        "client_connection_check_interval to 1s (PostgreSQL 14 or newer).",
        well=interval not in {None, "0"},
    )


def clocks(facts: Facts) -> Iterator[Finding]:
    """Whether this machine and the database agree on the time."""
    skew = abs((facts.health.now - facts.now).total_seconds())
    yield _judged(
        "clock",
        f"{skew:.1f} s from that of the database",
        "Leases and schedules follow the database's; set the clocks.",
        well=skew < LARGEST_SKEW,
    )


def transactions(facts: Facts) -> Iterator[Finding]:
    """Who keeps dead rows, and events from the log, by a transaction that stays open."""
    oldest = facts.health.oldest_transaction
    if oldest is None or oldest["seconds"] < LONG_TRANSACTION:
        yield Finding("transactions", "ok", "none is open for long")
        return
    effect = "Dead rows are kept for it" + (
        ", and its events reach the log when it commits." if oldest["writes"] else "."
    )
    yield Finding(
        "transactions",
        "warn",
        f"{oldest['application'] or 'a client'} (pid {oldest['pid']}, {oldest['state']}) "
        f"has had one open for {_ago(oldest['seconds'])}",
        f"{effect} dama continues; if it was forgotten: "
        f"SELECT pg_terminate_backend({oldest['pid']})",
    )


def prepared(facts: Facts) -> Iterator[Finding]:
    """Transactions that wait for a second phase: a restart of the server does not end them."""
    for row in facts.health.prepared:
        if row["seconds"] >= LONG_TRANSACTION:
            yield Finding(
                "prepared",
                "warn",
                f"the transaction {row['gid']!r} was prepared {_ago(row['seconds'])} ago",
                f"Dead rows are kept for it: COMMIT PREPARED or ROLLBACK PREPARED '{row['gid']}'",
            )


def slots(facts: Facts) -> Iterator[Finding]:
    """Replication slots that nobody reads."""
    for name in facts.health.idle_slots:
        yield Finding(
            "slot",
            "warn",
            f"nobody reads the replication slot {name}",
            "The server keeps its logs for it until the disk is full; if it was forgotten: "
            f"SELECT pg_drop_replication_slot('{name}')",
        )


def bloat(facts: Facts) -> Iterator[Finding]:
    """Tables that are mostly dead rows."""
    if not facts.health.bloated:
        yield Finding("bloat", "ok", "no table has many more dead rows than live ones")
        return
    yield Finding(
        "bloat",
        "warn",
        ", ".join(_bloated(row) for row in facts.health.bloated),
        "Autovacuum clears them when no old transaction is open.",
    )


def _bloated(row: Mapping[str, Any]) -> str:
    since = row["vacuumed"]
    vacuum = "never vacuumed" if since is None else f"vacuumed {_ago(since)} ago"
    return f"{row['table']} ({row['dead']} dead, {row['live']} live, {vacuum})"


def disk(facts: Facts) -> Iterator[Finding]:
    """Whether logs, working folders and the embedded database have room."""
    yield _judged(
        "disk",
        f"{facts.free_disk / 2**30:.1f} GiB free in DAMA_HOME",
        "Make room: programs fail without it, and the embedded database stops. "
        "`dama clean --dry-run` tells what old runs have left.",
        well=facts.free_disk > LEAST_DISK,
        otherwise="fail",
    )


def workers(facts: Facts) -> Iterator[Finding]:
    """Whether one has died."""
    lapsed = facts.health.lapsed_workers
    yield _judged(
        "workers",
        f"the lease of {', '.join(lapsed)} has run out" if lapsed else "no lease has run out",
        "Another worker takes its runs over; is one running?",
        well=not lapsed,
    )
    for row in facts.health.troubled_workers:
        yield Finding(
            "worker",
            "fail",
            f"{row['worker']} cannot do a part of its work: {row['trouble']}",
            "It tries again by itself: what is away is waited for; for another reason it ends when "
            "that continues. Its log says more.",
        )


def programs(facts: Facts) -> Iterator[Finding]:
    """Whether all programs of this host are supervised, and outlive their worker."""
    for context_id, state in facts.adrift:
        yield Finding(
            "program",
            "warn",
            f"the program of context {context_id} is {state}: its shim was killed",
            f"A worker of this host sees to it. `dama logs {context_id}` shows what it said.",
        )
    for unit, mode in facts.kill_modes:
        yield _judged(
            "systemd",
            f"{unit} has KillMode={mode}",
            "Its programs are killed when the worker is stopped. Set KillMode=process, as the "
            "unit that `dama unit worker` prints.",
            well=mode in ("process", "none"),
        )


def unclaimed(facts: Facts) -> Iterator[Finding]:
    """What no worker offers to do."""
    for row in facts.health.unclaimed:
        needs = f" with the labels {', '.join(row['labels'])}" if row["labels"] else ""
        yield Finding(
            "queue",
            "warn",
            f"{number_of(row['runs'], 'run waits', 'runs wait')} in {row['queue']}{needs}, "
            f"since {_ago(row['seconds'])}, "
            "and no live worker claims them",
            _worker_for(row["queue"], row["labels"]),
        )


def _worker_for(queue: str, labels: Sequence[str]) -> str:
    """How to start a worker that claims the runs of a queue with these labels."""
    given = [label for label in labels if not label.startswith(commands.LABEL)]
    start = f"Start one: dama worker --queue {queue}{options_for(given)}"
    if len(given) == len(labels):
        return start
    return (
        f"{start}, as the user who started them: only a worker with their commands.key may run "
        "undeclared commands. On another host, copy commands.key into its DAMA_HOME first."
    )


def passed_over(facts: Facts) -> Iterator[Finding]:
    """What a worker of the queue has room for and leaves: it cannot know the task."""
    for row in facts.health.passed_over:
        if row["seconds"] >= LONG_WAIT:
            waits = "waits" if row["runs"] == 1 else "wait"
            yield Finding(
                "task",
                "warn",
                f"{number_of(row['runs'], 'run')} of {row['task']} {waits} in {row['queue']} since "
                f"{_ago(row['seconds'])}, though a live worker of the queue has room",
                "Does a worker know the task? `dama services` in its folder lists what it knows.",
            )


def circles(facts: Facts) -> Iterator[Finding]:
    """Runs that wait for each other."""
    for circle in facts.circles:
        yield Finding(
            "circle",
            "fail",
            f"{len({wait.waiter for wait in circle})} runs wait forever: {who_waits(circle)}",
            f"Cancel one of them: dama cancel {circle[-1].waiter}",
        )


def schedules(facts: Facts) -> Iterator[Finding]:
    """Those that an error has paused."""
    for name in facts.health.failed_schedules:
        yield Finding(
            "schedule",
            "fail",
            f"{name} is paused: its last firing could not be started",
            f"dama schedule show {name}",
        )


def hints(facts: Facts) -> Iterator[Finding]:
    """Whether workers hear of new runs at once."""
    yield _judged(
        "hints",
        "NOTIFY arrives" if facts.hints else "NOTIFY does not arrive behind a pooler",
        "Workers look once a second instead; nothing else changes.",
        well=facts.hints,
    )


def log(facts: Facts) -> Iterator[Finding]:
    """How far the log is; asking places what had no position, so nothing is left behind."""
    placed = facts.log_position - facts.health.log_position
    events = number_of(facts.log_position, "event")
    yield Finding("log", "ok", f"{events}, {placed} of them placed just now")


def ids(facts: Facts) -> Iterator[Finding]:
    """Sequences of an adopted database that come to their end."""
    for row in facts.health.full_sequences:
        yield Finding(
            "ids",
            "warn",
            f"{row['used']:.1%} of the ids of {row['sequence']} are drawn",
            "At the end nothing can be started. docs/howto/adopt.md has how they become bigint.",
        )


def subscriptions(facts: Facts) -> Iterator[Finding]:
    """How far the durable readers of the log are behind, and what they could not handle."""
    for name, behind in facts.behind:
        yield _judged(
            "subscription",
            f"{name} is {number_of(behind, 'event')} behind",
            "Does its program run?",
            well=behind <= LARGEST_LAG,
        )
    if facts.parked:
        contexts = number_of(facts.parked, "context", more=facts.parked >= MOST_COUNTED)
        yield Finding(
            "parked",
            "fail",
            f"{contexts} could not be handled by a subscription",
            "dama log status",
        )


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    server, damage, durability, autovacuum, abandoned, clocks, transactions, prepared, slots, bloat,
    disk, home, workers, programs, unclaimed, passed_over, circles, schedules, hints, log, ids,
    subscriptions,
)  # fmt: skip
