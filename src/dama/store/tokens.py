"""Tokens: who may call over HTTP. A secret is shown once, and only its digest is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dama.store.acts import kept
from dama.store.errors import TokenExistsError, UnknownTokenError
from dama.store.items import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.event import Event
    from dama.store.database import Database

PREFIX = "dama"
RUN = "run"
# No longer than any that was made: what is longer reaches no database.
_LENGTHS_OF_ID, _LENGTHS = range(1, 13), range(1, 65)
SCOPES = ("viewer", "operator", "admin")


_RUN_TOKEN = re.compile(r"run_([0-9]{1,18})_([0-9]{1,9})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Identity:
    """Who calls.

    Attributes:
        name: Of the token.
        scope: viewer reads, operator starts and changes, admin may do all.
        services: Only actions and tasks of these; None for all.
        run: The context and the epoch of a program that calls for its own run; else None.
    """

    name: str
    scope: str
    services: tuple[str, ...] | None = None
    run: tuple[int, int] | None = None

    def may(self, scope: str) -> bool:
        """Whether its scope is as wide as another."""
        return self.run is None and SCOPES.index(self.scope) >= SCOPES.index(scope)

    @property
    def may_run_commands(self) -> bool:
        """Whether it may have undeclared commands run, where a setting allows that at all."""
        return self.may("admin") and self.services is None


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
        self._run_secret: bytes | None = None

    async def add(
        self,
        name: str,
        scope: str,
        created_by: str,
        *,
        services: Sequence[str] | None = None,
        lifetime: float | None = None,
        act: Event | None = None,
    ) -> str:
        """Make a token; returns its text, which nobody can read again.

        Raises:
            InvalidValueError: The name cannot be kept.
            TokenExistsError: One has this name, and was not revoked.
        """
        check_name(name, "a token")
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        params = {
            "token_id": token_id,
            "name": name,
            "digest": _digest(secret),
            "scope": scope,
            "services": None if services is None else list(services),
            "created_by": created_by,
            "lifetime": lifetime,
            "act": kept(act),
        }
        if not await self._database.rows("add_token", params, again=False):
            raise TokenExistsError(
                f"There is a token {name!r} already.",
                f"Take another name, or revoke it: dama token revoke {name}",
            )
        return f"{PREFIX}_{token_id}_{secret}"

    async def renew(self, name: str, created_by: str, text: str | None) -> str:
        """Make the token of a home valid in this database; returns its text.

        Args:
            name: What it is called; an earlier one of this name is revoked.
            created_by: By whom.
            text: The one that the home has. Another one is made when this database has revoked it,
                or knows another secret under its id.
        """
        token_id, secret = _parts_of(text) or ("", "")
        if not secret or token_id in {row.token_id for row in await self.all()}:
            token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        await self._database.rows("revoke_token", {"name": name, "act": None}, again=False)
        params = {
            "token_id": token_id,
            "name": name,
            "digest": _digest(secret),
            "scope": "admin",
            "services": None,
            "created_by": created_by,
            "lifetime": None,
            "act": None,
        }
        await self._database.rows("add_token", params, again=False)
        return f"{PREFIX}_{token_id}_{secret}"

    async def is_running(self, context_id: int, epoch: int) -> bool:
        """Whether a run that has a token is still the one of its context."""
        params = {"context_id": context_id, "epoch": epoch}
        return bool(await self._database.rows("is_running", params))

    async def find(self, text: str) -> Identity | None:
        """Who shows a token; None when it is invalid."""
        found = _parts_of(text)
        if found is None:
            return None
        token_id, secret = found
        rows = await self._database.rows("read_token", {"token_id": token_id})
        name, digest, scope, services = rows[0] if rows else (None, bytes(32), None, None)
        # Compared in any case, and in constant time: how long it takes tells nothing.
        is_right = hmac.compare_digest(bytes(digest), _digest(secret))
        if name is None or scope is None or not is_right:
            return None
        return Identity(name, scope, None if services is None else tuple(services))

    async def of_run(self, context_id: int, epoch: int) -> str:
        """The token of a run, for the program that it starts: it writes into its own context."""
        return f"{RUN}_{context_id}_{epoch}_{await self._signature(context_id, epoch)}"

    async def find_run(self, text: str) -> Identity | None:
        """The run that shows a token; None when it is invalid.

        Whether the run is still the one of its context the database says when it writes.
        """
        found = _RUN_TOKEN.fullmatch(text)
        if found is None:
            return None
        context_id, epoch = int(found[1]), int(found[2])
        signature = await self._signature(context_id, epoch)
        if not hmac.compare_digest(signature, found[3]):
            return None
        return Identity(f"run {context_id}.{epoch}", RUN, (), run=(context_id, epoch))

    async def secret_of(self, user: str) -> str:
        """A secret of a user whom a proxy names: forms of the pages carry a digest of it."""
        return await self._sign(f"user {user}")

    async def _signature(self, context_id: int, epoch: int) -> str:
        return await self._sign(f"{context_id}.{epoch}")

    async def _sign(self, message: str) -> str:
        if self._run_secret is None:
            ((secret,),) = await self._database.rows("read_run_secret")
            self._run_secret = bytes(secret)
        return hmac.new(self._run_secret, message.encode(), hashlib.sha256).hexdigest()

    async def count_request(self, client: str, seconds: float) -> tuple[int, float]:
        """Count a request of a client, over all copies of the gateway.

        Returns:
            How many there were in the window of so many seconds, and how many are left of it.
        """
        params = {"client": client, "seconds": seconds}
        ((count, left),) = await self._database.rows("count_request", params, again=False)
        if count == 1:
            await self._database.rows("forget_requests", again=False)
        return count, left

    async def all(self) -> list[TokenRow]:
        """All tokens, the newest first, revoked ones too."""
        return [TokenRow(*row) for row in await self._database.rows("list_tokens")]

    async def revoke(self, name: str, *, act: Event | None = None) -> None:
        """Let a token be good no more.

        Raises:
            UnknownTokenError: No unrevoked one has this name.
        """
        if not await self._database.rows(
            "revoke_token", {"name": name, "act": kept(act)}, again=False
        ):
            raise UnknownTokenError(
                f"There is no token {name!r} that could be revoked.", "`dama token ls` lists all."
            )


def _parts_of(text: str | None) -> tuple[str, str] | None:
    """The id and the secret of a token; None when it is none."""
    prefix, _, rest = (text or "").partition("_")
    token_id, _, secret = rest.partition("_")
    is_token = prefix == PREFIX and len(token_id) in _LENGTHS_OF_ID and len(secret) in _LENGTHS
    return (token_id, secret) if is_token and rest.isascii() and rest.isprintable() else None


def _digest(secret: str) -> bytes:
    """The secret has 256 bits of chance, so a plain hash is as good as a slow one."""
    return hashlib.sha256(secret.encode()).digest()
