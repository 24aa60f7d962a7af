"""Looking: at files, on a host that is short of something for now, which is no verdict on a run."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, TypeVar

from dama import clock

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSIENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
AGAIN_SECONDS = 1.0

T = TypeVar("T")


async def seen(look: Callable[[], T]) -> T:
    """What a look finds, in a thread; it waits until the host has what it needs for it.

    Raises:
        OSError: It cannot be seen, and will not be.
    """
    while True:
        try:
            return await asyncio.to_thread(look)
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
        await clock.sleep(AGAIN_SECONDS)
