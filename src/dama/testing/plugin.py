"""Fixtures of pytest, which an installed dama brings along.

`dama` runs tasks as `dama.testing.run` does, on a database of the test's own; `dama_database_url`
is that database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dama.testing.stage import Stage


@pytest.fixture
def dama_database_url() -> Iterator[str]:
    """A database of the test's own, with the schema and no rows."""
    from dama.testing import databases

    url = databases.make()
    yield url
    databases.drop(url)


@pytest.fixture
def dama(dama_database_url: str) -> Stage:
    """Runs tasks on a database of the test's own."""
    from dama.testing.stage import Stage

    return Stage(dama_database_url)
