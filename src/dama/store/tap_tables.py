"""Tables that taps are loaded into, in a transaction of somebody else: made, widened, merged into.

A column is widened where every value that it has stays what it is; any other change of a type is
refused, since only its user can say what is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from dama.errors import DamaError
from dama.store.copying import Target, WrongRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.store.transaction import Connection

STAGE = "dama_tap_stage"
ORDINAL = "_dama_ordinal"
# What holds all values of another type as they are, so that a column of it stays as it is.
HOLDS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"bigint", "numeric", "boolean", "date", "time", "timestamptz", "jsonb"}),
    "jsonb": frozenset({"bigint", "numeric", "boolean", "text", "date", "time", "timestamptz"}),
    "numeric": frozenset({"bigint"}),
    "timestamptz": frozenset({"date"}),
}
WIDER: Mapping[tuple[str, str], LiteralString] = {
    ("bigint", "numeric"): "{0}::numeric",
    ("bigint", "text"): "{0}::text",
    ("numeric", "text"): "{0}::text",
    ("boolean", "text"): "{0}::text",
    ("date", "timestamptz"): "{0}::timestamp AT TIME ZONE 'UTC'",
    ("date", "text"): "{0}::text",
    ("time", "text"): "{0}::text",
    ("bigint", "jsonb"): "to_jsonb({0})",
    ("numeric", "jsonb"): "to_jsonb({0})",
    ("boolean", "jsonb"): "to_jsonb({0})",
    ("text", "jsonb"): "to_jsonb({0})",
}
OURS = frozenset({*HOLDS, "bigint", "boolean", "date", "time"})
COLUMNS = """
SELECT a.attname,
       CASE t.typname WHEN 'int8' THEN 'bigint' WHEN 'bool' THEN 'boolean' ELSE t.typname END
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""
# Of an index on exactly these columns, whole and at once.
UNIQUE = """
SELECT TRUE FROM pg_catalog.pg_index i
  WHERE i.indrelid = pg_catalog.to_regclass(%s) AND i.indisunique AND i.indimmediate
    AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C")
           FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = i.indrelid
             AND a.attnum = ANY ((i.indkey::int2[])[0 : i.indnkeyatts - 1]))
      = (SELECT array_agg(n ORDER BY n COLLATE "C") FROM unnest(%s::text[]) n)
"""
LOCAL = "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'"


class TableRefusedError(DamaError):
    """A table cannot take what a tap extracts now."""

    code = "TABLE_REFUSED"
    is_final = True


