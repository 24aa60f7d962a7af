"""Streams: events as they come, as server-sent events that continue from `Last-Event-ID`.

The id of an event is its position in the log, the same in every copy of the gateway: a client that
is cut off continues at any of them, without a gap and without a double.
"""

from __future__ import annotations

import asyncio
import re
from time import monotonic
from typing import TYPE_CHECKING

from dama.beside import beside
from dama.config.table import shown
from dama.domain.exact import compact
from dama.errors import DamaError
from dama.gateway.errors import RequestError
from dama.gateway.params import headers_of
from dama.gateway.streamed import Streamed
from dama.store.rows import LogFilter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.requests import Request

    from dama.app import App
    from dama.domain.event import LoggedEvent
    from dama.gateway.access import Access

BEAT_SECONDS = 5.0  # also the longest that a stream outlives its token
_PLACE = re.compile(r"[0-9]{1,18}")
RETRY_MILLISECONDS = 1000
LATEST = "latest"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def stream(
    request: Request, app: App, access: Access, *, context: int | None, tree: bool
) -> Streamed:
    """Follow the events of a context, of its tree, or of all contexts.

    Raises:
        UnknownContextError: There is no such context.
        RequestError: The place to continue from is none.
    """
    chosen, first = await _filter(app, context, tree=tree)
    after = await _place(request, app, first)
    source = app.store.log.subscribe(after, chosen)
    return Streamed(
        _lines(request, access, source), headers=HEADERS, media_type="text/event-stream"
    )


async def _filter(app: App, context: int | None, *, tree: bool) -> tuple[LogFilter, int]:
    """Which events, and the position that all of them are behind."""
    if context is None:
        return LogFilter(), 0
    found = await app.store.context(context)
    if not tree:
        return LogFilter(context=context), 0
    # The log is looked through from the first event of the tree on: all others are behind it.
    events = await app.store.events(found.root_context_id, limit=1)
    position = await app.store.log.position_of(events[0].event_id) if events else None
    return LogFilter(root=found.root_context_id), (position or 1) - 1


async def _place(request: Request, app: App, first: int) -> int:
    told = request.headers.get("last-event-id") or request.query_params.get("after")
    if told is None:
        return first
    if told == LATEST:
        return await app.store.log.position()
    if not _PLACE.fullmatch(told):
        raise RequestError(
            "BAD_REQUEST",
            f"The stream cannot continue from {shown(told)}.",
            f"Send the id of the last event that came, 0 for all, or {LATEST!r} for new ones only.",
        )
    return max(int(told), first)


def _line(event: LoggedEvent) -> bytes:
    data = compact(event)
    return b"id: %d\ndata: %b\n\n" % (event.position, data)


async def _lines(
    request: Request, access: Access, source: AsyncGenerator[LoggedEvent]
) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    following: asyncio.Task[LoggedEvent] | None = None
    looked = monotonic()
    try:
        while True:
            left = looked + BEAT_SECONDS - monotonic()
            if left <= 0:
                await access.identify(headers_of(request))
                looked, left = monotonic(), BEAT_SECONDS
            following = following or asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait([following], timeout=left)
            if done:
                event = following.result()
                following = None
                yield await beside(event, _line, event)
            else:
                yield b":\n\n"  # so that proxies and the client see that it lives
    except DamaError:
        return  # the token is good no more, or the database is away: the client comes again
    finally:
        if following:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await source.aclose()
