"""`--log-level`: from which level on what tasks log is kept."""

from __future__ import annotations

import logging

import click

NAMES = ("debug", "info", "warning", "error", "critical")
LOG_LEVEL = click.Choice(NAMES, case_sensitive=False)
LEAST_LEVEL_HELP = (
    "Only log lines of tasks from this level on; what a program prints has no level and is shown."
)
LOG_LEVEL_HELP = "The level from which log lines of tasks are kept; info by default."


def level_number(name: str | None) -> int | None:
    """The number that the standard log has for a name; None for none."""
    return None if name is None else logging.getLevelNamesMapping()[name.upper()]
