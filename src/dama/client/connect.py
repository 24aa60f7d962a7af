"""Connecting: `async with dama.connect() as client`, or `with` from code without a loop.

A client that is kept: `await dama.connect()`, or `dama.connect().open()` without a loop.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.app import App
from dama.client.client import Client
from dama.client.link import Link
from dama.client.loop import LoopThread
from dama.client.sync import SyncClient
from dama.config.config import load_config
from dama.definitions.connected import connecting
from dama.definitions.registry import Registry
from dama.errors import UsageError
from dama.operations.ends import Ends
from dama.shapes import is_name

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType


class Connection:
    """A database that a client is to be connected to; see `connect`."""

    def __init__(self, database_url: str | None, project: Path | None) -> None:
        self._database_url = database_url
        self._project = project
        self._link: Link | None = None
        self._sync: SyncClient | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._client().__await__()

    async def __aenter__(self) -> Client:
        client = await self._client()
        self._link = client.link
        return client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._link is not None:
            await self._link.end(kind, error, trace)

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
            client = thread.answer(self._client())
        except BaseException:
            thread.close()
            raise
        return SyncClient(client, thread, client.close)

    async def _client(self) -> Client:
        config = load_config(cwd=self._project, database_url=self._database_url)
        async with AsyncExitStack() as stack:
            app = await stack.enter_async_context(App.open(config, Registry()))
            ends = Ends(app)
            stack.push_async_callback(ends.close)
            client = Client(Link(app, ends, config))
            stack.enter_context(connecting(client.start))
            client.link.keep(stack.pop_all())
        return client


def connect(database_url: str | None = None, *, project: Path | str | None = None) -> Connection:
    """Connect to the database that `dama` uses in this folder, or to another.

    Both `async with dama.connect() as client` and `with dama.connect() as client` connect; the
    second works where a loop runs, too, as in a notebook. `client = await dama.connect()` and
    `client = dama.connect().open()` are for a client that is kept, until `close()`. Connecting
    opens a few connections that all calls share: do it once in a program.

    Args:
        database_url: Wins over dama.toml and the environment.
        project: Where the search for dama.toml begins, instead of the current folder.

    Raises:
        UsageError: The database is not a connection string, or the project not a folder.
        UnavailableError: When connecting: the database cannot be used; the message says why.
    """
    if database_url is not None and not is_name(database_url):
        raise UsageError(
            f"database_url is {type(database_url).__name__}: expected a connection string.",
            'Write dama.connect("postgresql://USER@HOST/DATABASE"), or nothing for the database '
            "that dama.toml names.",
        )
    folder = None if project is None else Path(project)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"project is {str(project)!r}, which is not a folder.")
    return Connection(database_url, folder)
