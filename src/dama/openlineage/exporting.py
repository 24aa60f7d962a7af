"""Exporting: each event of the log that says what a run read or wrote becomes one of OpenLineage.

A durable subscription: what was sent is known by its checkpoint, and after a crash the events since
then are sent again, with the same ids and the same content. Where they cannot be sent, all wait in
their order, and nothing else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.domain.event import LoggedEvent, kind_of
from dama.domain.lifecycle import step_key
from dama.openlineage.datasets import Place
from dama.openlineage.errors import NotInstalledError
from dama.shapes import is_array, is_object
from dama.store.attempts import Attempt, Written, read_attempts, read_columns, read_written
from dama.store.subscription import Together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.openlineage.events import Maker
    from dama.openlineage.sending import Sender
    from dama.openlineage.settings import OpenLineageSettings
    from dama.store import Store
    from dama.store.attempts import Column
    from dama.store.subscription import Connection, Subscription

NAME = "openlineage"
ENDS = frozenset({"RETRYING", "ERROR", "CANCELLED", "FINAL"})
BATCH = 100  # events of the log that share a checkpoint, and are sent again after a crash
MOST_KNOWN = 10_000
POSTGRES_PORT = 5432


Sent = Callable[[int], object]


def _tell_nobody(_: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Said:
    """An event of the log that becomes one of OpenLineage.

    Attributes:
        event: The event.
        kind: What it means.
        attempt: The one that it is of.
        written: What it says of a table by itself.
    """

    event: LoggedEvent
    kind: str
    attempt: Attempt
    written: Sequence[Written]


class Exporter:
    """The handler of the subscription.

    Args:
        sender: Sends them.
        maker: Makes events for where the tables are, which a connection knows.
        sent: Called with the number of events that were sent, after each batch.
    """

    def __init__(
        self,
        sender: Sender,
        maker: Callable[[Connection], Maker],
        sent: Sent = _tell_nobody,
    ) -> None:
        self._sender = sender
        self._maker = maker
        self._sent = sent
        self._known: dict[int, Attempt] = {}
        self._position = 0

    async def handle(self, connection: Connection, events: Sequence[LoggedEvent]) -> None:
        """Send what events of the log say, in their order.

        Raises:
            UnsentError: Where they go is away.
            RefusedEventError: One was refused for what it is.
        """
        if events[0].position != self._position + 1 or len(self._known) > MOST_KNOWN:
            self._known.clear()  # another process may have handled what is between
        telling = [(event, kind) for event in events if (kind := _kind(event)) is not None]
        said = await self._of_attempts(connection, telling)
        ended = await _of_ended(connection, said)
        maker = self._maker(connection)
        written = [ended.get(each.event.event_id, each.written) for each in said]
        datasets = [maker.datasets(e.attempt.own, w) for e, w in zip(said, written, strict=True)]
        tables = {each.table for found, made in datasets for each in (*found, *made)} - {None}
        columns = await self._columns(connection, [each for each in tables if each is not None])
        made = [
            maker.event(each.event, each.kind, each.attempt, of, columns)
            for each, of in zip(said, written, strict=True)
        ]
        await asyncio.to_thread(self._sender.send, made)
        self._position = events[-1].position
        if made:
            self._sent(len(made))

    async def _columns(
        self, connection: Connection, tables: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Sequence[Column]]:
        return await read_columns(connection, tables) if tables else {}

    async def _of_attempts(
        self, connection: Connection, telling: Sequence[tuple[LoggedEvent, str]]
    ) -> list[Said]:
        """Those that are of an attempt, with it."""
        asked: dict[int, int] = {}
        for event, _ in telling:
            if event.context_id not in self._known:
                asked.setdefault(event.context_id, event.event_id)
        found = await read_attempts(connection, list(asked.values()))
        said: list[Said] = []
        for event, kind in telling:
            attempt = self._known.get(event.context_id) or found.get(event.event_id)
            if attempt is None and event.event_id not in asked.values():
                # The first of its context here has ended the attempt before.
                attempt = (await read_attempts(connection, [event.event_id])).get(event.event_id)
            if attempt is None:
                continue
            self._known[event.context_id] = attempt
            said.append(Said(event, kind, attempt, _said_by(event)))
            if kind in ENDS:
                del self._known[event.context_id]
        return said


def _kind(event: LoggedEvent) -> str | None:
    """What an event means here; None for nothing."""
    kind = kind_of(event.type)
    if kind in ENDS or kind in {"STARTED", "ADOPTED"}:
        return kind
    found = step_key(event.type)
    return "DONE" if found is not None and found[1] == "DONE" and _said_by(event) else None


def _said_by(event: LoggedEvent) -> list[Written]:
    """What the event of a step says of tables; nothing for most."""
    payload: object = event.payload
    if step_key(event.type) is None or not is_object(payload):
        return []
    table, rows, inputs = (payload.get(key) for key in ("table", "rows", "inputs"))
    name = table if isinstance(table, str) else None
    names = [each for each in inputs if isinstance(each, str)] if is_array(inputs) else []
    is_count = isinstance(rows, int) and not isinstance(rows, bool)
    return [Written(name, rows if is_count else None, names)] if name or names else []


async def _of_ended(
    connection: Connection, said: Sequence[Said]
) -> Mapping[int, Sequence[Written]]:
    """What attempts that end say of tables, all in all, by the event of the end."""
    ends = [each for each in said if each.kind in ENDS]
    found: dict[int, Sequence[Written]] = {}
    while ends:  # several of one context may end in one batch
        once = {each.event.context_id: each for each in ends}
        spans = [(c, e.attempt.own.version, e.event.version) for c, e in once.items()]
        of = await read_written(connection, spans)
        found |= {each.event.event_id: of.get(c, ()) for c, each in once.items()}
        ends = [each for each in ends if each.event.event_id not in found]
    return found


class Exporting:
    """Sends events of OpenLineage, as settings say.

    Args:
        settings: Where they go.

    Raises:
        NotInstalledError: The library is not there.
        TransportError: The library does not take the settings.
    """

    def __init__(self, settings: OpenLineageSettings) -> None:
        try:
            from dama.openlineage.events import Maker
            from dama.openlineage.sending import Sender
        except ImportError as error:
            raise NotInstalledError from error
        self._maker = Maker
        self._settings = settings
        self._sender = Sender(settings)

    async def always(self, store: Store, sent: Sent = _tell_nobody) -> None:
        """Send what happens from now on, or since the subscription is there; until cancelled.

        Args:
            store: Whose log.
            sent: Called with the number of events that were sent, after each batch.

        Raises:
            UnsentError: Where events go is away: begin again, nothing was passed over.
        """
        await (await self.subscription(store, sent=sent)).run()

    async def subscription(
        self,
        store: Store,
        *,
        from_beginning: bool = False,
        sent: Sent = _tell_nobody,
    ) -> Subscription:
        """The subscription that sends them.

        Args:
            store: Whose log.
            from_beginning: A new one begins with the first event of the log, not with the next one.
            sent: Called with the number of events that were sent, after each batch.
        """
        identity = await store.database.identity()
        after = 0 if from_beginning else await store.log.position()
        settings = self._settings

        def maker(connection: Connection) -> Maker:
            info = connection.info
            host = info.host if info.host and not info.host.startswith("/") else "localhost"
            own = f"postgres://{host}:{info.port or POSTGRES_PORT}"
            place = Place(settings.datasets or own, info.dbname)
            return self._maker(identity, place, settings.namespace)

        handler = Together(Exporter(self._sender, maker, sent).handle, BATCH)
        return store.log.subscription(NAME, handler, after=after)
