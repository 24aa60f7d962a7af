"""Lines: a run as plain text, one line for each event that tells something.

For logs, pipes and CI, where nothing can be drawn over. Also how `dama events` shows an event.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from dama.cli.board import Board, Row, payload_of, progress_text, split_type, step_of
from dama.cli.output import COLOURS, duration, shortened
from dama.cli.terminal import echo, of_log, style
from dama.counts import number_of
from dama.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.domain.event import StoredEvent
    from dama.shapes import Json

# Between two lines about the progress of one context.
PROGRESS_EVERY = timedelta(seconds=5)


class Lines:
    """Writes what happens to standard error.

    Args:
        board: Where the events are taken in.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._progress_at: dict[int, datetime] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: StoredEvent) -> None:
        """Take in one event and write its line."""
        row = self._board.apply(event)
        if split_type(event.type)[1] == "PROGRESS":
            latest = self._progress_at.get(row.context_id)
            if latest and event.created_at - latest < PROGRESS_EVERY:
                return
            self._progress_at[row.context_id] = event.created_at
        echo(line(event, row), err=True)

    def show_output(self, row: Row, text: str) -> None:
        """Write a line that a program printed."""
        echo(output_line(row, text), err=True)


class Silent:
    """Writes nothing.

    Args:
        board: Where the events are taken in.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: StoredEvent) -> None:
        """Take in one event."""
        self._board.apply(event)

    def show_output(self, row: Row, text: str) -> None:
        """Pass over a line that a program printed."""


def line(event: StoredEvent, row: Row) -> str:
    """One event in words: when, which context, which task, what happened."""
    return f"{_head(event.created_at, row)}  {described(event, row)}"


def output_line(row: Row, text: str) -> str:
    """A line that a program printed, as lines of events are: when, which context, which task."""
    return f"{_head(datetime.now(UTC), row)}  | {of_log(text)}"


def _head(time: datetime, row: Row) -> str:
    indent = "  " * row.depth
    task = on_one_line(row.task or "-")
    return f"{time.astimezone().strftime('%H:%M:%S')}  {row.context_id:>5}  {indent}{task}"


def described(event: StoredEvent, row: Row) -> str:
    """What happened, in words."""
    payload = payload_of(event)
    suffix = split_type(event.type)[1]
    if step := step_of(row, event.type):
        return _of_step(step, suffix, payload)
    match suffix:
        case "PROGRESS":
            return progress_text(payload) or "continues"
        case "LOG":
            return _of_log(payload)
        case _:
            return _of_status(suffix, row, payload) or event.type


def _of_step(step: str, suffix: str, payload: Mapping[str, Json]) -> str:
    match suffix:
        case "SPAWNED":
            count = len(payload.get("context_ids", ()))
            return f"{step}: {number_of(count, 'subtask')}"
        case "FAILED":
            return _red(f"step {step} failed: {_message(payload)}")
        case _:
            return f"step {step} done"


def _of_status(suffix: str, row: Row, payload: Mapping[str, Json]) -> str:
    again = f" (attempt {row.attempts})" if row.attempts > 1 else ""
    words = {
        "INITIAL": "queued",
        "STARTED": f"started{again}",
        "ADOPTED": "continues under another worker",
        "LOST": _red(f"lost: {_message(payload)}"),
        "RETRYING": f"failed, will be tried again: {_message(payload)}",
        "RESUMED": "resumed",
        "CANCELLED": style("cancelled", fg=COLOURS["cancelled"]),
        "ERROR": _red(f"failed: {_message(payload)}"),
        "FINAL": f"{style('done', fg=COLOURS['done'])} in {duration(row.seconds)}",
    }
    return words.get(suffix, "")


def _of_log(payload: Mapping[str, Json]) -> str:
    fields = (f"{key}={value}" for key, value in payload.items() if key != "message")
    return on_one_line("  ".join([str(payload.get("message", "")), *fields]))


def _message(payload: Mapping[str, Json]) -> str:
    return shortened(str(payload.get("message") or payload.get("name") or "no message"), 300)


def _red(text: str) -> str:
    return style(text, fg=COLOURS["failed"])
