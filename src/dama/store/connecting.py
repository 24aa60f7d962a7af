"""Connecting: a server that falls silent is noticed.

Where a network drops packets without a word, the kernel keeps a connection for hours, and tries for
minutes to send what was written. So each connection of dama asks whether the other side is there,
and none is waited for without end. Whatever the user says of it holds: in the connection string, in
PG*, or in a service file.
"""

from __future__ import annotations

from math import inf
from select import POLLIN, poll
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn
from typing_extensions import override

from dama import clock

if TYPE_CHECKING:
    from typing import Self

REACH = {
    "connect_timeout": "10",  # seconds, as all of these
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
# Of connections with short statements only: a function of others may keep its session from reading
# for as long as it waits for a lock, and what COPY sends meanwhile stays without an answer.
PROMPT = {**REACH, "tcp_user_timeout": "20000"}  # milliseconds
SURE_SECONDS = 5.0
# Of a service file the driver does not know them: it would not try one host after the other, nor
# end the attempt in time.
DRIVERS = ("host", "hostaddr", "port", "connect_timeout")


async def connect(conninfo: str, **options: Any) -> psycopg.AsyncConnection[Any]:
    """Connect.

    Args:
        conninfo: As libpq takes it.
        options: Of the driver.
    """
    return await psycopg.AsyncConnection.connect(conninfo, **_with(options, conninfo, REACH))


def connect_blocking(conninfo: str, **options: Any) -> psycopg.Connection[Any]:
    """The same as `connect`."""
    return psycopg.connect(conninfo, **_with(options, conninfo, REACH))


def connect_prompt_blocking(conninfo: str, **options: Any) -> psycopg.Connection[Any]:
    """The same as `connect`, for short statements that soon have an answer."""
    return psycopg.connect(conninfo, **_with(options, conninfo, PROMPT))


class PromptConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection for short statements that soon have an answer, as a pool makes it.

    Attributes:
        answered_at: When its server last answered, by the clock of this process.
    """

    answered_at = -inf

    @property
    def is_surely_there(self) -> bool:
        """Whether its server answered a moment ago, and has not ended since.

        The end of a server, or of its session, is there to be read. Only a network that drops
        packets without a word is silent, and a moment is short for that.
        """
        if self.closed or clock.monotonic() - self.answered_at > SURE_SECONDS:
            return False
        looking = poll()
        looking.register(self.fileno(), POLLIN)
        return not looking.poll(0)

    @classmethod
    @override
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect; a service file is read each time."""
        return await super().connect(conninfo, **_with(options, conninfo, PROMPT))


def _with(options: dict[str, Any], conninfo: str, defaults: dict[str, str]) -> dict[str, Any]:
    """The options of a connection; its encoding is ours from the first message on."""
    return {**reach(conninfo, defaults), "client_encoding": "UTF8", **options}


def reach(conninfo: str, defaults: dict[str, str]) -> dict[str, Any]:
    """What to add to a connection string: defaults where nothing is said, and what is the driver's.

    Args:
        conninfo: As libpq takes it.
        defaults: By the names of libpq.

    Raises:
        OperationalError: Its timeout is not a number, which libpq would refuse in these words.
    """
    said = _said(conninfo)
    try:
        int(float(said.get("connect_timeout", 0)))
    except (ValueError, OverflowError):
        wrong = said["connect_timeout"]
        words = f'invalid integer value "{wrong}" for connection option "connect_timeout"'
        raise psycopg.OperationalError(words) from None
    return {name: said[name] for name in DRIVERS if name in said} | {
        name: value for name, value in defaults.items() if name not in said
    }


def _said(conninfo: str) -> dict[str, str]:
    """All that libpq finds about a connection, and where; nothing is connected.

    It tells so only of a connection that it began, which this value prevents.
    """
    asked = PGconn.connect_start(make_conninfo(conninfo, target_session_attrs="none").encode())
    try:
        return {each.keyword.decode(): each.val.decode() for each in asked.info if each.val}
    finally:
        asked.finish()
