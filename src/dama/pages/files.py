"""Files of a context: windows of what its programs printed, and what they left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from dama.errors import DamaError
from dama.gateway import files as served
from dama.operations import contexts, run_files
from dama.pages.ansi import Part, parts
from dama.pages.log_place import NOTHING, place_of
from dama.pages.shown import short_json
from dama.programs.environment import secrets_left
from dama.programs.tail import collapsed, first_byte, read_range
from dama.run.errors import NoLogsError
from dama.shapes import is_object

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.responses import Response

    from dama.domain.lifecycle import Lifecycle
    from dama.domain.secrets import Secrets
    from dama.pages.log_place import LogPlace
    from dama.pages.moment import Moment
    from dama.pages.visit import Visit
    from dama.programs.run_directory import RunDirectory
    from dama.store.rows import ContextRow

WINDOW = 64 * 1024
MESSAGES = 1000
SEARCHED = 64 * 1024 * 1024
LONGEST_SOUGHT = 200


@dataclass(frozen=True)
class LogWindow:
    """A part of a log.

    Attributes:
        lines: In their last state, with their colours.
        begin: The place of its first byte.
        end: The place behind its last byte.
        first: The place of the first byte that is still there.
        size: The bytes that the log has had.
    """

    lines: list[list[Part]]
    begin: int
    end: int
    first: int
    size: int


@dataclass(frozen=True)
class Found:
    """What became of a search.

    Attributes:
        at: The place of the line that has it; None when it was not found.
        looked_to: How far the search looked.
    """

    at: int | None
    looked_to: int


async def log_window(
    visit: Visit, row: ContextRow, moment: Moment, life: Lifecycle, length: int = WINDOW
) -> dict[str, Any]:
    """The values of the tab of a context's log: a window around a byte, by default the end.

    At an event of the past the end is where the log ended then.
    """
    place = None
    sought = visit.query.get("find", "")[:LONGEST_SOUGHT]
    messages = await _messages(visit, row, moment.version)
    try:
        runs = await run_files.logs_of(visit.app, row.context_id)
        name = visit.query.get("stream") or _stream(life, runs)
        if not moment.is_live and "byte" not in visit.query and "find" not in visit.query:
            place = await place_of(visit, row.context_id, moment, life, name)
        run = await _run(visit, row, runs, place)
        asked = _Asked(name, sought, visit.number("byte"), place.line if place else None, length)
        found, window = await asyncio.to_thread(_read, run, asked)
    except DamaError as error:
        return {"log": None, "log_problem": error, "messages": messages}
    kept = {name: visit.query[name] for name in ("at", "slice") if name in visit.query}
    chosen = {**kept, "tab": "log", "stream": name, "run": run.epoch}
    address = f"/contexts/{row.context_id}?{urlencode(chosen)}"
    return {
        "log": window,
        "log_place": place,
        "log_problem": None,
        "messages": messages,
        "runs": runs,
        "epoch": run.epoch,
        "stream": name,
        "sought": sought,
        "is_end": "byte" not in visit.query and not sought,
        "found": found,
        "log_address": address,
    }


class _Asked(NamedTuple):
    """What is asked of a log: see `_window` and `_search`."""

    stream: str
    sought: str
    begin: int | None
    until: int | None
    length: int


def _read(run: RunDirectory, asked: _Asked) -> tuple[Found | None, LogWindow]:
    """What a search found, if there is one, and the part of the log to show.

    Raises:
        NoLogsError: The files of the run cannot be read now.
    """
    path = run.stderr if asked.stream == "stderr" else run.stdout
    try:
        secrets = secrets_left(run)
        found = _search(path, asked.sought, asked.begin or 0, secrets) if asked.sought else None
        start = found.at if found else asked.begin
        return found, _window(path, start, asked.until, asked.length, secrets)
    except OSError as error:  # it was cleaned meanwhile, or the disk is away
        raise NoLogsError(f"The log cannot be read now: {error.strerror}.") from error


def _stream(life: Lifecycle, runs: list[run_files.RunLogs]) -> str:
    """What a reader wants to see first: of a failure what its run complained of, if anything."""
    return "stderr" if life.status == "ERROR" and runs and runs[-1].stderr.bytes else "stdout"


async def _run(
    visit: Visit, row: ContextRow, runs: list[run_files.RunLogs], place: LogPlace | None
) -> RunDirectory:
    """The run of the address, or that of a moment, or the last one."""
    epoch = visit.number("run")
    if epoch is None and place is not None and place.epoch in {each.run for each in runs}:
        epoch = place.epoch
    return await run_files.run_of(visit.app, row.context_id, epoch)


async def log(visit: Visit) -> Response:
    """The log itself, to be kept as a file."""
    row = await visit.context()
    response = await served.log(visit.request, visit.app, row.context_id)
    name = visit.query.get("stream", "stdout")
    response.headers["Content-Disposition"] = f'attachment; filename="{row.context_id}.{name}.log"'
    return response


async def artifact_list(visit: Visit, row: ContextRow) -> dict[str, Any]:
    """The values of the tab of a context's artifacts."""
    try:
        found = await served.artifacts(visit.app, row.context_id)
    except DamaError as error:
        return {"artifacts": [], "problem": error}
    for each in found:
        odd = each.get("path_hex")
        each["address"] = quote(each["path"] if odd is None else bytes.fromhex(odd))
    return {"artifacts": found, "problem": None}


