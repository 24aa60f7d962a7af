"""The lease keeper: a thread of its own that says that the worker lives.

The event loop may be blocked for seconds by the code of a task that forgot to await; that is no
reason to take its runs away. So the lease does not depend on the loop: the thread has a connection
of its own, and hands what it learns to the loop, which acts on it when it can. What goes wrong is
handed over as well, to a duty of the worker: the thread itself continues whatever happens.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dama.duty import Duty

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.store.queue_rows import Renewal
    from dama.store.renewal import Renewer

RENEW_SECONDS = 1.0
SOONEST_SECONDS = 0.01


class LeaseKeeper:
    """Renews once a second, which is all that an idle worker asks; sooner when a run is due.

    Args:
        renewer: Asks the database, on a connection of its own.
        learn: Called in the loop with what a renewal tells, and what `begun` said before it.
        begun: How many runs the worker has begun.
        loop: The loop of the worker.
        on_change: Called when it fails, and when it is well again.

    Attributes:
        duty: Fails as the renewals do, so that somebody hears of it.
    """

    def __init__(
        self,
        renewer: Renewer,
        learn: Callable[[Renewal, int], None],
        begun: Callable[[], int],
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[Duty], None] = lambda _: None,
    ) -> None:
        self._renewer = renewer
        self._learn = learn
        self._begun = begun
        self._loop = loop
        self.duty = Duty("renewing the lease", self._fail_with_it, on_change, steady=None)
        self._failure: BaseException | None = None
        self._has_failed = asyncio.Event()
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
        """Renew; return the seconds until the next time."""
        begun = self._begun()
        try:
            renewal = self._renewer.renew()
            self._tell(self._take, (renewal, begun))
            return _pause_after(renewal)
        except BaseException as error:  # noqa: BLE001 - without this thread the worker is presumed dead
            self._tell(self._fail, error)
            return RENEW_SECONDS

    def _tell(self, function: Callable[[Any], None], value: object) -> None:
        if not self._stopped.is_set():
            with suppress(RuntimeError):  # the loop is closed: the process ends
                self._loop.call_soon_threadsafe(function, value)

    def _take(self, told: tuple[Renewal, int]) -> None:
        try:
            self._learn(*told)
        except Exception as error:  # noqa: BLE001 - the duty has it
            self._fail(error)
        else:
            self.duty.well()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._has_failed.set()

    async def _fail_with_it(self) -> None:
        await self._has_failed.wait()
        self._has_failed.clear()
        if self._failure is not None:
            raise self._failure


def _pause_after(renewal: Renewal) -> float:
    pause = RENEW_SECONDS
    if renewal.next_due is not None:
        pause = min(pause, max(renewal.next_due, SOONEST_SECONDS))
    if renewal.next_firing is not None and renewal.next_firing > 0:
        pause = min(pause, renewal.next_firing)
    return pause
