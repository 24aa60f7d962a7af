"""Checks: whether the code of a task fits what its runs have recorded, before it is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dama.definitions.errors import BrokenTaskError, UnknownTaskError
from dama.domain.event import ABSENT
from dama.errors import UsageError
from dama.operations import contexts
from dama.run.checking import Check, Recorded
from dama.store import Claim
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from dama.app import App
    from dama.store import ContextRow

SAMPLE = 200
SECONDS = 30.0
PAGE = 100


class UncheckedError(UsageError):
    """There is nothing that could be checked."""

    code = "UNCHECKED"


@dataclass(frozen=True)
class Misfit:
    """A run whose record the code does not fit.

    Attributes:
        context_id: Its context.
        status: Of the context; one that is OPEN or ERROR would replay with this code.
        kind: diverged, raised, returned or stuck.
        recorded: What the run did.
        found: What the code does instead.
    """

    context_id: int
    status: str | None
    kind: str
    recorded: str
    found: str


@dataclass(frozen=True)
class CheckReport:
    """What a check has found.

    Attributes:
        task: The full name.
        checked: How many runs were held against the code.
        still_open: Those of them that would replay with it.
        misfits: Those that do not fit.
    """

    task: str
    checked: int
    still_open: int
    misfits: Sequence[Misfit]


async def check(
    app: App, name: str, *, sample: int = SAMPLE, seconds: float = SECONDS
) -> CheckReport:
    """Hold the code of a task against recorded runs: open and failed ones, then the latest.

    Each step, call, subtask and wait is answered from the record, and nothing is written. What the
    function does outside of steps is done.

    Args:
        app: Where the runs are; its registry has the code.
        name: Of the task.
        sample: How many runs at most.
        seconds: In which the code must come to the end of one record.

    Raises:
        UnknownTaskError: There is no such task.
        UncheckedError: It is a program, which has no steps, or has no run.
    """
    task = app.registry.task(name)
    if not task.is_function:
        raise UncheckedError(
            f"{name} is a program: it is started again, and nothing of it is replayed.",
            "Check tasks that are functions.",
        )
    rows = await _sampled(app, task.name, sample)
    if not rows:
        raise UncheckedError(f"{name} has no runs to check.", "`dama ls --task` lists runs.")
    still_open = sum(row.status != "DONE" for row in rows)
    return CheckReport(task.name, len(rows), still_open, await misfits(app, rows, seconds))


async def misfits(app: App, rows: Sequence[ContextRow], seconds: float = SECONDS) -> list[Misfit]:
    """Hold the code against contexts; those whose task is not a function of this project fit.

    Args:
        app: Where they are; its registry has the code.
        rows: The contexts.
        seconds: In which the code must come to the end of one record.
    """
    found: list[Misfit] = []
    with TemporaryDirectory(prefix="dama-check-") as folder:
        checks = Check(app.store.database, app.registry, Path(folder), seconds)
        try:
            for row in rows:
                try:
                    task = app.registry.task(row.task or "")
                except BrokenTaskError:
                    raise
                except UnknownTaskError:
                    continue
                if not task.is_function:
                    continue
                if different := await checks.run(task, await _recorded(app, row)):
                    found.append(Misfit(row.context_id, row.status, **vars(different)))
        finally:
            checks.close()
    return found


async def _sampled(app: App, name: str, sample: int) -> list[ContextRow]:
    found: dict[int, ContextRow] = {}
    for status in ("OPEN", "ERROR", None):
        before: int | None = None
        while len(found) < sample:
            chosen = ContextFilter(roots=False, task=name, status=status)
            page = await app.store.windows.contexts(chosen, before=before, limit=PAGE)
            found |= {row.context_id: row for row in page.contexts[: sample - len(found)]}
            before = page.next_before
            if before is None:
                break
    return [row for row in found.values() if row.version > 1]


async def _recorded(app: App, row: ContextRow) -> Recorded:
    ended = await contexts.outcome(app, row.context_id)
    (first,) = await app.store.events(row.context_id, limit=1)
    claim = Claim(
        row.context_id, row.parent_id, row.root_context_id, row.task or "",
        epoch=2**31, attempt=1, queue="", priority=0, params=first.payload,
    )  # fmt: skip
    result = None if ended.result is ABSENT else ended.result
    return Recorded(claim, row.status, result, ended.error)
