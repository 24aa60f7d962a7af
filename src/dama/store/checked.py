"""What the checks of runs found, as their events say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dama.domain.lifecycle import step_key

if TYPE_CHECKING:
    from dama.store.database import Database

EARLIER_RUNS = 10
EVENTS = 1000  # the latest of each run, that are looked at
PREFIX = "check:"


@dataclass(frozen=True)
class Finding:
    """What a check found in one run, in the end.

    Attributes:
        context_id: Of the run.
        name: Of the check.
        count: How much was wrong.
        failed: It ended an attempt, and no later one has checked it.
        at: When it was done.
    """

    context_id: int
    name: str
    count: int
    failed: bool
    at: datetime


async def findings(database: Database, task: str, context_id: int) -> list[Finding]:
    """What each check of a context and of the 10 runs of its task before found, the latest first.

    Of each run its latest 1,000 events are looked at. Without a check in the context itself there
    are none.

    Source: store/sql/read_checks.sql
    """
    params = {"task": task, "context_id": context_id, "most": EARLIER_RUNS, "events": EVENTS}
    found: dict[tuple[int, str], Finding] = {}
    for run, type_, at, count in await database.rows("read_checks", params):
        key, suffix = step_key(type_) or ("", "")
        if key.startswith(PREFIX) and suffix in {"DONE", "FAILED"}:
            name = key.removeprefix(PREFIX)
            finding = Finding(run, name, count, suffix == "FAILED", at)
            found.setdefault((run, name), finding)  # a later attempt comes first
    return [*found.values()]
