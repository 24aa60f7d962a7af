"""Tokens and sessions: who may call, whose browsers are logged in, and ending both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama.operations import tokens
from dama.pages.visit import see

if TYPE_CHECKING:
    from starlette.responses import Response

    from dama.pages.visit import Visit


async def show(visit: Visit) -> Response:
    """All tokens and sessions; no secret is among it."""
    visit.demand("admin", "")
    return visit.page(
        "tokens.html",
        tokens=await tokens.all_of(visit.app),
        sessions=await tokens.sessions(visit.app),
    )


async def revoke(visit: Visit) -> Response:
    """Let a token be valid no more; its sessions end with it."""
    visit.demand("admin", "")
    await tokens.revoke(visit.app, visit.parts["name"], visit.by())
    return see("/tokens")


async def end_session(visit: Visit) -> Response:
    """Let a browser log in again."""
    visit.demand("admin", "")
    await tokens.end_session(visit.app, visit.parts["name"], visit.by())
    return see("/tokens")
