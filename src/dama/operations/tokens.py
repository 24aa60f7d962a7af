"""Tokens: who may call over HTTP. Making and revoking one are acts that are kept."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from dama.operations.acts import act
from dama.store.errors import UnknownTokenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.app import App
    from dama.shapes import Json
    from dama.store.browser_sessions import SessionRow
    from dama.store.tokens import TokenRow


async def add(
    app: App,
    name: str,
    scope: str,
    *,
    services: Sequence[str] | None = None,
    lifetime: float | None = None,
    by: Mapping[str, Json] | None = None,
) -> str:
    """Make a token; returns its text, which nobody can read again.

    Args:
        app: Where it is valid.
        name: What it is called.
        scope: viewer, operator or admin.
        services: Only for these; None for all.
        lifetime: Seconds until it ends; None for never.
        by: Who does it, and why; by default the user of this process.

    Raises:
        TokenExistsError: One has this name, and was not revoked.
    """
    made = {"token": name, "scope": scope, "services": list(services) if services else None}
    creator = str(by["user"]) if by and "user" in by else getpass.getuser()
    done = act("token/added", made, by)
    return await app.store.tokens.add(
        name, scope, creator, services=services, lifetime=lifetime, act=done
    )


async def revoke(app: App, name: str, by: Mapping[str, Json] | None = None) -> None:
    """Let a token be valid no more.

    Raises:
        UnknownTokenError: No unrevoked one has this name.
    """
    await app.store.tokens.revoke(name, act=act("token/revoked", {"token": name}, by))


async def all_of(app: App) -> list[TokenRow]:
    """All tokens, the newest first, revoked ones too."""
    return await app.store.tokens.all()


async def sessions(app: App) -> list[SessionRow]:
    """The browsers that have shown a token, the latest seen first."""
    return await app.store.browser_sessions.all()


async def end_session(app: App, session: str, by: Mapping[str, Json] | None = None) -> None:
    """Let a browser log in again.

    Raises:
        UnknownTokenError: There is no such session.
    """
    done = act("session/ended", {"session": session}, by)
    if not await app.store.browser_sessions.end(session, done):
        raise UnknownTokenError(f"There is no session {session[:40]!r}.", "It may have ended.")
