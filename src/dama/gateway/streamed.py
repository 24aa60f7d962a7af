"""Streamed responses: what makes one is cancelled once when its client leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse
from typing_extensions import override

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class Streamed(StreamingResponse):
    """A response that is sent piece by piece.

    That of Starlette is cancelled again in each turn of the loop until it has ended: a query that
    is under way cannot be cancelled in the database then, and its connection is lost.
    """

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self.stream_response(send))
        leaving = asyncio.ensure_future(self.listen_for_disconnect(receive))
        both = {sending, leaving}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.wait(both)
        for each in both:
            if not each.cancelled():
                each.result()
