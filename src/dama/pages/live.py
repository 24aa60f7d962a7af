"""Live: tells an open page that something changed, so that it asks for its parts again.

At most twice a second, and nothing of what changed: the page reads that as it did before.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from dama.errors import DamaError
from dama.gateway.streamed import Streamed
from dama.gateway.streams import HEADERS, RETRY_MILLISECONDS
from dama.operations import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from dama.pages.visit import Visit

REST_SECONDS = 0.5
GLANCE_SECONDS = 0.2  # between two looks at what others do
BEAT_SECONDS = 5.0  # also the longest that a stream outlives its session


async def follow(visit: Visit) -> Response:
    """A stream of positions of the log: of a tree, or of all that is listed."""
    context_id = visit.number("context")
    root = None
    if context_id is None:
        visit.demand("viewer", visit.identity.services[0] if visit.identity.services else "")
    else:
        parts = {"context_id": str(context_id)}
        root = (await visit.at(parts).context()).root_context_id
    after = await log.position(visit.app)
    return Streamed(_beats(visit, root, after), headers=HEADERS, media_type="text/event-stream")


async def _beats(visit: Visit, root: int | None, after: int) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    looked = monotonic()
    try:
        while True:
            # Never past the next look, however much or little happens: a session that has ended
            # holds no stream for longer.
            left = looked + BEAT_SECONDS - monotonic()
            if left <= 0:
                if not await visit.is_known():
                    yield b"event: gone\ndata: login\n\n"
                    return
                looked = monotonic()
                yield b":\n\n"
                continue
            try:
                async with asyncio.timeout(left):
                    after, is_new = await log.look(visit.app, after, root)
            except TimeoutError:
                continue
            if is_new:
                yield b"id: %d\nevent: changed\ndata: %d\n\n" % (after, after)
            await asyncio.sleep(REST_SECONDS if is_new else GLANCE_SECONDS)
    except DamaError:
        return  # the database is away: the page says so, and comes again
