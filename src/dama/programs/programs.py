"""The programs of one worker: what all of them share, and the end of those that nobody wants.

Which program a run has is found in `finding.py`, one of them is followed in `program.py`.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from dama.programs.adoption import stop_bound_elsewhere
from dama.programs.fork_server import ForkServer
from dama.programs.place import keep_mark
from dama.programs.run_directory import RunDirectories
from dama.run.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.store import Store

LOOK_SECONDS = 10.0


async def directories_of(store: Store, home: Path) -> RunDirectories:
    """Where the programs of a database are on this host."""
    return RunDirectories(home / "runs" / await store.database.identity())


async def end_programs_of(store: Store, home: Path, ended: Collection[int]) -> None:
    """End what still runs on this host of contexts that have ended."""
    directories = await directories_of(store, home)
    await stop_bound_elsewhere(store, directories, ended)


class Programs:
    """The programs of one worker.

    Args:
        store: Where their contexts are.
        registry: The tasks that it knows.
        home: The folder of dama's files.
        mark: By which the processes of this place know it.
        host: This place: host, user and DAMA_HOME.
        worker_id: Returns the worker's id, as it is now.
        gateway_url: Where programs reach the gateway; None when they are not told.

    Attributes:
        commands: The right of its user to run undeclared commands.
        fork_server: Starts the tasks that have a process of their own.
        directories: Where the programs are on this host.
        mark: By which the processes of this place know it.
        followed: The contexts whose programs continue without the worker.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        home: Path,
        mark: str,
        host: str,
        worker_id: Callable[[], int],
        gateway_url: str | None = None,
    ) -> None:
        self.commands = Commands(home)
        self.store = store
        self.registry = registry
        self.gateway_url = gateway_url
        self.mark = mark
        self.fork_server = ForkServer(registry, mark)
        self.host = host
        self.worker_id = worker_id
        self._home = home
        self.directories = RunDirectories(home)
        self._children: set[int] = set()
        self.followed: set[int] = set()
        self._look = asyncio.Event()
        self._look.set()

    async def find_directories(self) -> None:
        """Find out which database it is; before anything else."""
        self.directories = await directories_of(self.store, self._home)

    def look(self) -> None:
        """Some context was cancelled or taken over: its program may have to end."""
        self._look.set()

    async def end_always(self) -> None:
        """End the programs of this host that no context wants any more, whenever there may be."""
        while True:
            with suppress(TimeoutError):  # one that nobody held was cancelled, and nobody told
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()
            self._look.clear()
            keep_mark(self._home, self.mark)  # somebody may have removed it
            try:
                await self.end_unwanted()
            except BaseException:
                self._look.set()  # once more, when the duty begins again
                raise

    async def end_unwanted(self) -> None:
        """End the programs of this host that no context wants any more."""
        try:
            await stop_bound_elsewhere(self.store, self.directories)
        finally:
            self.reap()

    def started(self, pid: int) -> None:
        """A shim is a child of this process."""
        self._children.add(pid)

    def reap(self) -> None:
        """Let the kernel forget the shims that have ended."""
        for pid in list(self._children):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._children.discard(pid)
