"""Sessions: browsers that have shown a token once, and who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dama.app import App
    from dama.store.tokens import Identity


async def find(app: App, secret: str) -> Identity | None:
    """Whose session has this secret; None when there is none, or it has ended."""
    return await app.store.browser_sessions.find(secret) if secret else None


async def form_secret(app: App, user: str) -> str:
    """The secret of the forms of a user that a proxy has logged in."""
    return await app.store.tokens.secret_of(user)


async def count_try(app: App, client: str, seconds: float) -> tuple[int, float]:
    """Count a login of a client: how many it tried, and the seconds until they are forgotten."""
    return await app.store.tokens.count_request(f"login {client}", seconds)


async def begin(app: App, token: str) -> str | None:
    """Begin a session with a token: its secret; None when the token is not valid."""
    if await app.store.tokens.find(token) is None:
        return None
    return await app.store.browser_sessions.add(token.split("_")[1])


async def ticket(app: App, token: str) -> str | None:
    """A ticket that begins one session within a minute; None when the token is not valid."""
    if await app.store.tokens.find(token) is None:
        return None
    return await app.store.browser_sessions.add_ticket(token.split("_")[1])


async def redeem(app: App, text: str) -> str | None:
    """Begin a session with a ticket: its secret; None when it was used or is too old."""
    return await app.store.browser_sessions.redeem(text)


async def end(app: App, secret: str) -> None:
    """End the session with this secret."""
    await app.store.browser_sessions.remove(secret)
