"""Fixtures of all tests: a real PostgreSQL, and a fresh database from a template for each test.

The server is in memory where there is enough: a database is 500 files, which a file system on a
disk takes three times as long to copy and to remove.

The databases belong to a role that is no superuser and may create neither roles nor databases, as
on a server that others manage: whatever works here works there. The superuser has `server.url`.
"""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.util import cache_from_source
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit, urlunsplit

import hypothesis
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

import dama
from dama.embedded import EmbeddedPostgres
from dama.store import Store, schema
from tests.forked import Forked
from tests.in_memory import folder_of_server

TEMPLATE = "dama_template"
OWNER = "plain_owner"
FEWEST_PROCESSES = 2
COMPILE = Path(__file__).parent.parent / "tools" / "compile.py"


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what the processes inherit that tests start."""
    _take_signals()
    _test_without_a_clock()
    if sys.dont_write_bytecode and not hasattr(config, "workerinput") and not _is_compiled():
        _compile()


def _take_signals() -> None:
    """Take the signals of a terminal, where `nohup` or a shell's `&` has them ignored.

    What is ignored is inherited, and no test could interrupt the processes that it starts. A
    handler is not inherited, and one that does nothing keeps this process as safe as before.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def _test_without_a_clock() -> None:
    """Let a property be judged by what it says, however slow the machine is at the time."""
    too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("dama", deadline=None, suppress_health_check=too_slow)
    hypothesis.settings.load_profile("dama")


def _is_compiled() -> bool:
    """Whether each module of dama was compiled after its last change."""
    sources = list(Path(dama.__file__).parent.rglob("[!_]*.py"))
    compiled = [Path(cache_from_source(str(file))) for file in sources]
    return all(
        there.exists() and there.stat().st_mtime >= file.stat().st_mtime
        for file, there in zip(sources, compiled, strict=True)
    )


def _compile() -> None:
    """Compile dama once, where PYTHONDONTWRITEBYTECODE is set, as in many images.

    Each `dama` would do it for itself: more than half of its start. The variable stays set for
    the rest: a module that a test writes twice within a second would be taken for the first one.
    """
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, COMPILE], env=environ, check=True)


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what lives to the end: thousands of tests, modules.

    It looked at them again and again, for a seventh of the time of a process of the tests.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Three processes for two cores: more than half of a test's time is waiting."""
    if config.option.usepdb:
        return None  # the debugger needs the terminal: xdist says how many
    return max(FEWEST_PROCESSES, (os.cpu_count() or 1) * 3 // 2)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server for each process of the tests, without fsync: nothing in it is worth a disk."""
    with folder_of_server(tmp_path_factory) as folder:
        server = EmbeddedPostgres(folder, fsync=False)
        server.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET max_wal_size = '256MB'")
            connection.execute("SELECT pg_reload_conf()")
        create_role(server, OWNER)
        yield server
        server.stop()


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres) -> str:
    """The name of a database with the schema and no rows."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            SQL("CREATE DATABASE {} OWNER {}").format(Identifier(TEMPLATE), Identifier(OWNER))
        )
    asyncio.run(schema.migrate(url_of(server, TEMPLATE)))
    with psycopg.connect(server.url, autocommit=True) as connection:
        # What a test wrote into it would be in the databases of all others.
        connection.execute(
            SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(TEMPLATE))
        )
    return TEMPLATE


_numbers = count(1)


@pytest.fixture
def empty_database_url(server: EmbeddedPostgres) -> Iterator[str]:
    """A database of the test's own without the schema."""
    yield from fresh_database(server, "template1")


@pytest.fixture
def database_url(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database of the test's own with the schema and no rows."""
    yield from fresh_database(server, template)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The store of the test's own database."""
    async with Store.opened(database_url) as store:
        yield store


@pytest.fixture(autouse=True)
def no_database_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A test never meets the database or the home of whoever runs it, nor settings of another."""
    for name in _settings():
        monkeypatch.delenv(name)
    monkeypatch.setenv("DAMA_HOME", str(tmp_path / "home"))
    yield
    for name in _settings():  # `--profile` tells what it was to the processes that are started
        del os.environ[name]


def _settings() -> list[str]:
    return [name for name in os.environ if name.startswith(("PG", "DAMA_"))]


@pytest.fixture(scope="session")
def forked() -> Iterator[Forked]:
    """`dama` without its start, for tests that type many commands."""
    with TemporaryDirectory(prefix="dama-") as folder:  # a short path: it has a socket
        forked = Forked(Path(folder))
        yield forked
        forked.close()


def fresh_database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The URL of a database that is made, and dropped at the end.

    Its files are copied: without fsync that takes an eighth of what it takes to log each page.
    """
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY").format(
                Identifier(name), Identifier(template), Identifier(OWNER)
            )
        )
        yield url_of(server, name)
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def url_of(server: EmbeddedPostgres, database: str, role: str = OWNER) -> str:
    """The URL of another database of the same server, as a role."""
    url = urlsplit(server.url)
    password = _password(server)
    login = f"{role}:{password}" if password else role
    _, _, address = url.netloc.rpartition("@")
    return urlunsplit(url._replace(netloc=f"{login}@{address}", path=f"/{database}"))


def create_role(server: EmbeddedPostgres, role: str) -> None:
    """A role that may connect, with the password that all roles of the server have, if any."""
    create = SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(role), _password(server))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(create)


def _password(server: EmbeddedPostgres) -> str | None:
    """That of the superuser, where the server wants passwords: it runs as another account then."""
    passfile = parse_qs(urlsplit(server.url).query).get("passfile")
    return Path(passfile[0]).read_text().strip().rpartition(":")[2] if passfile else None
