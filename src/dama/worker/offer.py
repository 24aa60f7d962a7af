"""What a worker offers: which runs it takes, and how many at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from dama.definitions.adhoc import adhoc
from dama.domain.labels import label_of, label_of_release, option_for, reserved_among
from dama.errors import DamaError, UsageError
from dama.launchers.launcher import LauncherSettings
from dama.openlineage.exporting import Exporting
from dama.run.commands import Commands
from dama.worker.placed import PlacedRun
from dama.worker.time_left import TimeLeft

if TYPE_CHECKING:
    from pathlib import Path

    from dama.definitions.registry import Registry

SLOTS = 16
OF_NO_TREE = 0  # the tree of a worker that was started for one run: it serves no other
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
        launches: What it gives to engines, which it does not execute itself.
        placed: The one run that it was started for, with its epoch; None for what is queued.
        release: Of its code, which keeps the runs that it begins; None for none.
        exporting: Sends events of OpenLineage; None for none.
    """

    queues: Sequence[str]
    tasks: Sequence[str]
    labels: Sequence[str]
    root: int | None
    slots: int
    time_left: TimeLeft
    launches: Sequence[LauncherSettings] = ()
    placed: PlacedRun | None = None
    release: str | None = None
    exporting: Exporting | None = None

    @property
    def announced(self) -> list[str]:
        """The labels that it serves in any way, for those who look whether somebody does."""
        return [*self.labels, *(label_of(each.name) for each in self.launches)]


class Asked(TypedDict, total=False):
    """What a worker is asked for.

    Attributes:
        queues: What it claims from; those of its tasks by default.
        root: Only runs of this tree; None for all.
        slots: How many runs it executes at once.
        labels: What it offers to runs that need it.
        seconds: How long it may work: it claims nothing that takes longer; None for no limit.
        launches: The launchers that it looks after.
        placed: The one run that an engine has started it for; None for what is queued.
        release: The release of its code; None for none.
        exporting: Sends events of OpenLineage; None for none.
    """

    queues: Sequence[str] | None
    root: int | None
    slots: int
    labels: Sequence[str]
    seconds: float | None
    launches: Sequence[LauncherSettings]
    placed: PlacedRun | None
    release: str | None
    exporting: Exporting | None


def offer_of(registry: Registry, home: Path, asked: Asked) -> Offer:
    """Complete what a worker was told: the queues of its tasks, its right to run commands."""
    labels, placed, queues = asked.get("labels", ()), asked.get("placed"), asked.get("queues")
    if reserved := reserved_among(labels):
        raise UsageError(
            f"The label {reserved!r} is one of the controller.",
            f"Offer it with {option_for(reserved)}.",
        )
    release = asked.get("release")
    right = _right_to_commands(home)
    tasks = [*registry.tasks.values(), *([adhoc] if right else [])]
    limits = {name: limit for t in tasks if (limit := t.options.timeout) for name in t.names}
    own = sorted({task.options.queue for task in tasks})
    return Offer(
        queues=() if placed else own if queues is None else queues,
        tasks=[name for task in tasks for name in task.names],
        labels=sorted({*labels, *right, *([label_of_release(release)] if release else [])}),
        root=OF_NO_TREE if placed else asked.get("root"),
        slots=asked.get("slots", SLOTS),
        time_left=TimeLeft(asked.get("seconds"), limits),
        launches=asked.get("launches", ()),
        placed=placed,
        release=release,
        exporting=asked.get("exporting"),
    )


def _right_to_commands(home: Path) -> list[str]:
    """The label of the key to undeclared commands; nothing where the key cannot be used."""
    try:
        return [Commands(home).label()]
    except (DamaError, OSError) as error:
        _log.warning("undeclared commands are left to others: %s", error)
        return []
