"""Fixtures of tests with real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.family import Family
from tests.acceptance.wire import Wire


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
