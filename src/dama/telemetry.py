"""Telemetry: what a process tells of itself in its log.

Lines for people by default; with `DAMA_LOG=json` one JSON object a line, with the context, the run
and the request that it is about, wherever in the code it was written.
"""

from __future__ import annotations

import json
import logging
import os
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dama.visible import on_one_line, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "DAMA_LOG"
LINE = "%(asctime)s %(name)s %(message)s"

_about: ContextVar[Mapping[str, Any] | None] = ContextVar("dama_log", default=None)


def about(**facts: Any) -> None:
    """Say what the lines of the current asyncio task are about, from now on."""
    _about.set({**(_about.get() or {}), **facts})


def configure_log(*, quiet: bool = False) -> None:
    """Send the log to standard error, as `DAMA_LOG` says.

    Args:
        quiet: Only what is wrong.
    """
    handler = logging.StreamHandler()
    is_json = os.environ.get(VARIABLE) == "json"
    handler.setFormatter(JsonLines() if is_json else PlainLines(LINE))
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, handlers=[handler])


class PlainLines(logging.Formatter):
    """A line of the log for people; what a terminal would act on is escaped."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        return visible(super().format(record))

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback: data in it begins no line of its own."""
        return on_one_line(super().formatMessage(record))


class JsonLines(logging.Formatter):
    """A line of the log as one JSON object."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **(_about.get() or {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return visible(json.dumps(line, ensure_ascii=False, default=str))
