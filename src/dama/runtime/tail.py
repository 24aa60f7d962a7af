"""The last lines of a log, as a person would see them: a progress bar is its last state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TAIL_BYTES = 64 * 1024
LONGEST_SHOWN = 500


def collapsed(line: str) -> str:
    """What is left of a line when each carriage return went back to its begin."""
    return line.rstrip("\r").rpartition("\r")[2]


def tail(path: Path, count: int) -> list[str]:
    """The last lines of a file that are not empty; invalid UTF-8 is replaced."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - TAIL_BYTES, 0))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    lines = [collapsed(line)[:LONGEST_SHOWN] for line in text.split("\n")]
    return [line for line in lines if line.strip(" \0")][-count:]
