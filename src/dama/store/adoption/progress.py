"""How far an adoption has come: kept in the database, and said to whoever waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from dama import clock
from dama.store import schema
from dama.store.adoption.audit import Audit
from dama.store.adoption.session import Connection
from dama.store.items import encode_json

# The migration makes it where there was nothing to adopt.
TABLE = next(each for each in schema.migrations() if each.name.endswith("_adoption"))
SAY_AGAIN_SECONDS = 2.0
KNOWN = "SELECT to_regclass('_data_manager_admin.adoption') IS NOT NULL"
READ = """
SELECT step, checksum, xid::text, begun_at, ended_at, audit
  FROM _data_manager_admin.adoption WHERE generation = %s
"""
BEGIN = "INSERT INTO _data_manager_admin.adoption (generation, audit) VALUES (%s, %s)"
STEP = "UPDATE _data_manager_admin.adoption SET step = %s, position = 0 WHERE generation = %s"
POSITION = "SELECT position FROM _data_manager_admin.adoption WHERE generation = %s"
CHECKSUM = "UPDATE _data_manager_admin.adoption SET checksum = %s WHERE generation = %s"
END = "UPDATE _data_manager_admin.adoption SET ended_at = clock_timestamp() WHERE generation = %s"


@dataclass(frozen=True)
class State:
    """What the database has of an adoption.

    Attributes:
        step: The last step that is done; None when the first one is not.
        checksum: Of the events that were there, before anything was changed.
        xid: Of these events.
        begun_at: When it began.
        ended_at: When it ended; None while it is under way.
        audit: What was found before it began.
    """

    step: str | None
    checksum: str | None
    xid: str | None
    begun_at: datetime
    ended_at: datetime | None
    audit: Audit


@dataclass
class Progress:
    """The progress of one adoption.

    Attributes:
        connection: Of the owner.
        generation: Which one.
        tell: Called with what is done, in words.
    """

    connection: Connection
    generation: str
    tell: Callable[[str], None]
    _begun: float = 0.0
    _said: float = 0.0

    async def state(self) -> State | None:
        """How far it has come; None when it has not begun."""
        row = await (await self.connection.execute(KNOWN)).fetchone()
        if row != (True,):
            return None
        row = await (await self.connection.execute(READ, [self.generation])).fetchone()
        if row is None:
            return None
        step, checksum, xid, begun_at, ended_at, found = row
        return State(step, checksum, xid, begun_at, ended_at, msgspec.convert(found, Audit))

    async def begin(self, audit: Audit) -> None:
        """Note that it begins."""
        kept = encode_json(audit)
        async with self.connection.transaction():
            await self.connection.execute(TABLE.sql)
            await self.connection.execute(BEGIN, [self.generation, kept])

    async def note(self, audit: Audit) -> None:
        """Note that it begins, where the migrations have made the table."""
        kept = encode_json(audit)
        await self.connection.execute(BEGIN, [self.generation, kept])

    async def position(self) -> int:
        """How far the step at hand has come; its batches are counted from now on."""
        self._begun = self._said = clock.monotonic()
        cursor = await self.connection.execute(POSITION, [self.generation])
        (position,) = await cursor.fetchone() or (0,)
        return int(position)

    async def finish(self, step: str) -> None:
        """Note that a step is done."""
        await self.connection.execute(STEP, [step, self.generation])

    async def keep_checksum(self, checksum: str) -> None:
        """Keep what all events come to before anything is changed."""
        await self.connection.execute(CHECKSUM, [checksum, self.generation])

    async def end(self) -> None:
        """Note that all is done."""
        await self.connection.execute(END, [self.generation])

    def count(self, done: int, total: int) -> None:
        """Say now and then how many rows of the step at hand are done."""
        now = clock.monotonic()
        if now - self._said >= SAY_AGAIN_SECONDS:
            self._said = now
            rate = done / (now - self._begun)
            self.tell(f"  {done:,} of {total:,} rows ({done / total:.0%}), {rate:,.0f} rows/s")

    def tell_now_and_then(self, what: str) -> None:
        """Say something, unless something was said just now."""
        now = clock.monotonic()
        if now - self._said >= SAY_AGAIN_SECONDS:
            self._said = now
            self.tell(f"  {what}")
