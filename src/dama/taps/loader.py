"""The loader of a tap: what it extracts goes into tables, each commit with the state behind it.

Messages are kept as they came until there are many of them, or until it is time for a commit. A
commit ends at a STATE: what came after it waits for the next one. Where no STATE comes for long,
the records are copied into a transaction that stays open until one does, so memory is bounded
whatever the tap does. A tap that fails has loaded all up to its last STATE, and nothing behind it.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dama.config.private_file import private
from dama.domain.event import Event
from dama.errors import UnavailableError
from dama.store import Append
from dama.store.tap_state import put_state, read_state
from dama.store.tap_tables import prepare
from dama.store.transaction import commit_blocking
from dama.store.translation import has_given_way
from dama.taps.columns import VERSION, name_for
from dama.taps.messages import TapError, without_unfit
from dama.taps.process import Process
from dama.taps.source import Source
from dama.taps.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dama.domain.secrets import Secrets
    from dama.shapes import Json
    from dama.store.database import Database
    from dama.store.tap_tables import TapTable
    from dama.store.transaction import Connection
    from dama.taps.messages import Message

OUTAGE_PAUSE = 1.0
LARGEST_STATE = 512 * 1024  # bytes that an event tells
TOLD_SECONDS = 2.0
ROWS = "rows"
WORDS = {
    "bad": "{} records of {} do not fit, and are in the table of bad rows.",
    "characters": "{} records of {} had NUL characters or broken surrogates, which are U+FFFD now.",
    "properties": "{} records of {} had properties that its SCHEMA does not have: left out.",
}

_log = logging.getLogger("dama.taps")


@dataclass(frozen=True)
class Order:
    """What a loader is told.

    Attributes:
        task: The full name.
        context_id: Of the run.
        epoch: Of the run.
        argv: Of the tap.
        schema: Of the tables.
        key: Tells the states of the tap apart.
        params: The params that have a value.
        secrets: The names of the variables that are secrets.
        is_pooled: Whether there is a pooler before the database.
        config: Of the tap, with placeholders, or the path of a file.
        catalog: The path of a file.
        bad_rows: A table for records that do not fit.
    """

    task: str
    context_id: int
    epoch: int
    argv: list[str]
    schema: str
    key: str
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    secrets: list[str] = field(default_factory=list[str])
    is_pooled: bool = False
    config: dict[str, Any] | str | None = None
    catalog: str | None = None
    bad_rows: str | None = None


class Loader:
    """Loads what one tap extracts, until it has ended.

    Args:
        order: What to do.
        database: Where.
        values: Of the placeholders, secrets included.
        secrets: What no event tells.
        folder: For the files of the tap.
        events: The file for events of the program.
    """

    def __init__(
        self,
        order: Order,
        database: Database,
        values: Mapping[str, Any],
        secrets: Secrets,
        folder: Path,
        events: Path,
    ) -> None:
        self._order = order
        self._database = database
        self._values = values
        self._secrets = secrets
        self._folder = folder
        self._events = events
        self._name = f"dama:{order.context_id}:{order.epoch}"
        self._streams: dict[str, Stream] = {}
        self._version = 0
        self._unsure = _Commit(0, Counter())
        self._counts = Counter[tuple[str, str]]()
        self._commits = 0
        self._told_at = 0.0

    def load(self) -> dict[str, Any]:
        """Load all of it; where the database goes away, the tap is started again at its state.

        Also where a commit gave way to another transaction.

        Returns:
            The result: rows by stream, the commits, and what was not kept as it came.

        Raises:
            TapFailedError: The tap has failed.
            DamaError: What it wrote cannot be loaded.
        """
        try:
            while True:
                try:
                    self._load_once()
                except Exception as error:
                    if not (isinstance(error, UnavailableError) or has_given_way(error)):
                        raise
                    _log.warning("%s The tap is started again at its last state.", error)
                    time.sleep(OUTAGE_PAUSE)
                else:
                    return self._result()
        finally:  # also of a tap that has failed: what it has loaded stays
            for name, count in _by_stream(self._counts, ROWS).items():
                table = f"{self._order.schema}.{name_for(name)}"
                self._say(f"/load:{table}:DONE", {"table": table, "rows": count, "stream": name})

    def _load_once(self) -> None:
        order = self._order
        state, self._version = read_state(self._database, self._name, order.task, order.key)
        if self._version and self._version == self._unsure.version:  # its answer was lost
            self._is_committed()
        self._streams = {}
        process = Process(
            order.argv,
            self._folder,
            config=order.config,
            catalog=order.catalog,
            values=self._values,
            state=None if state == "null" else state,
        )
        source = Source(process, state or "null")
        try:
            while source.fill():
                commit_blocking(
                    self._database, self._name, lambda conn: self._batch(conn, source), _nothing
                )
                source.is_committed()
                self._is_committed()
            if source.error is not None:
                raise source.error
        finally:
            process.end()

    def _batch(self, connection: Connection, source: Source) -> Sequence[Append]:
        """Load up to the next state within one transaction; return the event about it."""
        before = self._so_far()
        prepare(connection)
        tables: dict[str, TapTable] = {}
        for messages in source.until_state():
            self._load(connection, tables, messages)
            self._tell()
        counts = self._so_far() - before
        order = self._order
        version = put_state(
            connection, order.task, order.key, self._version, source.state, order.context_id
        )
        self._unsure = _Commit(version, counts)
        return [self._event(source.state, _by_stream(counts, ROWS))]

    def _so_far(self) -> Counter[tuple[str, str]]:
        """What the tap that runs now has written, by kind and stream."""
        streams = self._streams.items()
        counts = Counter({(ROWS, name): stream.rows for name, stream in streams})
        counts.update({(k, name): n for name, s in streams for k, n in s.odd.items()})
        return counts

    def _is_committed(self) -> None:
        self._version = self._unsure.version
        self._counts.update(self._unsure.counts)
        self._unsure = _Commit(0, Counter())
        self._commits += 1

    def _load(
        self, connection: Connection, tables: dict[str, TapTable], messages: Iterable[Message]
    ) -> None:
        waiting: dict[str, list[Message]] = {}
        for message in messages:
            name = message.stream
            if message.type == "RECORD":
                stream = self._streams.get(name)
                if stream is None:
                    raise TapError(f"The tap wrote a RECORD of {name!r} before its SCHEMA.")
                if message.version is not None and not stream.has_versions:
                    self._flush(connection, tables, waiting.pop(name, []), name)
                    stream.has_versions = True
                    tables.pop(name, None)
                waiting.setdefault(name, []).append(message)
            elif message.type == "SCHEMA":
                self._flush(connection, tables, waiting.pop(name, []), name)
                self._take(message)
                tables.pop(name, None)
                self._table(connection, tables, name)
            elif message.type == "ACTIVATE_VERSION":
                self._flush(connection, tables, waiting.pop(name, []), name)
                self._activate(connection, tables, message)
        for name, records in waiting.items():
            self._flush(connection, tables, records, name)

    def _take(self, message: Message) -> None:
        known = self._streams.get(message.stream)
        if known is not None and known.is_as(message):
            return
        stream = Stream(message.stream, message)
        if known is not None:
            stream.rows, stream.odd, stream.has_versions = known.rows, known.odd, known.has_versions
        for other in self._streams.values():
            if other.table == stream.table and other.name != stream.name:
                raise TapError(
                    f"The streams {other.name!r} and {stream.name!r} would both be the table "
                    f"{self._order.schema}.{stream.table}.",
                    "Leave one of them out in the catalog of the tap.",
                )
        self._streams[stream.name] = stream

    def _table(self, connection: Connection, tables: dict[str, TapTable], name: str) -> TapTable:
        if name not in tables:
            tables[name] = self._streams[name].opened(connection, self._order.schema)
        return tables[name]

    def _flush(
        self,
        connection: Connection,
        tables: dict[str, TapTable],
        records: Sequence[Message],
        name: str,
    ) -> None:
        if records:
            table, order = self._table(connection, tables, name), self._order
            self._streams[name].load(connection, table, records, order.bad_rows, order.context_id)

    def _activate(
        self, connection: Connection, tables: dict[str, TapTable], message: Message
    ) -> None:
        """From here on the table has the rows of one version only."""
        stream = self._streams.get(message.stream)
        if stream is None or message.version is None:
            lacks = "its SCHEMA" if stream is None else "its version"
            raise TapError(
                f"The tap wrote an ACTIVATE_VERSION of {message.stream!r} without {lacks}."
            )
        if not stream.has_versions:
            stream.has_versions = True
            tables.pop(stream.name, None)
        self._table(connection, tables, stream.name).keep_only(VERSION, message.version)

    def _event(self, state: str, rows: Mapping[str, int]) -> Append:
        payload: dict[str, Json] = {"rows": dict(rows)}
        if len(state) > LARGEST_STATE:
            payload["state_bytes"] = len(state)
        else:
            payload["state"] = self._secrets.strike_all(without_unfit(json.loads(state)))
        meta = {"epoch": self._order.epoch}
        return Append(self._order.context_id, Event("singer:STATE", payload, meta=meta))

    def _tell(self) -> None:
        """Say how far it is, once in a while: what is not committed yet, too."""
        if (now := time.monotonic()) < self._told_at + TOLD_SECONDS:
            return
        self._told_at = now
        done = sum(stream.rows for stream in self._streams.values())
        self._say(":PROGRESS", {"done": done, "unit": "rows"})

    def _say(self, type_: str, payload: Mapping[str, Json]) -> None:
        with suppress(OSError), open(self._events, "a", encoding="utf-8", opener=private) as file:
            file.write(json.dumps({"type": type_, "payload": payload}) + "\n")

    def _result(self) -> dict[str, Any]:
        rows = _by_stream(self._counts, ROWS)
        result: dict[str, Any] = {"rows": rows, "commits": self._commits}
        for kind, words in WORDS.items():
            counts = _by_stream(self._counts, kind)
            for name, count in counts.items():
                self._say(":WARN", {"message": words.format(f"{count:,}", name)})
            if counts:
                result[kind] = counts
        return result


@dataclass(frozen=True)
class _Commit:
    """What a commit has, whose answer may be lost."""

    version: int
    counts: Counter[tuple[str, str]]


def _by_stream(counts: Counter[tuple[str, str]], kind: str) -> dict[str, int]:
    """What was counted of a kind."""
    return {name: n for (of, name), n in sorted(counts.items()) if of == kind and n}


def _nothing(_: object) -> None:
    """Nobody ends the transaction from another thread: the process is ended."""
