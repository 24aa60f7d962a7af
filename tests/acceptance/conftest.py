"""Fixtures of tests with real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command
from tests.acceptance.family import Family
from tests.acceptance.wire import Wire
from tests.forked import Forked


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder where commands are typed; a module that needs tasks there has its own."""
    return tmp_path


@pytest.fixture
def dama(project: Path, database_url: str, forked: Forked) -> Command:
    """The command, in the project, on the test's database."""
    return Command(project, forked.environ(DAMA_DATABASE_URL=database_url))


@pytest.fixture
def family(tmp_path: Path, database_url: str) -> Iterator[Family]:
    """Parents and children; their processes are ended at the end."""
    family = Family(tmp_path, database_url)
    yield family
    for process in family.processes:
        process.kill()
        process.wait()


@pytest.fixture
def wire(tmp_path: Path, database_url: str) -> Iterator[Wire]:
    """Between one worker and the server."""
    wire = Wire(tmp_path / "wire", database_url)
    yield wire
    wire.close()
