"""The lease keeper: a thread of its own that says that the worker lives.

The event loop may be blocked for seconds by the code of a task that forgot to await; that is no
reason to take its runs away. So the lease does not depend on the loop: the thread has a connection
of its own, and hands what it learns to the loop, which acts on it when it can.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dama.store.queue_rows import Renewal
    from dama.store.renewal import Renewer

RENEW_SECONDS = 1.0
SOONEST_SECONDS = 0.01

_log = logging.getLogger("dama.worker")


class LeaseKeeper:
    """Renews once a second, which is all that an idle worker asks; sooner when a run is due.

    Args:
        renewer: Asks the database, on a connection of its own.
        learn: Called in the loop with what a renewal tells.
        loop: The loop of the worker.
    """

    def __init__(
        self,
        renewer: Renewer,
        learn: Callable[[Renewal], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._renewer = renewer
        self._learn = learn
        self._loop = loop
        self._sooner = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="dama lease", daemon=True)

    def start(self) -> None:
        """Begin; the lease holds from the worker's registration."""
        self._thread.start()

    def look(self) -> None:
        """Renew now: a run may be due sooner than was known."""
        self._sooner.set()

    def stop(self) -> None:
        """Renew no more."""
        self._stopped.set()
        self._sooner.set()
        self._thread.join()

    def _keep(self) -> None:
        pause = RENEW_SECONDS
        while True:
            self._sooner.wait(pause)
            self._sooner.clear()
            if self._stopped.is_set():
                self._renewer.close()
                return
            pause = self._renew()

    def _renew(self) -> float:
        """Renew; give the seconds until the next time."""
        try:
            renewal = self._renewer.renew()
        except Exception as error:  # noqa: BLE001 - without this thread the worker is taken for dead
            _log.warning("the lease is not renewed: %s", error)
            return RENEW_SECONDS
        if not self._stopped.is_set():
            self._loop.call_soon_threadsafe(self._learn, renewal)
        pause = RENEW_SECONDS
        if renewal.next_due is not None:
            pause = min(pause, max(renewal.next_due, SOONEST_SECONDS))
        if renewal.next_firing is not None and renewal.next_firing > 0:
            pause = min(pause, renewal.next_firing)
        return pause
