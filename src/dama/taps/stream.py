"""A stream: its table, its columns, and records as rows of them."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dama.data.copying import BadRowError
from dama.store.copying import WrongRow, plain, set_apart
from dama.store.tap_tables import TapTable
from dama.taps.columns import VERSION, columns_of, name_for
from dama.taps.messages import Message, as_json, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dama.store.transaction import Connection

CHUNK = 10_000
INTEGERS = frozenset({"bigint", "int4", "int2"})


class Stream:
    """A stream as its last SCHEMA has it.

    Args:
        name: Of the stream.
        message: The SCHEMA.

    Attributes:
        rows: How many are in its table, by this process, committed or not.
        odd: What was not kept as it came, and how often.

    Raises:
        TapError: The schema cannot be a table.
    """

    def __init__(self, name: str, message: Message) -> None:
        self.name = name
        self.table = name_for(name)
        self.schema = message.schema or {}
        self.keys = message.key_properties or []
        self.columns = columns_of(name, self.schema, self.keys)
        self.has_versions = False
        self.rows = 0
        self.odd: Counter[str] = Counter()
        self._known = {column.property for column in self.columns}

    def is_as(self, message: Message) -> bool:
        """Whether a SCHEMA says the same."""
        return self.schema == message.schema and self.keys == (message.key_properties or [])

    def opened(self, connection: Connection, schema: str) -> TapTable:
        """Its table, made or changed to fit.

        Raises:
            TableRefusedError: It is there, and does not fit.
        """
        columns = {column.name: column.type for column in self.columns}
        if self.has_versions:
            columns[VERSION] = "bigint"
        names = {column.property: column.name for column in self.columns}
        keys = [names[key] for key in self.keys]
        return TapTable(connection, schema, self.table, columns, keys)

    def load(
        self,
        connection: Connection,
        table: TapTable,
        records: Sequence[Message],
        bad_rows: str | None,
        context_id: int,
    ) -> None:
        """Put records into its table.

        Raises:
            BadRowError: One does not fit, and there is no table for such.
        """
        makers = [(c.property, maker(table.types[c.name])) for c in self.columns]
        for begin in range(0, len(records), CHUNK):
            chunk = records[begin : begin + CHUNK]
            number = self.rows + self.odd["bad"] + 1
            rows, wrong = self._rows(chunk, makers, number)
            if wrong and bad_rows is None:
                raise BadRowError(table.name, wrong[0])
            if rows:
                count, others = table.put(rows, number, stops=bad_rows is None)
                wrong += others
                self.rows += count
            if wrong and bad_rows is None:
                raise BadRowError(table.name, wrong[0])
            if wrong and bad_rows is not None:
                self.odd["bad"] += len(wrong)
                set_apart(connection, bad_rows, context_id, wrong)

    def _rows(
        self,
        records: Sequence[Message],
        makers: Sequence[tuple[str, Callable[[Any], object]]],
        number: int,
    ) -> tuple[list[list[object]], list[WrongRow]]:
        rows: list[list[object]] = []
        wrong: list[WrongRow] = []
        for place, message in enumerate(records):
            record, is_changed = record_of(message)
            if is_changed:
                self.odd["characters"] += 1
            if not record.keys() <= self._known:
                self.odd["properties"] += 1
            if lacking := [key for key in self.keys if record.get(key) is None]:
                error = f"it has no {', '.join(lacking)}, which is the key"
                wrong.append(WrongRow(number + place, plain(record), error))
                continue
            row = [make(record.get(name)) for name, make in makers]
            if self.has_versions:
                row.append(message.version)
            rows.append(row)
        return rows, wrong


def maker(type_: str) -> Callable[[Any], object]:
    """What makes a value of a record one for a column of a type, as COPY takes it."""
    if type_ in {"jsonb", "json"}:
        return lambda value: None if value is None else as_json(value)
    if type_ in INTEGERS:
        return _whole
    if type_ in {"text", "varchar", "bpchar"}:
        return _text
    return _plain


def _whole(value: Any) -> object:
    is_whole = isinstance(value, Decimal) and value == value.to_integral_value()
    return int(value) if is_whole else _plain(value)


def _text(value: Any) -> object:
    return value if value is None or isinstance(value, str) else as_json(value)


def _plain(value: Any) -> object:
    """What is no scalar is for PostgreSQL to refuse, in its words."""
    return as_json(value) if isinstance(value, dict | list) else value
