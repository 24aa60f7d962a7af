"""Files of runs: what a program printed, by byte ranges; what it left; what it is sent."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from starlette.responses import FileResponse, Response

from dama.config.private_file import make_private, private
from dama.config.table import shown
from dama.gateway.errors import RequestError
from dama.gateway.streamed import Streamed
from dama.operations import run_files
from dama.programs.environment import secrets_left
from dama.programs.leavings import described, readable
from dama.programs.tail import first_byte, read_range
from dama.run.errors import NoLogsError
from dama.store.errors import LifeCycleError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from dama.app import App
    from dama.domain.secrets import Secrets

_ODD = "\u2028\u2029\ufffd"
STREAMS = ("stdout", "stderr")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_EPOCH = re.compile(r"[0-9]{1,9}")
_BYTES_OF_A_NAME = 200
# What a shell, a terminal or a person would take for something else: options, hidden files, paths.
_NAME = re.compile(r"[^-./\\~\s][^/\\]*")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


async def log(request: Request, app: App, context_id: int) -> Response:
    """What a program printed; a range of bytes when the request asks for one.

    Raises:
        NoLogsError: It ran no program, or not on this host, or its log cannot be read now.
        UnknownRunError: It has no such run here.
        RequestError: The stream or the run is none.
    """
    run = await run_files.run_of(app, context_id, _epoch(request.query_params.get("run")))
    name = request.query_params.get("stream", "stdout")
    if name not in STREAMS:
        raise RequestError(
            "BAD_REQUEST", f"There is no stream {shown(name)}.", "It may be stdout or stderr."
        )
    path = run.stdout if name == "stdout" else run.stderr
    try:
        size = path.stat().st_size if path.exists() else 0
        first, secrets = first_byte(path) if size else 0, secrets_left(run)
    except OSError as error:  # it was cleaned meanwhile, or the disk is away
        raise NoLogsError(f"The log cannot be read now: {error.strerror}.") from error
    headers = {
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "X-First-Byte": str(first),
    }
    wanted = _range(request.headers.get("range"), size)
    begin, end = wanted or (0, size)
    status = 200
    if wanted:
        if begin >= size:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        status, headers["Content-Range"] = 206, f"bytes {begin}-{end - 1}/{size}"
    parts = _parts(path, begin, end, secrets)
    return Streamed(parts, status, headers, media_type="text/plain; charset=utf-8")


async def artifacts(app: App, context_id: int) -> list[dict[str, Any]]:
    """The files that a program left, of its last run that left any."""
    for run in reversed(await run_files.runs_of(app, context_id)):
        if found := await asyncio.to_thread(_listed, run.artifacts):
            return [{"run": run.epoch, **each} for each in found]
    return []


def name_asked(request: Request) -> str:
    """The name of an artifact as a request has it, whose bytes need not be UTF-8."""
    name: str = request.path_params["path"]
    if "\ufffd" not in name:
        return name
    raw = unquote_to_bytes(request.scope["raw_path"])
    before = raw.decode(errors="replace")[: -len(name)]
    return os.fsdecode(raw[len(before.encode()) :])


async def artifact(app: App, context_id: int, name: str) -> FileResponse:
    """One of the files that a program left.

    Args:
        app: Where to look.
        context_id: Its context.
        name: Of the file, as the file system has it.

    Raises:
        RequestError: There is none of this name, or it is not among what the program left.
    """
    for run in reversed(await run_files.runs_of(app, context_id)):
        folder = run.artifacts.resolve()
        try:
            # After links were followed: one may lead out of the folder.
            path = (folder / name).resolve()
            is_there = path.is_relative_to(folder) and path.is_file()
        except (OSError, ValueError):  # too long, or a zero byte
            continue
        if is_there:
            headers = {"X-Content-Type-Options": "nosniff"}
            name = readable(path.name)
            return FileResponse(
                path, filename=name, media_type="application/octet-stream", headers=headers
            )
    raise RequestError(
        "NOT_FOUND",
        f"Context {context_id} has no artifact {shown(name)}.",
        f"GET /api/contexts/{context_id}/artifacts lists them.",
    )


async def upload(
    request: Request, app: App, context_id: int, name: str, limit: int
) -> dict[str, Any]:
    """Write the body into a file of the working folder of the context's tree.

    Raises:
        RequestError: The name is none, the disk is full, or the body is longer than the limit;
            nothing is kept of it.
        LifeCycleError: The context, or its tree, has ended: nobody would read the file.
        UnknownContextError: There is no such context.
    """
    folder = await run_files.work_dir_of(app, context_id)
    if not _is_name(name) or (folder / name).is_dir():
        raise RequestError(
            "BAD_REQUEST",
            f"{shown(name)} cannot be the name of a file here.",
            "Begin it with a letter, a digit or an underscore; no control characters, no slashes, "
            f"no blanks at its ends, and at most {_BYTES_OF_A_NAME} bytes.",
        )
    await _refuse_ended(app, context_id)
    make_private(folder)
    part = folder / f".{uuid4().hex}.part"
    try:
        size = await _write(request, part, limit)
        await _refuse_ended(app, context_id)
        part.replace(folder / name)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise RequestError("DISK_FULL", "The disk is full.", "`dama clean` makes room.") from error
    finally:
        part.unlink(missing_ok=True)
    return {"name": name, "bytes": size}


async def _write(request: Request, path: Path, limit: int) -> int:
    """Write the body into a new file; returns its bytes."""
    size = 0
    with open(path, "xb", opener=private) as file:  # noqa: ASYNC230 - local, and empty
        async for data in limited(request, limit):
            size += len(data)
            await asyncio.to_thread(file.write, data)
    return size


async def limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body of a request, piece by piece.

    Raises:
        RequestError: It is longer than the limit.
    """
    size = 0
    async for data in request.stream():
        size += len(data)
        if size > limit:
            raise RequestError(
                "PAYLOAD_TOO_LARGE",
                f"The file has more than {limit:,} bytes.",
                "Send less, or raise upload_limit of [gateway].",
                data={"limit": limit},
            )
        yield data


