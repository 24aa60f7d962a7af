"""Tokens: who may call over HTTP. Making and revoking one are acts that are kept."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

from dama.operations.acts import act

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.app import App


async def add(
    app: App,
    name: str,
    scope: str,
    *,
    services: Sequence[str] | None = None,
    lifetime: float | None = None,
    by: Mapping[str, Any] | None = None,
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


async def revoke(app: App, name: str, by: Mapping[str, Any] | None = None) -> None:
    """Let a token be valid no more.

    Raises:
        UnknownTokenError: No unrevoked one has this name.
    """
    await app.store.tokens.revoke(name, act=act("token/revoked", {"token": name}, by))
