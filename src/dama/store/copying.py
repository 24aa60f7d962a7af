"""Rows into a table by COPY, within a transaction of somebody else.

Values travel in the binary format, which takes half of the processor time, where they are of the
types of the columns; else as text, which PostgreSQL reads as it reads literals.
"""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg.types.json import Jsonb

from dama.shapes import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dama.store.transaction import Connection

# What the driver writes in binary as PostgreSQL would read it. Given anything else it may write
# what happens to be in memory, or the low bits of a number, without an error.
BINARY: Mapping[str, frozenset[type]] = {
    "bool": frozenset({bool}),
    "bytea": frozenset({bytes}),
    "date": frozenset({date}),
    "float8": frozenset({float}),
    "int2": frozenset({int}),
    "int4": frozenset({int}),
    "int8": frozenset({int}),
    "numeric": frozenset({Decimal, int}),
    "text": frozenset({str}),
    "varchar": frozenset({str}),
    "timestamp": frozenset({datetime}),
    "timestamptz": frozenset({datetime}),
    "time": frozenset({time}),
    "uuid": frozenset({UUID}),
}
BITS = {"int2": 15, "int4": 31, "int8": 63}
NONE = type(None)
NOTHING = frozenset({NONE})
ZONE = attrgetter("tzinfo")
JSON = frozenset({"json", "jsonb"})
# The classes of SQLSTATE that speak of a row: data, constraints, what a trigger raises.
OF_A_ROW = ("22", "23", "P0")
SEQUENCES = {tuple, list}
LONGEST = 1000  # characters of a value that is shown
UNFIT = (TypeError, ValueError, AttributeError, OverflowError, struct.error)
COLUMNS = """
SELECT a.attname, a.atttypid,
       CASE WHEN t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace THEN t.typname ELSE '' END
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  WHERE a.attrelid = %s::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attgenerated = '' AND a.attidentity <> 'a'
  ORDER BY a.attnum
"""
SET_APART = """
CREATE TABLE IF NOT EXISTS {} (
  context_id bigint, row_number bigint NOT NULL, row_given jsonb, error text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now())
"""


class Column(NamedTuple):
    """A column that rows are copied into."""

    name: str
    oid: int
    type: str


@dataclass(frozen=True)
class WrongRow:
    """A row that the table does not take.

    Attributes:
        number: Which, from 1.
        row: What was given, as JSON has it.
        error: Why not, in the words of the database or the driver.
    """

    number: int
    row: Any
    error: str


class Target:
    """A table in an open transaction.

    Args:
        connection: Within a transaction.
        table: As SQL has it: `flights`, `etl.flights`, `"Flights"`.
        columns: Which ones are given, in their order; None for all that may be written.
        stops: Whether to look no further than to the first row that is not taken.

    Raises:
        psycopg.Error: There is no such table.
        KeyError: The table has no such column; its argument is the name.
    """

    def __init__(
        self, connection: Connection, table: str, columns: Sequence[str] | None, *, stops: bool
    ) -> None:
        self._connection = connection
        self._stops = stops
        self._table = name_of(connection, table)
        found = [Column(*row) for row in connection.execute(COLUMNS, [table])]
        by_name = {column.name: column for column in found}
        self.columns = found if columns is None else [by_name[name] for name in columns]
        self._is_binary = all(column.type in BINARY for column in self.columns)
        makers = ((place, _maker(column.type)) for place, column in enumerate(self.columns))
        self._makers = [(place, make) for place, make in makers if make is not None]

    def put(self, rows: Sequence[object], number: int) -> tuple[int, list[WrongRow]]:
        """Copy some rows; those that the table does not take are left out.

        Args:
            rows: Sequences of values, or mappings by column.
            number: That of the first, from 1.

        Returns:
            How many came in, and which did not.
        """
        try:
            with self._connection.transaction():
                self._copy(rows)
        except (psycopg.Error, *UNFIT) as error:
            if not _is_of_a_row(error):
                raise
            if len(rows) == 1:
                return 0, [WrongRow(number, plain(rows[0]), _words(error))]
        else:
            return len(rows), []
        half = len(rows) // 2
        count, wrong = self.put(rows[:half], number)
        if wrong and self._stops:
            return count, wrong
        more, others = self.put(rows[half:], number + half)
        return count + more, wrong + others

    def pour(self, parts: Iterable[bytes]) -> int | None:
        """Copy a file of CSV with a header as it is: how many rows; None if one is not taken."""
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                with cursor.copy(self._statement("csv, HEADER")) as copy:
                    for part in parts:
                        copy.write(part)
                return cursor.rowcount
        except psycopg.Error as error:
            if not _is_of_a_row(error):
                raise
            return None

    def _copy(self, rows: Sequence[Any]) -> None:
        count = len(self.columns)
        if not set(map(type, rows)) <= SEQUENCES or set(map(len, rows)) != {count}:
            rows = [self._in_order(row) for row in rows]
        if self._is_binary and all(map(_fits, self.columns, zip(*rows, strict=True))):
            self._send(rows, "binary")
        else:
            self._send(map(self._made, rows), "text")

    def _send(self, rows: Iterable[Sequence[object]], format_: LiteralString) -> None:
        with self._connection.cursor().copy(self._statement(format_)) as copy:
            if format_ == "binary":
                copy.set_types([column.oid for column in self.columns])
            for row in rows:
                copy.write_row(row)

    def _statement(self, format_: LiteralString) -> Composed:
        names = SQL(", ").join(Identifier(column.name) for column in self.columns)
        return SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(self._table, names, SQL(format_))

    def _made(self, row: Sequence[object]) -> Sequence[object]:
        if not self._makers:
            return row
        values = list(row)
        for place, make in self._makers:
            values[place] = make(values[place])
        return values

    def _in_order(self, row: Any) -> Sequence[object]:
        """The values of a row, which may be a mapping."""
        names = [column.name for column in self.columns]
        if is_object(row):
            lacking = sorted(set(names).difference(row))
            extra = sorted(map(str, set(row).difference(names)))
            if lacking or extra:
                raise ValueError(f"it lacks {lacking}" if lacking else f"it has {extra}, too")
            return [row[name] for name in names]
        if isinstance(row, str | bytes) or len(row) != len(names):
            what = "one value" if isinstance(row, str | bytes) else f"{len(row)} values"
            raise ValueError(f"it has {what}: expected {len(names)}")
        return row


