"""The link of a client to its database, which its handles share: it serves the loop it is of."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from dama.client.loop import ClosedClientError, ForkedClientError
from dama.contained import running_loop
from dama.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

    from dama.app import App
    from dama.config.config import Config
    from dama.operations.ends import Ends


class OtherLoopError(UsageError):
    """A client is used in another loop than it was connected in."""

    code = "OTHER_LOOP"


class Link:
    """What a connected client works with; used where it cannot work, it says so at once.

    Args:
        app: The database and the services.
        ends: Waits for the ends of runs.
        config: Of the project.
    """

    def __init__(self, app: App, ends: Ends, config: Config) -> None:
        self._app = app
        self._ends = ends
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._stack = AsyncExitStack()
        self.config = config

    def keep(self, stack: AsyncExitStack) -> None:
        """Keep what was opened for it, until its end."""
        self._stack = stack

    @property
    def app(self) -> App:
        """The database and the services; raises what `check` does."""
        self.check()
        return self._app

    @property
    def ends(self) -> Ends:
        """What waits for the ends of runs; raises what `check` does."""
        self.check()
        return self._ends

    def check(self) -> None:
        """Hold that it can be used here.

        Raises:
            ClosedClientError: It was closed.
            ForkedClientError: This process was forked after it had been connected.
            OtherLoopError: Another loop runs here, or none.
        """
        if self._is_closed:
            raise ClosedClientError
        if os.getpid() != self._pid:
            raise ForkedClientError
        if running_loop() is not self._loop:
            raise OtherLoopError(
                "This client was connected in another event loop, which its connections belong to.",
                "Connect once in each loop; or take `dama.connect().open()`, which all threads and "
                "loops of a process may share.",
            )

    async def end(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Refuse every use from now on, and close what was opened, as the end of a block does."""
        if not self._is_closed:
            self.check()
            self._is_closed = True
            await self._stack.__aexit__(kind, error, trace)
