"""Membership: the worker as the database knows it."""

from __future__ import annotations

import asyncio
import getpass
import logging
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.duty import troubles
from dama.programs.place import identity_of_this_process, keep_mark
from dama.programs.process import process_start
from dama.store.errors import StatementEndedError
from dama.store.queue import marks_of
from dama.worker.commit import commit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.programs.programs import Programs
    from dama.store import Claim
    from dama.store.queue import Place, RunQueue
    from dama.worker.offer import Offer

LEASE = timedelta(seconds=3.5)
JOIN_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
MOST_TROUBLE = 1000

_log = logging.getLogger("dama.worker")


class Membership:
    """A worker among those of its database.

    Args:
        queue: Of the database.
        offer: What it offers.
        home: The folder of dama's files.

    Attributes:
        id: The worker's id; 0 before it is registered.
        place: Host, machine, user and DAMA_HOME.
        mark: By which what it starts knows that.
        name: `host:pid`.
    """

    def __init__(self, queue: RunQueue, offer: Offer, home: Path) -> None:
        self.id = 0
        self._queue = queue
        self._offer = offer
        self._lease = LEASE if offer.placed is None else offer.placed.lease
        self.mark = keep_mark(home)
        self._identity = identity_of_this_process(home, self.mark)
        self.place = self._identity.place
        self.name = f"{self._identity.host}:{self._identity.pid}"
        self._user = getpass.getuser()
        self._commit = commit_of(Path())
        self._again: asyncio.Task[None] | None = None

    async def register(self, programs: Programs) -> None:
        """Make the worker known, with the programs of its place; the dead ones are buried."""
        await programs.find_directories()
        if there := [(run.context_id, run.epoch) for run in programs.directories.open()]:
            await self._queue.take_place(there, self._identity)
        await self._bury_the_dead()
        offer = self._offer
        self.id = await self._queue.register(
            self._identity,
            queues=offer.queues,
            root=offer.root,
            slots=offer.slots,
            labels=offer.announced,
            tasks=offer.tasks,
            lease=self._lease,
        )

    async def join(self, programs: Programs) -> None:
        """Register for the first time; a statement that somebody cancels is tried again.

        Raises:
            UnavailableError: The database cannot be used.
        """
        for pause in JOIN_PAUSES:
            with suppress(StatementEndedError):
                await self.register(programs)
                return
            await clock.sleep(pause)
        await self.register(programs)

    def register_again(self, programs: Programs) -> bool:
        """Register again in the background; False when that is under way already."""
        if self._again is not None and not self._again.done():
            return False
        self._again = asyncio.create_task(self._try_again(programs))
        return True

    async def leave(self) -> None:
        """What the worker still holds is queued again."""
        try:
            await self._queue.release([self.id], died=False)
        except Exception as error:  # noqa: BLE001 - the database may be what stopped us
            _log.warning("what is not done is queued again when the lease runs out: %s", error)

    async def note(self) -> None:
        """Tell those who look from outside what fails in this process at the moment."""
        trouble = "; ".join(troubles())
        with suppress(Exception):  # the database may be the trouble; the log has it
            await self._queue.set_trouble(self.id, trouble[:MOST_TROUBLE] or None)

    def lease_params(self, held: Sequence[int], after: Mapping[str, Place]) -> dict[str, Any]:
        """What a renewal says of the worker, of what it holds, and of where it looks for work."""
        offer = self._offer
        return {
            "worker_id": self.id,
            "held": held,
            "queues": list(offer.queues),
            "tasks": list(offer.time_left.fitting(offer.tasks)),
            "offered": offer.labels,
            "scheduled": offer.tasks if offer.root is None else [],
            "lease": self._lease,
            **marks_of(offer.queues, after),
        }

    def start_meta(self, claim: Claim) -> dict[str, Any]:
        """The meta of the beginning of a run."""
        meta = {"attempt": claim.attempt, "user": self._user, "version": self._identity.version}
        code = {"release": self._offer.release, "commit": self._commit}
        return meta | {name: value for name, value in code.items() if value is not None}

    async def _try_again(self, programs: Programs) -> None:
        try:
            await self.register(programs)
        except Exception as error:  # noqa: BLE001 - the next renewal asks for it again
            _log.warning("the worker is not registered again yet: %s", error)

    async def _bury_the_dead(self) -> None:
        """Earlier workers of this place whose process is gone: what they held is queued at once.

        Those that cannot be seen from here, in another PID namespace or before another boot, are
        not known to be dead: their lease decides.
        """
        known = await self._queue.neighbours(self._identity)
        dead = [worker_id for worker_id, pid, started in known if process_start(pid) != started]
        if dead:
            await self._queue.release(dead)
