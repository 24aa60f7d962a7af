"""Fixtures of all tests: a real PostgreSQL, and a fresh database from a template for each test."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from dama.store import Store, schema
from dama.store.embedded import EmbeddedPostgres

TEMPLATE = "dama_template"
FEWEST_PROCESSES = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One process for each core, and two on a machine of one: much of a test's time is waiting."""
    if config.option.usepdb:
        return None  # the debugger needs the terminal: xdist says how many
    return max(FEWEST_PROCESSES, os.cpu_count() or 1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server for each process of the tests, without fsync: nothing in it is worth a disk."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"), fsync=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres) -> str:
    """The name of a database with the schema and no rows."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(TEMPLATE)))
    asyncio.run(schema.migrate(url_of(server, TEMPLATE)))
    return TEMPLATE


_numbers = count(1)


@pytest.fixture
def empty_database_url(server: EmbeddedPostgres) -> Iterator[str]:
    """A database of the test's own without the schema."""
    yield from _database(server, "template1")


@pytest.fixture
def database_url(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database of the test's own with the schema and no rows."""
    yield from _database(server, template)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The store of the test's own database."""
    async with Store.opened(database_url) as store:
        yield store


@pytest.fixture(autouse=True)
def no_database_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test never meets the database or the home of whoever runs it."""
    for name in [*os.environ]:
        if name.startswith(("PG", "DAMA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAMA_HOME", str(tmp_path / "home"))


def _database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
        )
        yield url_of(server, name)
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def url_of(server: EmbeddedPostgres, database: str) -> str:
    """The URL of another database of the same server."""
    return server.url.replace("/dama?", f"/{database}?")
