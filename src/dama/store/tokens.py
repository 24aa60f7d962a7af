"""Tokens: who may call over HTTP. A secret is shown once, and only its digest is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dama.store.errors import TokenExistsError, UnknownTokenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.store.database import Database

PREFIX = "dama"
SCOPES = ("viewer", "operator", "admin")


@dataclass(frozen=True)
class Identity:
    """Who calls.

    Attributes:
        name: Of the token.
        scope: viewer reads, operator starts and changes, admin may do all.
        services: Only actions and tasks of these; None for all.
    """

    name: str
    scope: str
    services: tuple[str, ...] | None = None

    def may(self, scope: str) -> bool:
        """Whether its scope is as wide as another."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


@dataclass(frozen=True)
class TokenRow:
    """A token, without its secret.

    Attributes:
        token_id: The part of it that is no secret.
        name: What it is called.
        scope: viewer, operator or admin.
        services: Only these; None for all.
        created_at: When.
        created_by: By whom.
        expires_at: When it ends; None for never.
        revoked_at: When it was revoked; None when it was not.
    """

    token_id: str
    name: str
    scope: str
    services: list[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None


class Tokens:
    """The tokens of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        name: str,
        scope: str,
        created_by: str,
        *,
        services: Sequence[str] | None = None,
        lifetime: float | None = None,
    ) -> str:
        """Make a token; gives its text, which nobody can read again.

        Raises:
            TokenExistsError: One has this name, and was not revoked.
        """
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        params = {
            "token_id": token_id,
            "name": name,
            "digest": _digest(secret),
            "scope": scope,
            "services": None if services is None else list(services),
            "created_by": created_by,
            "lifetime": lifetime,
        }
        if not await self._database.rows("add_token", params, again=False):
            raise TokenExistsError(
                f"There is a token {name!r} already.",
                f"Take another name, or revoke it: dama token revoke {name}",
            )
        return f"{PREFIX}_{token_id}_{secret}"

    async def find(self, text: str) -> Identity | None:
        """Who shows a token; None when it is not good."""
        prefix, _, rest = text.partition("_")
        token_id, _, secret = rest.partition("_")
        if prefix != PREFIX or not token_id or not text.isascii():
            return None
        rows = await self._database.rows("read_token", {"token_id": token_id})
        # Compared in any case, and in constant time: how long it takes tells nothing.
        known = bytes(rows[0][1]) if rows else bytes(32)
        is_good = hmac.compare_digest(known, _digest(secret))
        if not rows or not is_good:
            return None
        name, _, scope, services = rows[0]
        return Identity(name, scope, None if services is None else tuple(services))

    async def all(self) -> list[TokenRow]:
        """All tokens, the newest first, revoked ones too."""
        return [TokenRow(*row) for row in await self._database.rows("list_tokens")]

    async def revoke(self, name: str) -> None:
        """Let a token be good no more.

        Raises:
            UnknownTokenError: No unrevoked one has this name.
        """
        if not await self._database.rows("revoke_token", {"name": name}, again=False):
            raise UnknownTokenError(
                f"There is no token {name!r} that could be revoked.", "`dama token ls` lists all."
            )


def _digest(secret: str) -> bytes:
    """The secret has 256 bits of chance, so a plain hash is as good as a slow one."""
    return hashlib.sha256(secret.encode()).digest()
