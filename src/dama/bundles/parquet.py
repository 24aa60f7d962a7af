"""Events as a Parquet file, one row each: what pandas, Polars, DuckDB and R read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from dama.bundles.errors import BundleError
from dama.bundles.layout import BundledEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dama.store.bundles import BundledContext

ROWS_AT_ONCE = 50_000


class ParquetWriter:
    """Writes events; payload and meta as texts of JSON, times in UTC.

    Args:
        path: Of the file.
        contexts: All that the events are of.

    Raises:
        BundleError: pyarrow is not installed.
    """

    def __init__(self, path: Path, contexts: Sequence[BundledContext]) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ModuleNotFoundError as error:
            raise BundleError(
                "A Parquet file needs pyarrow, which is not installed.",
                'Install it: pip install "dama-controller[parquet]"',
            ) from error
        self._contexts = contexts
        self._schema = _schema(self._arrow)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._decode = msgspec.json.Decoder(BundledEvent).decode
        self._rows: list[dict[str, Any]] = []
        self.count = 0

    def add(self, lines: Sequence[str]) -> None:
        """Add events, as they stand in a bundle."""
        self._rows += [self._row(self._decode(line)) for line in lines]
        self.count += len(lines)
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._writer.close()

    def _row(self, event: BundledEvent) -> dict[str, Any]:
        context = self._contexts[event.context - 1]
        parent = None if context.parent is None else self._contexts[context.parent - 1].context_id
        return {
            "database": context.database,
            "context_id": context.context_id,
            "parent_id": parent,
            "task": context.task,
            "version": event.version,
            "event_id": _given(event.event_id),
            "created_at": event.created_at,
            "type": event.type,
            "payload": _text(event.payload),
            "meta": _text(event.meta),
            "error": _given(event.error),
        }

    def _flush(self) -> None:
        if self._rows:
            table = self._arrow.Table.from_pylist(self._rows, schema=self._schema)
            self._writer.write_table(table)
            self._rows = []


def _schema(arrow: Any) -> Any:
    name = arrow.dictionary(arrow.int32(), arrow.string())
    return arrow.schema([
        ("database", name),
        ("context_id", arrow.int64()),
        ("parent_id", arrow.int64()),
        ("task", name),
        ("version", arrow.int64()),
        ("event_id", arrow.int64()),
        ("created_at", arrow.timestamp("us", tz="UTC")),
        ("type", name),
        ("payload", arrow.string()),
        ("meta", arrow.string()),
        ("error", arrow.bool_()),
    ])  # fmt: skip


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def _text(value: msgspec.Raw | msgspec.UnsetType) -> str | None:
    return None if isinstance(value, msgspec.UnsetType) else bytes(value).decode()
