"""The board: what happens in a tree of contexts, told from its events. Prints nothing.

`live.py` draws it on a terminal, `lines.py` writes it down event by event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.shapes import Json, as_object

if TYPE_CHECKING:
    from dama.domain.event import StoredEvent

ENDED = {"done", "failed", "cancelled"}

_STATUS_AFTER = {
    "INITIAL": "queued",
    "STARTED": "running",
    "ADOPTED": "running",
    "LOST": "retrying",
    "RETRYING": "retrying",
    "RESUMED": "queued",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "FINAL": "done",
}


@dataclass
class Row:
    """One context.

    Attributes:
        context_id: Its id.
        task: The full name of its task; empty for a context without one.
        depth: 0 for the root.
        status: queued, running, retrying, done, failed or cancelled.
        attempts: How often it was started.
        steps: How many steps are done.
        step: The latest of them.
        subtasks: How many it started.
        progress: The payload of the latest progress event.
        error: The message of the latest error.
        since: Its first event.
        until: Its latest event.
    """

    context_id: int
    task: str = ""
    depth: int = 0
    status: str = "queued"
    attempts: int = 0
    steps: int = 0
    step: str = ""
    subtasks: int = 0
    progress: Mapping[str, Json] = field(default_factory=dict[str, Any])
    error: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def short_name(self) -> str:
        """The task without its service."""
        return self.task.rpartition(".")[2] or "-"

    @property
    def seconds(self) -> float:
        """From its first event to its latest."""
        return (self.until - self.since).total_seconds() if self.since and self.until else 0.0


@dataclass
class Board:
    """The contexts of a tree, by id, in the order in which they were seen.

    Attributes:
        root: The id of the root.
        rows: One row a context.
    """

    root: int
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    _depths: dict[int, int] = field(default_factory=dict[int, int])

    def apply(self, event: StoredEvent) -> Row:
        """Take in one event; return the row that it changed."""
        row = self.rows.get(event.context_id)
        if row is None:
            depth = self._depths.get(event.context_id, int(event.context_id != self.root))
            row = Row(event.context_id, depth=depth, since=event.created_at)
            self.rows[event.context_id] = row
        row.until = event.created_at
        name, suffix = split_type(event.type)
        if step := step_of(row, event.type):
            self._apply_step(row, step, suffix, payload_of(event))
        elif suffix in _STATUS_AFTER:
            _apply_status(row, name, suffix, payload_of(event))
        elif suffix == "PROGRESS":
            row.progress = payload_of(event)
        return row

    def _apply_step(self, row: Row, step: str, suffix: str, payload: Mapping[str, Json]) -> None:
        if suffix == "DONE":
            row.steps += 1
            row.step = step
        elif suffix == "SPAWNED":
            ids: list[int] = payload.get("context_ids", [])
            row.subtasks += len(ids)
            self._depths |= dict.fromkeys(ids, row.depth + 1)


def split_type(type_: str) -> tuple[str, str]:
    """Split `flights.load:FINAL` into its name and its suffix; either may be empty."""
    name, _, suffix = type_.rpartition(":")
    return name, suffix


def step_of(row: Row, type_: str) -> str:
    """The key of the step that a type of event is about; empty when it is about none."""
    name, suffix = split_type(type_)
    prefix = f"{row.task}/"
    is_step = name.startswith(prefix) and suffix in {"DONE", "FAILED", "SPAWNED"}
    return name.removeprefix(prefix) if is_step else ""


def payload_of(event: StoredEvent) -> Mapping[str, Any]:
    """The payload where it is an object; else an empty one."""
    payload: object = event.payload
    return as_object(payload)


def progress_text(progress: Mapping[str, Json]) -> str:
    """`5,000 of 27,004 rows, message`, of whatever a progress event has of it."""
    done, total = progress.get("done"), progress.get("total")
    amounts = " of ".join(f"{n:,}" for n in (done, total) if isinstance(n, int | float))
    amount = f"{amounts} {progress.get('unit') or ''}".strip() if amounts else ""
    return ", ".join(str(part) for part in (amount, progress.get("message")) if part)


def _apply_status(row: Row, name: str, suffix: str, payload: Mapping[str, Json]) -> None:
    row.status = _STATUS_AFTER[suffix]
    row.task = row.task or name
    if suffix == "STARTED":
        row.attempts += 1
    if suffix in {"ERROR", "RETRYING"}:
        row.error = str(payload.get("message", ""))
