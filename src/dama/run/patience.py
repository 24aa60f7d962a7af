"""Patience: an outage of the database, of any length, is waited for.

A run that is under way has nothing better to do: what it did so far would be done again otherwise.
Whoever waits is cancelled when the run is no longer its worker's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from dama import clock
from dama.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

V = TypeVar("V")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

_log = logging.getLogger("dama.worker")


async def until_answered(ask: Callable[[], Awaitable[V]], what: str) -> V:
    """Ask the database until it answers.

    Args:
        ask: What may be asked any number of times.
        what: For the log: what waits.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask()
        except UnavailableError as error:
            _log.warning("%s waits: %s", what, error)
        await clock.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
