"""Compression: answers that are whole are sent with gzip to who takes it.

A large one is compressed beside the loop. What is streamed is sent as it is: events are small, and
a range of a log is one of its bytes.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from dama.beside import beside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

WORTH_IT = 1000
LEVEL = 5


async def compress(response: Response, headers: Mapping[str, str]) -> None:
    """Compress the body of a response, if that is worth it and the client takes it.

    Args:
        response: Which may be one that is streamed.
        headers: Of the request.
    """
    body = bytes(getattr(response, "body", b""))
    if len(body) < WORTH_IT or "content-encoding" in response.headers:
        return
    response.headers.add_vary_header("Accept-Encoding")
    if "gzip" not in headers.get("accept-encoding", ""):
        return
    packed = await beside(body, gzip.compress, body, LEVEL)
    response.body = packed
    response.headers["content-length"] = str(len(packed))
    response.headers["content-encoding"] = "gzip"
