"""Rows into a table, exactly once: by COPY, within the transaction of a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from dama.data.sources import Source, parts_of, source_of
from dama.errors import DamaError, UsageError
from dama.store.copying import Target, WrongRow, set_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dama.store.transaction import Connection

CHUNK = 10_000
SHOWN = 5


class BadRowError(DamaError):
    """A row that the table does not take; nothing was copied.

    Attributes:
        data: `row_number`, from 1, and `row`.
    """

    code = "BAD_ROW"
    exit_code = 1

    def __init__(self, table: str, wrong: WrongRow) -> None:
        self.data = {"row_number": wrong.number, "row": wrong.row}
        super().__init__(
            f"{table} does not take row {wrong.number:,}: {wrong.error}.",
            'Correct the source, or keep such rows apart with bad_rows="TABLE".',
        )


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes:
        table: Into which table.
        rows: How many rows came in.
        bad: How many the table did not take, which are in the table for bad rows.
        sample: The first of these, five at most.
    """

    table: str
    rows: int
    bad: int = 0
    sample: list[WrongRow] = field(default_factory=list[WrongRow])


def copy_into(
    connection: Connection,
    table: str,
    source: Any,
    *,
    columns: Sequence[str] | None = None,
    bad_rows: str | None = None,
    context_id: int | None = None,
) -> Copied:
    """Copy rows into a table, within the transaction that a step has.

    Args:
        connection: Of the step: `task.transaction("load", load)` gives it to `load`.
        table: As SQL has it: `flights`, `etl.flights`, `"Flights"`.
        source: A list of sequences or mappings, a function that returns or yields them, a frame
            (pandas, Polars, pyarrow, DuckDB), or the path of a .csv, .tsv (with a header, also
            .gz) or .parquet file. None is NULL, and so is an empty field of a file.
        columns: Into which columns, in the order of the values; by default those that mappings,
            frames and headers name, or all that may be written.
        bad_rows: A table for the rows that `table` does not take, made when it is not there; None
            to fail with the first of them.
        context_id: What the table of bad rows says of where they came from.

    Raises:
        BadRowError: The table does not take a row.
        UsageError: There is no such column, or the source cannot be read.
    """
    with connection.transaction():  # of it all rows come in, or none
        return _copied(connection, table, source_of(source), columns, bad_rows, context_id)


def _copied(
    connection: Connection,
    table: str,
    found: Source,
    columns: Sequence[str] | None,
    bad_rows: str | None,
    context_id: int | None,
) -> Copied:
    names = columns if columns is not None else found.columns
    try:
        target = Target(connection, table, names, stops=bad_rows is None)
    except KeyError as error:
        raise UsageError(
            f"{table} has no column {error.args[0]!r} that may be written.",
            "Give columns=[...], in the order of the values.",
        ) from None
    if found.csv and names == found.columns:
        poured = target.pour(parts_of(found.csv))
        if poured is not None:
            return Copied(table, poured)
    count, bad, sample = 0, 0, list[WrongRow]()
    for number, chunk in _chunks(found):
        more, wrong = target.put(chunk, number)
        if wrong and bad_rows is None:
            raise BadRowError(table, wrong[0])
        if wrong and bad_rows is not None:
            set_apart(connection, bad_rows, context_id, wrong)
        count, bad = count + more, bad + len(wrong)
        sample += wrong[: SHOWN - len(sample)]
    return Copied(table, count, bad, sample)


def _chunks(source: Source) -> Iterator[tuple[int, list[object]]]:
    rows: Iterator[object] = iter(source.rows)
    number = 1
    while chunk := list(islice(rows, CHUNK)):
        yield number, chunk
        number += len(chunk)