def _fits(column: Column, values: Sequence[Any]) -> bool:
    """Whether binary means the same as text for the values of a column."""
    kinds = set(map(type, values))
    if not kinds <= BINARY[column.type] | NOTHING:
        return False
    known = values if NONE not in kinds else [value for value in values if value is not None]
    if known and column.type in BITS:
        most = 1 << BITS[column.type]
        return -most <= min(known) and max(known) < most
    if column.type.startswith("time"):
        zones = set(map(ZONE, known))
        return None not in zones if column.type == "timestamptz" else zones <= {None}
    return True


def name_of(connection: Connection, table: str) -> Composed:
    """A name as SQL has it, safe within a statement.

    Raises:
        psycopg.Error: It is not a name.
    """
    ((parts,),) = connection.execute("SELECT pg_catalog.parse_ident(%s)", [table]).fetchall()
    return SQL(".").join(map(Identifier, parts))


def set_apart(
    connection: Connection, table: str, context_id: int | None, wrong: Sequence[WrongRow]
) -> None:
    """Keep rows that were not taken in a table of their own, which is made when it is not there."""
    name = name_of(connection, table)
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute(SQL(SET_APART).format(name))
    insert = SQL(
        "INSERT INTO {} (context_id, row_number, row_given, error) VALUES (%s, %s, %s, %s)"
    )
    with connection.cursor() as cursor:
        rows = [(context_id, each.number, Jsonb(each.row), each.error) for each in wrong]
        cursor.executemany(insert.format(name), rows)


def without_numpy(value: Any) -> Any:
    """A number or a truth of numpy as one of Python; all else as it is."""
    is_scalar = hasattr(value, "item") and not hasattr(value, "__len__")
    return value.item() if is_scalar else value


def plain(value: Any) -> Any:
    """A row, or a value of it, to be shown: as JSON that a database can hold."""
    if value is None or isinstance(value, bool | int):
        return value
    value = without_numpy(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if is_object(value):
        return {str(name): plain(each) for name, each in value.items()}
    if is_array(value):
        return [plain(each) for each in value]
    return str(value)[:LONGEST].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _maker(type_: str) -> Callable[[Any], object] | None:
    if type_ in BITS:  # a frame has whole numbers as floats where one of them is missing
        return lambda value: (
            int(value) if isinstance(value, float) and value.is_integer() else value
        )
    if type_ in JSON:
        return lambda value: value if value is None or isinstance(value, str) else Jsonb(value)
    return None


def _is_of_a_row(error: BaseException) -> bool:
    if not isinstance(error, psycopg.Error):
        return True
    if error.sqlstate is None:  # the driver cannot write a value
        return isinstance(error, psycopg.DataError | psycopg.ProgrammingError)
    return error.sqlstate.startswith(OF_A_ROW)


def _words(error: BaseException) -> str:
    if isinstance(error, psycopg.Error) and (said := error.diag.message_primary):
        where = error.diag.context or ""
        column = where.partition(", column ")[2].partition(":")[0]
        return f"{said} (column {column})" if column else said
    return str(error) or type(error).__name__
