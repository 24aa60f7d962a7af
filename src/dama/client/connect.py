"""Connecting: `async with dama.connect() as client`, or `with` from code without a loop."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dama.app import App
from dama.client.client import Client
from dama.client.loop import LoopThread
from dama.client.sync import SyncClient
from dama.config.config import load_config
from dama.definitions.connected import connecting
from dama.definitions.registry import Registry
from dama.operations.ends import Ends

if TYPE_CHECKING:
    from types import TracebackType


class Connection:
    """A database that a client is to be connected to; see `connect`."""

    def __init__(self, database_url: str | None, project: Path | None) -> None:
        self._database_url = database_url
        self._project = project
        self._stack = AsyncExitStack()
        self._sync: SyncClient | None = None

    async def __aenter__(self) -> Client:
        config = load_config(cwd=self._project, database_url=self._database_url)
        async with AsyncExitStack() as stack:
            app = await stack.enter_async_context(App.open(config, Registry()))
            ends = Ends(app)
            stack.push_async_callback(ends.close)
            client = Client(app, ends, config)
            stack.enter_context(connecting(client.start))
            self._stack = stack.pop_all()
        return client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def __enter__(self) -> SyncClient:
        self._sync = self.open()
        return self._sync

    def __exit__(self, *_: object) -> None:
        if self._sync is not None:
            self._sync.close()

    def open(self) -> SyncClient:
        """A client without `with`, for a program that keeps it: `close()` it, or let it end."""
        thread = LoopThread()
        try:
            client = thread.answer(self.__aenter__())
        except BaseException:
            thread.close()
            raise
        return SyncClient(client, thread, lambda: self.__aexit__(None, None, None))


def connect(database_url: str | None = None, *, project: Path | str | None = None) -> Connection:
    """Connect to the database that `dama` uses in this folder, or to another.

    Both `async with dama.connect() as client` and `with dama.connect() as client` connect; the
    second works where a loop runs, too, as in a notebook. Connecting opens a few connections that
    all calls share: do it once in a program.

    Args:
        database_url: Wins over dama.toml and the environment.
        project: Where the search for dama.toml begins, instead of the current folder.

    Raises:
        UnavailableError: When connecting: the database cannot be used; the message says why.
    """
    return Connection(database_url, None if project is None else Path(project))
