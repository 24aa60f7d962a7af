"""What a worker offers: which runs it takes, and how many at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.definitions.adhoc import adhoc
from dama.errors import DamaError
from dama.run.commands import Commands
from dama.worker.time_left import TimeLeft

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dama.definitions.registry import Registry

ALL_LABELS = "*"  # of a worker for one tree: it executes all of it

_log = logging.getLogger("dama.worker")


@dataclass(frozen=True)
class Offer:
    """What a worker offers.

    Attributes:
        queues: What it claims from, in this order.
        tasks: What it knows.
        labels: What it offers to runs that need it.
        root: Only runs of this tree; None for all.
        slots: How many runs it executes at once.
        time_left: Until it has to end.
    """

    queues: Sequence[str]
    tasks: Sequence[str]
    labels: Sequence[str]
    root: int | None
    slots: int
    time_left: TimeLeft


def offer_of(
    registry: Registry,
    home: Path,
    *,
    queues: Sequence[str] | None,
    root: int | None,
    slots: int,
    labels: Iterable[str],
    seconds: float | None = None,
) -> Offer:
    """Complete what a worker was told: the queues of its tasks, its right to run commands."""
    right = _right_to_commands(home)
    tasks = [*registry.tasks.values(), *([adhoc] if right else [])]
    limits = {name: limit for t in tasks if (limit := t.options.timeout) for name in t.names}
    own = sorted({task.options.queue for task in tasks})
    return Offer(
        queues=own if queues is None else queues,
        tasks=[name for task in tasks for name in task.names],
        labels=sorted({*labels, *right}),
        root=root,
        slots=slots,
        time_left=TimeLeft(seconds, limits),
    )


def _right_to_commands(home: Path) -> list[str]:
    """The label of the key to undeclared commands; nothing where the key cannot be used."""
    try:
        return [Commands(home).label()]
    except (DamaError, OSError) as error:
        _log.warning("undeclared commands are left to others: %s", error)
        return []
