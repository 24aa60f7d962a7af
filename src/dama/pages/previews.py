"""Previews: what is in an artifact, as text or as an image: nothing of a file runs here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from starlette.responses import FileResponse

from dama.gateway import files as served
from dama.gateway.errors import RequestError
from dama.pages.beginnings import image_type, read
from dama.programs.leavings import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from dama.pages.visit import Visit


Value = TypeVar("Value")


async def show(visit: Visit) -> Response:
    """The begin of one of the files that a program left."""
    row = await visit.context()
    path = await _path(visit, row.context_id)
    preview = await _of_file(read, path)
    name = visit.parts["path"]
    address = quote(name, errors="surrogateescape")
    return visit.page("preview.html", row=row, name=readable(name), file=address, preview=preview)


async def image(visit: Visit) -> Response:
    """One of them, if it is an image: as one, and nothing else.

    Raises:
        RequestError: It is none.
    """
    row = await visit.context()
    path = await _path(visit, row.context_id)
    type_ = await _of_file(image_type, path)
    if type_ is None:
        raise RequestError("NOT_FOUND", f"{path.name} is not an image that can be shown.")
    headers = {
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    return FileResponse(path, media_type=type_, headers=headers)


async def _path(visit: Visit, context_id: int) -> Path:
    return Path((await served.artifact(visit.app, context_id, visit.parts["path"])).path)


async def _of_file(read_it: Callable[[Path], Value], path: Path) -> Value:
    """What a file holds; a program, or a clean-up, may remove it before it is opened.

    Raises:
        RequestError: It cannot be read now.
    """
    try:
        return await asyncio.to_thread(read_it, path)
    except OSError as error:
        raise RequestError(
            "NOT_FOUND", f"The file cannot be read now: {error.strerror}."
        ) from error
