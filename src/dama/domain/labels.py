"""Labels: what a run asks of its worker. Some are the controller's own.

One with `launcher:` asks for an engine that places the run. One with `release:` is that of the
release of code that the run began with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

LAUNCHER = "launcher:"
RELEASE = "release:"
NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
OPTIONS = {LAUNCHER: "--launch", RELEASE: "--release"}


def label_of(launcher: str) -> str:
    """The label of the runs that a launcher places."""
    return f"{LAUNCHER}{launcher}"


def label_of_release(release: str) -> str:
    """The label of the runs that a release has begun.

    Raises:
        UsageError: It is not a name.
    """
    if not NAME.fullmatch(release):
        raise UsageError(
            f"{release!r} is not a name of a release.",
            "Take letters, digits, dots, hyphens and underscores, such as 2026-11-24.",
        )
    return f"{RELEASE}{release}"


def reserved_among(labels: Iterable[str]) -> str | None:
    """The first label that nobody may give by hand; None where there is none."""
    return next((label for label in labels if label.startswith(tuple(OPTIONS))), None)


def option_for(label: str) -> str:
    """The option with which `dama worker` offers a label."""
    for prefix, option in OPTIONS.items():
        if label.startswith(prefix):
            return f"{option} {label.removeprefix(prefix)}"
    return f"--label {label}"


def options_for(labels: Iterable[str]) -> str:
    """The options with which `dama worker` offers labels; each has a blank before it."""
    return "".join(f" {option_for(label)}" for label in labels)
