"""A folder in memory for the server of the tests, where the machine has one and room in it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108 - its folders are of this user only
ROOM = 3 * 2**30  # of the machine, beside what its processes have; a server takes less than 1 GiB
PREFIX = "dama-tests-"
PREFIX_OF_TEST = "dama-test-"


@contextmanager
def folder_of_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is removed at the end: in memory, or else where all others are."""
    _remove_left()
    if _room() < ROOM:
        yield tmp_path_factory.mktemp("pg")
        return
    folder = MEMORY / f"{PREFIX}{os.getpid()}"
    folder.mkdir(0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def folder_of_test(folder: Path) -> Iterator[Path]:
    """A folder that is removed at the end: in memory, or else the one that is passed."""
    if _room() < ROOM:
        yield folder
        return
    with TemporaryDirectory(dir=MEMORY, prefix=f"{PREFIX_OF_TEST}{os.getpid()}-") as name:
        yield Path(name)


def _remove_left() -> None:
    """Remove what tests left that were killed."""
    for folder in (*MEMORY.glob(f"{PREFIX}*"), *MEMORY.glob(f"{PREFIX_OF_TEST}*")):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _room() -> int:
    """How many bytes may be written there; 0 where there is no such place."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        return min(shutil.disk_usage(MEMORY).free, int(free.split()[1]) * 1024)
    return 0
