"""The clock: how long things take and how the program waits. Tests replace it."""

from __future__ import annotations

import asyncio
import time


def monotonic() -> float:
    """Seconds that never jump, from some moment on."""
    return time.monotonic()


async def sleep(seconds: float) -> None:
    """Wait in the event loop."""
    await asyncio.sleep(seconds)
