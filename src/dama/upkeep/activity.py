"""Noting: what happens is counted for the charts, by whoever serves pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dama import clock
from dama.errors import DamaError, UnavailableError

if TYPE_CHECKING:
    from dama.store import Store

NOTE_SECONDS = 10.0
LATER_SECONDS = 60.0

_log = logging.getLogger("dama.activity")


async def note_always(store: Store) -> None:
    """Note what is new, every ten seconds; of several who do so, one does at a time.

    A database that does not take it, such as a copy that is only read, is asked again later:
    nothing but charts is missing.
    """
    while True:
        try:
            await store.log.position()  # what was committed gets its place in the log
            is_behind = await store.activity.note()
        except UnavailableError:
            raise
        except DamaError as error:
            _log.warning("nothing is noted for the charts: %s", error)
            await clock.sleep(LATER_SECONDS)
        else:
            if not is_behind:
                await clock.sleep(NOTE_SECONDS)
