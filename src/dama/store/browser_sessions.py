"""Browser sessions: browsers that have shown a token. Of a secret only its digest is kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime  # noqa: TC003 - of a named tuple
from typing import TYPE_CHECKING, NamedTuple

from dama.store.acts import kept
from dama.store.tokens import Identity

if TYPE_CHECKING:
    from dama.domain.event import Event
    from dama.store.database import Database

IDLE_SECONDS = 12 * 3600.0
LONGEST_SECONDS = 30 * 24 * 3600.0
TICKET_SECONDS = 60.0
MOST_LISTED = 1000


class SessionRow(NamedTuple):
    """A browser that has shown a token.

    Attributes:
        id: What it is called; not what the browser shows.
        token: The name of the token.
        scope: Of the token.
        seen_at: When it was used last, within a minute.
        expires_at: When it ends at the latest.
    """

    id: str
    token: str
    scope: str
    seen_at: datetime
    expires_at: datetime


class BrowserSessions:
    """The browser sessions of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, token_id: str) -> str:
        """Begin a session of a token; returns the secret that the browser keeps."""
        return await self._add(token_id, LONGEST_SECONDS, is_ticket=False)

    async def add_ticket(self, token_id: str) -> str:
        """A secret that begins a session once, within a minute: it may stand in an address."""
        return await self._add(token_id, TICKET_SECONDS, is_ticket=True)

    async def _add(self, token_id: str, lifetime: float, *, is_ticket: bool) -> str:
        secret = secrets.token_urlsafe(32)
        params = {
            "digest": _digest(secret),
            "token_id": token_id,
            "is_ticket": is_ticket,
            "lifetime": lifetime,
        }
        await self._database.rows("add_browser_session", params, again=False)
        return secret

    async def find(self, secret: str) -> Identity | None:
        """Who shows a secret; None when it is of no session, or its token was revoked."""
        params = {"digest": _digest(secret), "idle": IDLE_SECONDS}
        rows = await self._database.rows("read_browser_session", params)
        if not rows:
            return None
        _, name, scope, services = rows[0]
        return Identity(name, scope, None if services is None else tuple(services))

    async def redeem(self, ticket: str) -> str | None:
        """Begin a session with a ticket; returns its secret, None when it is invalid."""
        rows = await self._database.rows(
            "take_browser_ticket", {"digest": _digest(ticket)}, again=False
        )
        for (token_id,) in rows:
            return await self.add(token_id)
        return None

    async def all(self) -> list[SessionRow]:
        """Those that are not over, the latest seen first; a thousand at most."""
        params = {"idle": IDLE_SECONDS, "most": MOST_LISTED}
        return [SessionRow(*r) for r in await self._database.rows("list_browser_sessions", params)]

    async def end(self, id: str, act: Event) -> bool:  # noqa: A002 - its name in the list
        """End a session; whether there was one."""
        params = {"id": id, "act": kept(act)}
        return bool(await self._database.rows("end_browser_session", params, again=False))

    async def remove(self, secret: str) -> None:
        """End a session."""
        await self._database.rows(
            "remove_browser_session", {"digest": _digest(secret)}, again=False
        )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
