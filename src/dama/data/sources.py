"""Sources of rows: lists and functions of them, frames, files.

A source can be read again, since a transaction whose server goes away is done once more.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dama.errors import UsageError
from dama.shapes import as_object, is_object

if TYPE_CHECKING:
    from typing import IO

PART = 1024 * 1024
DELIMITERS = {".csv": ",", ".tsv": "\t"}
FRAMES_NEED = "Install it with: pip install 'dama-controller[parquet]'"


@dataclass(frozen=True)
class Source:
    """Rows, and what is known of them.

    Attributes:
        columns: Of the rows, where the source says so.
        rows: The rows: sequences of values, or mappings by column.
        csv: The file, where PostgreSQL can read it itself.
    """

    columns: Sequence[str] | None
    rows: Iterable[object]
    csv: Path | None = None


def source_of(given: object) -> Source:
    """What a source has.

    Args:
        given: A collection of rows, a function that returns one (or is a generator), a frame of
            pandas, Polars, pyarrow or DuckDB, or the path of a file: .csv, .tsv (with a header,
            also .gz) or .parquet.

    Raises:
        UsageError: It is none of these, or can be read only once.
    """
    if isinstance(given, str | Path):
        return _of_file(Path(given))
    if isinstance(given, Iterator):
        kind = type(cast("object", given)).__name__
        raise UsageError(
            f"The rows are a {kind}, which can be read only once: a transaction whose server goes "
            "away is done again.",
            "Give the function that makes it, without calling it, or a list.",
        )
    if callable(given):
        given = given()
    if hasattr(given, "__arrow_c_stream__"):
        return _of_frame(given)
    rows: Any = given
    if not isinstance(rows, Iterable) or isinstance(rows, Mapping | bytes):
        raise UsageError(
            f"The rows are {rows!r:.80}: expected a list of rows, a function that returns one, a "
            "frame, or the path of a file.",
        )
    return _with_columns(cast("Iterable[object]", rows))


def parts_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked."""
    with _opened(path) as file:
        while part := file.read(PART):
            yield part


def _with_columns(rows: Iterable[object]) -> Source:
    """Mappings say in the first row which columns there are."""
    found = iter(rows)
    try:
        first: Any = next(found)
    except StopIteration:
        return Source(None, ())
    columns = list(as_object(first)) if is_object(first) else None
    return Source(columns, chain([first], found))


def _of_file(path: Path) -> Source:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".parquet"]:
        parquet: Any = _pyarrow("pyarrow.parquet")
        file = parquet.ParquetFile(path)
        return Source(list(file.schema_arrow.names), _rows_of(file.iter_batches()))
    kind = (
        suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    )
    if kind not in DELIMITERS:
        raise UsageError(
            f"{path} is of a kind that is not known: expected .csv, .tsv (also .gz) or .parquet.",
            "Read it in a function, and give that.",
        )
    delimiter = DELIMITERS[kind]
    with _opened(path) as file:
        header = next(csv.reader([_line(file)], delimiter=delimiter), None)
    if not header:
        raise UsageError(f"{path} has no header: its first line must name the columns.")
    return Source(header, _rows_of_csv(path, delimiter), path if delimiter == "," else None)


def _line(file: IO[bytes]) -> str:
    return file.readline().decode("utf-8-sig")


def _rows_of_csv(path: Path, delimiter: str) -> Iterator[list[str | None]]:
    """An empty field is NULL, as for PostgreSQL."""
    with _opened(path) as file:
        reader = csv.reader(_lines_of(file), delimiter=delimiter)
        try:
            for number, row in enumerate(reader):
                if number and row:
                    yield [value or None for value in row]
        except (UnicodeDecodeError, csv.Error) as error:
            what = "is not in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise UsageError(
                f"{path}, line {reader.line_num + 1:,}: {what}.",
                "Convert it first, or read it in a function, and give that.",
            ) from error


def _lines_of(file: IO[bytes]) -> Iterator[str]:
    yield _line(file)
    for line in file:
        yield line.decode()


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _of_frame(frame: object) -> Source:
    reader = _pyarrow("pyarrow").RecordBatchReader.from_stream(frame)
    return Source(list(reader.schema.names), _rows_of(reader))


def _rows_of(batches: Iterable[Any]) -> Iterator[Sequence[object]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError("Frames and Parquet need pyarrow.", FRAMES_NEED) from error
