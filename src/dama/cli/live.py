"""Live: a run drawn on the terminal, one line for each context that is at work.

What ends or fails is written above and stays; the lines below are drawn again and again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from dama.cli.board import ENDED, Board, Row, progress_text, split_type
from dama.cli.lines import line, output_line
from dama.cli.output import COLOURS, duration
from dama.cli.terminal import rendered
from dama.counts import number_of
from dama.visible import on_one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dama.domain.event import StoredEvent

# Worth a line that stays; everything else is seen in the drawing.
STAYS = {"LOG", "RETRYING", "FAILED", "ERROR", "CANCELLED", "RESUMED"}


class LiveBoard:
    """Draws a board on standard error while it changes.

    Args:
        board: Where the events are taken in.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._console = Console(stderr=True)
        self._seen: dict[int, float] = {}
        self._spinner = Spinner("dots")
        self._live = Live(
            console=self._console,
            get_renderable=self._drawing,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: StoredEvent) -> None:
        """Take in one event."""
        row = self._board.apply(event)
        self._seen.setdefault(row.context_id, time.monotonic() - row.seconds)
        if split_type(event.type)[1] in STAYS:
            self._console.print(Text.from_ansi(rendered(line(event, row))))

    def show_output(self, row: Row, text: str) -> None:
        """Write a line that a program printed above the drawing."""
        self._console.print(Text.from_ansi(rendered(output_line(row, text))), soft_wrap=True)

    def _drawing(self) -> RenderableType:
        # Copied: the drawing is made in a thread of its own.
        rows = list(self._board.rows.values())
        shown = [row for row in rows if row.context_id == self._board.root or at_work(row)]
        height = max(self._console.height - 3, 1)
        table = Table.grid(padding=(0, 2))
        for row in shown[:height]:
            table.add_row(*self._cells(row, rows))
        if hidden := len(shown) - height:
            table.add_row("", "", f"... and {hidden} more" if hidden > 0 else "")
        return table

    def _cells(self, row: Row, rows: list[Row]) -> list[RenderableType]:
        mark = self._spinner if row.status == "running" else Text("·")
        name = Text(
            "  " * row.depth + on_one_line(row.task or "-"),
            style="bold" if not row.depth else "",
            no_wrap=True,
        )
        elapsed = time.monotonic() - self._seen.get(row.context_id, time.monotonic())
        return [
            mark,
            Text(str(row.context_id), style="dim"),
            name,
            Text(row.status, style=COLOURS.get(row.status, "")),
            _work(row, rows),
            _bar(row),
            Text(duration(elapsed), style="dim"),
        ]


def at_work(row: Row) -> bool:
    """Whether a context has something to show: it was started and has not ended."""
    return row.status not in ENDED and row.attempts > 0


def _work(row: Row, rows: list[Row]) -> Text:
    parts: list[str] = []
    if row.subtasks and not row.depth:
        below = [other for other in rows if other.depth]
        ended = sum(other.status in ENDED for other in below)
        parts.append(f"{ended} of {number_of(len(below), 'subtask')}")
    if row.steps:
        parts.append(f"{number_of(row.steps, 'step')}, last {row.step}")
    if text := progress_text(row.progress):
        parts.append(text)
    return Text(on_one_line("  ".join(parts)), overflow="ellipsis", no_wrap=True)


def _bar(row: Row) -> RenderableType:
    done, total = row.progress.get("done"), row.progress.get("total")
    if isinstance(done, int | float) and isinstance(total, int | float) and total > 0:
        return ProgressBar(total=total, completed=min(done, total), width=20)
    return ""
