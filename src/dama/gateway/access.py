"""Access: who calls, what they may do, and how often."""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING

from dama.gateway.errors import RequestError
from dama.store.tokens import RUN, Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.gateway.settings import GatewaySettings
    from dama.store.tokens import Tokens

REMEMBER_SECONDS = 1.0
REMEMBERED = 10_000
ANYBODY = Identity("anybody", "admin")


class Access:
    """Says who calls.

    Args:
        tokens: Those that are good.
        settings: Whether one is needed.
    """

    def __init__(self, tokens: Tokens, settings: GatewaySettings) -> None:
        self._tokens = tokens
        self._settings = settings
        self._known: dict[str, tuple[Identity, float]] = {}

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Who makes a request with these headers.

        A token that was found good is so for a second: a revoked one no longer than that.

        Raises:
            RequestError: It shows no token and needs one, or an invalid one.
        """
        header = headers.get("authorization")
        if header is None:
            if self._settings.needs_tokens:
                raise RequestError(
                    "NO_TOKEN",
                    "The request has no token.",
                    "Send the header Authorization: Bearer TOKEN. That of the gateway's user is in "
                    "gateway.token of DAMA_HOME; `dama token add` makes others.",
                )
            return ANYBODY
        kind, _, text = header.partition(" ")
        found = await self._find(text.strip()) if kind.lower() == "bearer" else None
        if found is None:
            raise RequestError(
                "INVALID_TOKEN",
                "The token is invalid: unknown, expired or revoked.",
                "`dama token ls` lists the valid ones.",
            )
        return found

    async def _find(self, text: str) -> Identity | None:
        now = monotonic()
        known = self._known.get(text)
        if known and known[1] > now:
            return known[0]
        is_run = text.startswith(f"{RUN}_")
        found = await (self._tokens.find_run(text) if is_run else self._tokens.find(text))
        if found is None:
            self._known.pop(text, None)
            return None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[text] = (found, now + REMEMBER_SECONDS)
        return found


def demand(identity: Identity, scope: str, service: str, what: str) -> None:
    """Refuse what a token does not allow.

    Raises:
        RequestError: Its scope is not as wide, or it is for other services.
    """
    if not identity.may(scope):
        raise RequestError(
            "FORBIDDEN",
            f"{what} needs a token with the scope {scope}; that of {identity.name} is "
            f"{identity.scope}.",
            data={"needed": scope, "scope": identity.scope},
        )
    if identity.services is not None and service not in identity.services:
        raise RequestError(
            "FORBIDDEN",
            f"{what} is of the service {service}, and the token of {identity.name} is for "
            f"{', '.join(identity.services) or 'none'}.",
            data={"service": service, "services": list(identity.services)},
        )


class RateLimit:
    """Counts the requests of each client, over all copies of the gateway.

    Args:
        tokens: Keeps the counts.
        limit: How many are allowed in a window; 0 for any number.
        window: Its seconds.
    """

    def __init__(self, tokens: Tokens, limit: int, window: float) -> None:
        self._tokens = tokens
        self._limit = limit
        self._window = window

    async def count(self, client: str) -> dict[str, str]:
        """Count a request; return the headers that tell how many are left.

        Raises:
            RequestError: None are.
        """
        if not self._limit:
            return {}
        count, left = await self._tokens.count_request(client, self._window)
        wait = max(math.ceil(left), 1)
        if count > self._limit:
            raise RequestError(
                "RATE_LIMIT_EXCEEDED",
                f"{self._limit} requests in {self._window:g} s are allowed.",
                f"Ask again in {wait} s.",
                data={"limit": self._limit, "retry_after": wait},
            )
        return {
            "X-Rate-Limit-Limit": str(self._limit),
            "X-Rate-Limit-Remaining": str(self._limit - count),
            "X-Rate-Limit-Reset": str(wait),
        }
