"""Output: JSON for programs, aligned columns for people. Colours are left out where nobody sees.

click alone does this: a listing should be there before rich is imported.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from dama.cli.terminal import echo, secho, style
from dama.cli.typed import typed
from dama.visible import on_one_line, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

TENTHS_BELOW = 10  # seconds

COLOURS = {
    "DONE": "green",
    "ERROR": "red",
    "CANCELLED": "yellow",
    "OPEN": "cyan",
    "done": "green",
    "failed": "red",
    "cancelled": "yellow",
    "retrying": "yellow",
    "running": "cyan",
}


def print_json(value: object) -> None:
    """Print one JSON document."""
    echo(json_text(value))


def json_text(value: object, *, indent: int = 2) -> str:
    """Write dataclasses, structs, dates and all else as JSON; on one line with an indent of 0."""
    import json

    import msgspec

    from dama.domain.exact import compact, document, encode_hook

    try:
        encoded = compact(document(value))
    except UnicodeEncodeError:  # an argument that is not UTF-8: it is escaped
        return json.dumps(document(value), default=encode_hook, indent=indent or None)
    if indent:
        with suppress(RecursionError, msgspec.DecodeError):  # nested as deep as no reader takes it
            return msgspec.json.format(encoded, indent=indent).decode()
    return encoded.decode()


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns. The last one is cut at the edge of a terminal, and only there."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    secho(_aligned(headings, widths, edge), bold=True)
    for row in cells:
        echo(_aligned(row, widths, edge))


def print_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one a line; those without a value are left out."""
    shown = [(name, _cell(value)) for name, value in fields if value not in {None, ""}]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        echo(f"{style(name.ljust(width), bold=True)}  {coloured(value)}")


def print_next(*commands: tuple[str, str]) -> None:
    """Print commands worth trying next, each with what it is good for.

    They name the environment where `--pg-env` chose one.
    """
    echo()
    context = click.get_current_context(silent=True)
    pg_env: str | None = getattr(context and context.find_root().obj, "pg_env", None)
    named = [(typed(command, pg_env), purpose) for command, purpose in commands]
    width = max(len(command) for command, _ in named)
    for command, purpose in named:
        echo(f"  {style(command.ljust(width), bold=True)}  {purpose}")


def print_more(option: str) -> None:
    """Say that there is more, and how to read on: beside the output, which a program may read."""
    echo(f"More: the same command with {option}", err=True)


def counted(count: int) -> str:
    """A number that the store counts up to a bound: that many, or so many and more."""
    from dama.store.queue_rows import MOST_COUNTED

    return str(count) if count < MOST_COUNTED else f"{count}+"


def coloured(word: str) -> str:
    """A status in its colour; other words as they are."""
    return style(word, fg=COLOURS[word]) if word in COLOURS else word


def shortened(text: str, width: int) -> str:
    """The first line of a text, cut to a width."""
    line = visible(text.partition("\n")[0])
    return line if len(line) <= width else f"{line[: max(width - 1, 0)]}…"


def local_time(moment: datetime) -> str:
    """A moment on the clock of this machine, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(span: timedelta | float) -> str:
    """A span of time as people say it: 0.4 s, 12 s, 3 min 04 s, 2 h 05 min, 3 d 04 h."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if seconds < TENTHS_BELOW:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return local_time(value) if isinstance(value, datetime) else on_one_line(str(value))


def _aligned(cells: Sequence[str], widths: Sequence[int], edge: int | None) -> str:
    """Pad before colouring: escape sequences have a length, but no width."""
    *columns, last = cells
    left = sum(width + 2 for width in widths[:-1])
    if edge is not None:
        last = shortened(last, edge - left)
    padded = [
        coloured(cell) + " " * (width - len(cell))
        for cell, width in zip(columns, widths[:-1], strict=True)
    ]
    return "  ".join([*padded, coloured(last)]).rstrip()