async def artifact(visit: Visit) -> Response:
    """One of the files that a program left, to be kept: it is never shown as a page of ours."""
    row = await visit.context()
    response = await served.artifact(visit.app, row.context_id, visit.parts["path"])
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


async def _messages(visit: Visit, row: ContextRow, version: int) -> list[str]:
    """What a task in Python had logged, of its latest events up to a version."""
    after = max(version - MESSAGES, 0)
    page = await contexts.events(visit.app, row.context_id, after_version=after, limit=MESSAGES)
    wanted = f"{row.task}:LOG"
    events = [event for event in page.events if event.version <= version]
    return [_message(event.payload) for event in events if event.type == wanted]


def _message(payload: object) -> str:
    message = payload.get("message") if is_object(payload) else payload
    return message if isinstance(message, str) else short_json(message)


def _window(
    path: Path, begin: int | None, until: int | None, length: int, secrets: Secrets
) -> LogWindow:
    """A part from a place, from the begin of its line; without one, the last part.

    Args:
        path: Of the log.
        begin: The place.
        until: The log ends with the line that begins here; None for all of it.
        length: Of the part, in bytes.
        secrets: What is read as stars.
    """
    size = path.stat().st_size if path.exists() else 0
    if not size:
        return LogWindow([], 0, 0, 0, 0)
    first = first_byte(path)
    is_end = begin is None
    limit = size if until is None else _line_end(path, until, size)
    start = max(limit - length if begin is None else min(begin, limit), min(first, limit))
    end = min(start + length, limit)
    data = b"".join(read_range(path, start, end, secrets))
    if is_end and start > first:  # the line that it begins in is not whole
        start += data.find(b"\n") + 1
        data = data[data.find(b"\n") + 1 :]
    elif end < limit and b"\n" in data:
        end = start + data.rfind(b"\n") + 1
        data = data[: data.rfind(b"\n") + 1]
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return LogWindow([parts(collapsed(line)) for line in lines], start, end, first, size)


def _line_end(path: Path, at: int, size: int) -> int:
    """The place behind the line that begins somewhere, within 64 KiB."""
    if at == NOTHING:
        return 0
    data = b"".join(read_range(path, at, min(at + WINDOW, size)))
    line = data.find(b"\n")
    return min(at + (line + 1 if line >= 0 else len(data)), size)


def _search(path: Path, sought: str, begin: int, secrets: Secrets) -> Found:
    """Look for a text from a place on, through 64 MiB at most."""
    needle = sought.encode().lower()
    size = path.stat().st_size if path.exists() else 0
    at, rest = begin, b""
    last = min(begin + SEARCHED, size)
    for data in read_range(path, begin, last, secrets) if size else ():
        block = (rest + data).lower()
        place = block.find(needle)
        start = at - len(rest)
        if place >= 0:
            line = block.rfind(b"\n", 0, place) + 1
            return Found(start + line, start + place)
        at += len(data)
        rest = block[-max(len(needle) - 1, 0) :] if len(needle) > 1 else b""
    return Found(None, last)