def _is_name(name: str) -> bool:
    """Whether a file may be called so; U+FFFD stands for bytes that are not UTF-8."""
    is_plain = all(unicodedata.category(c)[0] != "C" and c not in _ODD for c in name)
    is_short = len(name.encode(errors="replace")) <= _BYTES_OF_A_NAME
    ends = name[-1:].isspace() or name.endswith(".")
    return (
        bool(_NAME.fullmatch(name))
        and is_plain
        and is_short
        and not ends
        and (_DEVICE.fullmatch(name) is None)
    )


async def _refuse_ended(app: App, context_id: int) -> None:
    context = await app.store.context(context_id)
    for each in (context, await app.store.context(context.root_context_id)):
        if each.status not in (None, "OPEN"):
            raise LifeCycleError(
                f"Context {each.context_id} is {each.status}: it takes no files any more.",
                f"`dama resume {each.context_id}` reopens one that failed or was cancelled.",
            )


def _epoch(text: str | None) -> int | None:
    """The number of a run; None for the last.

    Raises:
        RequestError: It is not a number.
    """
    if text is not None and not _EPOCH.fullmatch(text):
        raise RequestError("BAD_REQUEST", f"{shown(text)} is not the number of a run.")
    return None if text is None else int(text)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last; None for all."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found.groups() == ("", ""):
        return None  # HTTP: what is not understood is as if it were not there
    first, last = found.groups()
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


async def _parts(path: Path, begin: int, end: int, secrets: Secrets) -> AsyncIterator[bytes]:
    if begin >= end:
        return
    parts = read_range(path, begin, end, secrets)
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part


def _listed(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with suppress(OSError):  # a program removes files while they are listed
                if stat.S_ISREG((seen := path.lstat()).st_mode):
                    found.append(described(path.relative_to(folder).as_posix(), seen.st_size))
    return sorted(found, key=lambda each: each["path"])
