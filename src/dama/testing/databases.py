"""Databases of tests: a server without fsync for the whole process, and databases from a template.

`DAMA_TEST_DATABASE_URL` names another server, whose role may create databases.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from dama.client.loop import LoopThread
from dama.embedded import EmbeddedPostgres
from dama.store import Store, trial

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

VARIABLE = "DAMA_TEST_DATABASE_URL"

_numbers = count(1)
_stacks: dict[str, AsyncExitStack] = {}
_stores: dict[str, Store] = {}


@cache
def thread() -> LoopThread:
    """The loop of all that is asked of these databases; tests may have one of their own."""
    return LoopThread()


@cache
def home() -> Path:
    """A folder for the files of runs, which goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="dama-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def server_url() -> str:
    """The server of this process's tests: it is started with the first of them."""
    if url := os.environ.get(VARIABLE):
        return url
    server = EmbeddedPostgres(home() / "server", fsync=False)
    url = server.start()
    atexit.register(server.stop)
    return url


@cache
def _template() -> str:
    name = f"dama_test_template_{os.getpid()}"
    url = server_url()
    thread().answer(trial.make_template(url, name))
    if VARIABLE in os.environ:
        atexit.register(lambda: thread().answer(trial.drop_trial(url, name)))
    return name


def make() -> str:
    """A new database with the schema and no rows; returns how to connect to it."""
    name = f"dama_test_{os.getpid()}_{next(_numbers)}"
    url = thread().answer(trial.make_trial(server_url(), name, _template()))
    _stacks[url] = AsyncExitStack()
    return url


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Store]:
    """The store of a database; one that was made here is opened once for all its runs."""
    if url not in _stacks:
        async with Store.opened(url) as store:
            yield store
        return
    if url not in _stores:
        _stores[url] = await _stacks[url].enter_async_context(Store.opened(url))
    yield _stores[url]


async def _close(url: str) -> None:
    _stores.pop(url, None)
    if stack := _stacks.pop(url, None):
        await stack.aclose()


def close(url: str) -> None:
    """Close the connections to what `make` made."""
    thread().answer(_close(url))


def drop(url: str) -> None:
    """Remove what `make` made."""
    close(url)
    thread().answer(trial.drop_trial(server_url(), trial.name_of(url)))


@cache
def shared() -> str:
    """The database of all tests that have none of their own."""
    url = make()
    atexit.register(drop if VARIABLE in os.environ else close, url)
    return url
