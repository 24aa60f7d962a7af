"""Telemetry: what a process tells of itself in its log.

Lines for people by default; with `DAMA_LOG=json` one JSON object a line, with the context, the run
and the request that it is about, wherever in the code it was written.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dama.visible import on_one_line, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.shapes import Json

VARIABLE = "DAMA_LOG"
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
TASK_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_about: ContextVar[Mapping[str, Any] | None] = ContextVar("dama_log", default=None)


def about(**facts: Json) -> None:
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
    if quiet:
        handler.setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


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


class TaskLines(PlainLines):
    """A line of the log of a task: `2026-01-31T06:30:00Z INFO flights: 3 rows`.

    What follows the line, such as a traceback, is indented: no data begins a line. A record whose
    arguments do not fit, or whose own code raises, is a line that says so.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(TASK_LINE, "%Y-%m-%dT%H:%M:%SZ")

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        try:
            text = super().format(record)
        except Exception as error:  # noqa: BLE001 - any __str__ may raise anything
            text = super().format(_unformatted(record, error))
        return text.replace("\n", "\n  ")


def _unformatted(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    why = f"{message} [cannot be formatted: {type(error).__name__}: {error}]"
    plain = {"msg": why, "args": None, "exc_info": None, "exc_text": None, "stack_info": None}
    return logging.makeLogRecord({**record.__dict__, **plain})


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
