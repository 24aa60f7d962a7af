"""Labels: what a run asks of its worker. One with `launcher:` asks for an engine that places it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LAUNCHER = "launcher:"


def label_of(launcher: str) -> str:
    """The label of the runs that a launcher places."""
    return f"{LAUNCHER}{launcher}"


def reserved_among(labels: Iterable[str]) -> str | None:
    """The first label that nobody may give by hand; None where there is none."""
    return next((label for label in labels if label.startswith(LAUNCHER)), None)


def options_for(labels: Iterable[str]) -> str:
    """The options with which `dama worker` offers labels; each has a blank before it."""
    return "".join(
        f" --launch {label.removeprefix(LAUNCHER)}"
        if label.startswith(LAUNCHER)
        else f" --label {label}"
        for label in labels
    )
