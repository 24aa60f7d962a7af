"""Reconciling: what is to be done after a look at an engine. Facts in, a plan out.

What the engine says explains, and what the database says decides: one reading ends nothing, and a
job that the engine does not show is one of which nothing is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from dama.launchers.launcher import DELETED, Key, Sighting
from dama.store.placements import Placement, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Judged = tuple[Placement, Sighting]
QUIET_SECONDS = 5.0  # a worker renews its lease once a second
MOST_SUBMISSIONS = 3
# In which a job that is not wanted any more ends what its program has started, wherever that has
# gone: an engine may end the processes of the job only.
ENDING_SECONDS = 60.0


@dataclass
class Memory:
    """What is remembered from look to look.

    Attributes:
        missing: Since when the engine has not shown a job that it should have.
        unwanted: Since when nobody has wanted a job, by its name and by the engine's id, which may
            be used again.
    """

    missing: dict[Key, float] = field(default_factory=dict[Key, float])
    unwanted: dict[tuple[Key, str], float] = field(default_factory=dict[tuple[Key, str], float])


class Limits(NamedTuple):
    """Seconds that depend on the engine and on the tasks.

    Attributes:
        pending: For which the jobs of tasks may be pending; no limit for the rest.
        keeps: For which the engine knows a job that has ended: a younger one that it has shown
            and shows no more was removed there.
        look: Between two looks: in them a job may end that its run has left.
    """

    pending: Mapping[str, float] = MappingProxyType({})
    keeps: float = 0.0
    look: float = 0.0


NO_LIMITS = Limits()


@dataclass
class Plan:
    """What is to be done.

    Attributes:
        submit: Ask for these again.
        judge: The jobs of these are over, and their workers have not said so.
        cancel: Nobody wants these jobs.
        forget: The jobs of these are over, and their runs have gone on.
        note: What is shown of the rest.
        overdue: These have been pending for longer than their runs may wait.
    """

    submit: list[Placement] = field(default_factory=list[Placement])
    judge: list[Judged] = field(default_factory=list[Judged])
    cancel: list[str] = field(default_factory=list[str])
    forget: list[Placement] = field(default_factory=list[Placement])
    note: list[Seen] = field(default_factory=list[Seen])
    overdue: list[Judged] = field(default_factory=list[Judged])


def plan(
    placements: Sequence[Placement],
    seen: Mapping[Key, Sighting],
    memory: Memory,
    *,
    now: float,
    grace: float,
    limits: Limits = NO_LIMITS,
) -> Plan:
    """Compare what is placed with what the engine knows.

    Args:
        placements: As the database has them, read after the look.
        seen: What the engine knows.
        memory: Of the looks before; changed.
        now: Of a steady clock, in seconds.
        grace: Seconds for which a job may be on its way to the engine.
        limits: Of the engine and the tasks.
    """
    done, known = Plan(), {Key(each.name, each.element) for each in placements}
    wanted: set[Key] = set()
    for each in placements:
        key = Key(each.name, each.element)
        job = seen.get(key)
        if each.run in ("placed", "running"):
            wanted.add(key)
        if job is None:
            since = memory.missing.setdefault(key, now)
            was_there = each.state in ("pending", "running") or each.reason == DELETED
            if was_there and each.age < limits.keeps:
                name = each.native_id or each.name
                _ended(each, Sighting("ended", name, DELETED, why="cancelled"), done)
                continue
            _absent(each, done, is_late=min(now - since, each.age) >= grace)
            continue
        memory.missing.pop(key, None)
        if job.state == "ended":
            _ended(each, job, done)
        elif _is_overdue(each, job, limits.pending):
            done.overdue.append((each, job))
        _note(each, job, done)
    _unwanted({k: job for k, job in seen.items() if k not in wanted}, known, memory, now, done)
    _abandoned(placements, seen, memory, now - limits.look, done)
    memory.missing = {key: since for key, since in memory.missing.items() if key in known}
    return done


def _unwanted(
    seen: Mapping[Key, Sighting], known: set[Key], memory: Memory, now: float, done: Plan
) -> None:
    """Cancel what has not begun at once, and what runs when it has had time to end by itself.

    What is not known at all may have been placed after the database was read: it is cancelled when
    nobody wants it at the second look.
    """
    jobs = {key: job for key, job in seen.items() if job.state != "ended"}
    since = memory.unwanted
    each_job = [(key, job.native_id) for key, job in jobs.items()]
    memory.unwanted = {each: since.get(each, now) for each in each_job}
    for key, job in jobs.items():
        if job.state == "pending":
            is_due = key in known or (key, job.native_id) in since
        else:
            is_due = now - memory.unwanted[key, job.native_id] >= ENDING_SECONDS
        if is_due:
            done.cancel.append(job.native_id)


def _abandoned(
    placements: Sequence[Placement],
    seen: Mapping[Key, Sighting],
    memory: Memory,
    before: float,
    done: Plan,
) -> None:
    """Forget jobs that run on without their runs: those may have other places.

    A lease has lapsed, and the engine has not noticed, as it does not for minutes when a node is
    lost. What ends by itself, or is cancelled there, ends within a look, and how is known first.
    """
    for each in placements:
        key = Key(each.name, each.element)
        job = seen.get(key)
        if job is None or job.state != "running" or each.run not in ("queued", "retrying"):
            continue
        if memory.unwanted[key, job.native_id] <= before:
            done.forget.append(each)


def _absent(each: Placement, done: Plan, *, is_late: bool) -> None:
    if not is_late:
        return
    if each.run == "placed":
        if each.submissions < MOST_SUBMISSIONS:
            done.submit.append(each)
        else:
            why = f"not known to the engine after {each.submissions} submissions"
            done.judge.append(
                (each, Sighting("ended", each.native_id or each.name, why, "", "lost"))
            )
    elif each.run != "running":
        done.forget.append(each)


def _ended(each: Placement, job: Sighting, done: Plan) -> None:
    match each.run:
        case "placed":
            done.judge.append((each, job))
        case "running":
            if each.quiet is None or each.quiet >= QUIET_SECONDS:
                done.judge.append((each, job))
        case "queued" | "retrying" if job.why != "exit":
            done.judge.append((each, job))
        case _:
            done.forget.append(each)


def _is_overdue(each: Placement, job: Sighting, patience: Mapping[str, float]) -> bool:
    is_pending = job.state == "pending" and each.run == "placed"
    return is_pending and each.age >= patience.get(each.task, math.inf)


def _note(each: Placement, job: Sighting, done: Plan) -> None:
    new = Seen(
        each.context_id, each.epoch, job.native_id, job.state, job.reason or None, job.node or None
    )
    if new[2:] != (each.native_id, each.state, each.reason, each.node):
        done.note.append(new)