class TapTable:
    """A table in an open transaction, which is there with these columns from then on.

    Args:
        connection: Within a transaction.
        schema: Of the table.
        name: Of the table.
        columns: Their names and types.
        keys: The columns that tell rows apart; empty to append all.

    Attributes:
        types: The types that the columns have.

    Raises:
        TableRefusedError: It is there, and does not fit.
    """

    def __init__(
        self,
        connection: Connection,
        schema: str,
        name: str,
        columns: Mapping[str, str],
        keys: Sequence[str],
    ) -> None:
        self._connection = connection
        self._name = Identifier(schema, name)
        self.name = f"{schema}.{name}"
        self._written = self._name.as_string(connection)
        self._columns = list(columns)
        self._keys = keys
        self.types = self._found()
        if not self.types:
            _make_schema(connection, schema)
            self._make(columns)
        else:
            self._fit(columns)
        self.types = self._found()

    def _found(self) -> dict[str, str]:
        return dict(self._connection.execute(COLUMNS, [self._written]).fetchall())

    def _make(self, columns: Mapping[str, str]) -> None:
        parts = [SQL("{} {}").format(Identifier(n), _type(t)) for n, t in columns.items()]
        if self._keys:
            parts.append(SQL("PRIMARY KEY ({})").format(_names(self._keys)))
        made = SQL("CREATE TABLE {} ({})").format(self._name, SQL(", ").join(parts))
        self._connection.execute(made)

    def _fit(self, columns: Mapping[str, str]) -> None:
        changes = [
            change
            for name, type_ in columns.items()
            if (change := self._change(name, self.types.get(name), type_)) is not None
        ]
        if changes:
            alter = SQL("ALTER TABLE {} {}").format(self._name, SQL(", ").join(changes))
            try:
                self._connection.execute(alter)
            except psycopg.errors.FeatureNotSupported as error:  # a view has the column
                raise TableRefusedError(
                    f"{self.name} must change for what the tap extracts now, and PostgreSQL "
                    f"refuses that: {error.diag.message_primary}.",
                    f"Drop what depends on it, execute this, and make it again: "
                    f"{alter.as_string(self._connection)}",
                ) from error
        key = [self._written, [*self._keys]]
        if self._keys and not self._connection.execute(UNIQUE, key).fetchone():
            names = ", ".join(self._keys)
            raise TableRefusedError(
                f"{self.name} has no unique index on ({names}), the key of the tap's stream.",
                f"Make one: ALTER TABLE {self._written} ADD UNIQUE ({names}); or rename the table, "
                "and the next run makes it again.",
            )

    def _change(self, name: str, has: str | None, wanted: str) -> Composed | None:
        column = Identifier(name)
        if has is None:
            return SQL("ADD COLUMN {} {}").format(column, _type(wanted))
        if has == wanted or has not in OURS or wanted in HOLDS.get(has, ()):
            return None  # a type that only its user gave it is for PostgreSQL to judge
        how = WIDER.get((has, wanted))
        if how is None:
            raise TableRefusedError(
                f"{self.name}.{name} is {has}, and the tap's schema now has {wanted}: not every "
                "value of the one is a value of the other.",
                f"Rename the column (ALTER TABLE {self._written} RENAME {name} TO {name}_old) to "
                f"get a new one, or change it yourself: ALTER COLUMN {name} TYPE {wanted} USING ….",
            )
        using = SQL(how).format(column)
        return SQL("ALTER COLUMN {} TYPE {} USING {}").format(column, _type(wanted), using)

    def put(
        self, rows: Sequence[Sequence[object]], number: int, *, stops: bool
    ) -> tuple[int, list[WrongRow]]:
        """Append rows, or merge them by the key; of rows with one key the last one counts.

        Args:
            rows: Values in the order of the columns.
            number: That of the first, from 1.
            stops: Whether to look no further than to the first row that is not taken.

        Returns:
            How many came in, and which did not.
        """
        if not self._keys:
            return Target(self._connection, self._written, self._columns, stops=stops).put(
                rows, number
            )
        stage = self._staged()
        names = [*self._columns, ORDINAL]
        numbered = [[*row, place] for place, row in enumerate(rows)]
        target = Target(self._connection, stage, names, stops=stops)
        count, wrong = target.put(numbered, number)
        self._connection.execute(self._merge())
        self._connection.execute(SQL("DROP TABLE pg_temp.{}").format(Identifier(STAGE)))
        return count, [WrongRow(w.number, w.row[:-1], w.error) for w in wrong]

    def _staged(self) -> str:
        make = SQL(
            "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {}, 0::bigint AS {} FROM {} WITH NO DATA"
        )
        parts = (Identifier(STAGE), _names(self._columns), Identifier(ORDINAL), self._name)
        self._connection.execute(make.format(*parts))
        return f"pg_temp.{STAGE}"

    def _merge(self) -> Composed:
        others = [name for name in self._columns if name not in self._keys]
        sets = [SQL("{0} = EXCLUDED.{0}").format(Identifier(name)) for name in others]
        do = SQL("UPDATE SET {}").format(SQL(", ").join(sets)) if sets else SQL("NOTHING")
        return SQL(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM ("
            "SELECT DISTINCT ON ({keys}) * FROM pg_temp.{stage} ORDER BY {keys}, {ordinal} DESC) s "
            "ON CONFLICT ({keys}) DO {do}"
        ).format(
            table=self._name, columns=_names(self._columns), keys=_names(self._keys),
            stage=Identifier(STAGE), ordinal=Identifier(ORDINAL), do=do,
        )  # fmt: skip

    def keep_only(self, column: str, version: int) -> int:
        """Remove the rows of all other versions; return how many there were."""
        delete = SQL("DELETE FROM {} WHERE {} IS DISTINCT FROM %s")
        found = self._connection.execute(delete.format(self._name, Identifier(column)), [version])
        return found.rowcount


def prepare(connection: Connection) -> None:
    """Let texts of dates mean the same wherever the database is."""
    connection.execute(LOCAL)


def _make_schema(connection: Connection, schema: str) -> None:
    known = "SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s"
    if connection.execute(known, [schema]).fetchone() is None:
        connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))


def _names(names: Sequence[str]) -> Composed:
    return SQL(", ").join(map(Identifier, names))


def _type(name: str) -> SQL:
    return TYPES[name]


TYPES = {name: SQL(name) for name in ("text", "jsonb", "numeric", "timestamptz")} | {
    name: SQL(name) for name in ("bigint", "boolean", "date", "time")
}
