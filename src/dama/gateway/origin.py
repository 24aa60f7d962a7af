"""Origins: what a page of somebody else makes a browser ask is refused.

A page may let its own name lead to this server, so the name that a request calls the server by has
to be one of its own. Pages of other origins may call when they are listed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.config.table import shown
from dama.gateway.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.gateway.settings import GatewaySettings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"
MOST_HOSTS = 1000
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._~-]+))(?::[0-9]{1,5})?")


class Origins:
    """Where requests may come from.

    Args:
        settings: The names of this server, and whose pages may call.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._allowed = re.compile(pattern_of(settings.origins))
        self._allows_any = ANY in settings.origins
        self._names = _names_of(settings)
        self._known: set[str] = set()

    def check(self, headers: Mapping[str, str], *, is_visit: bool = False) -> None:
        """Refuse a request that a page of somebody else makes a browser send.

        Args:
            headers: Of the request.
            is_visit: A person follows a link to a page: that may be anywhere.

        Raises:
            RequestError: The request calls this server by a name that is not its own, or by
                none, or comes from a page of another origin.
        """
        host = headers.get("host", "")
        self._check_host(host)
        origin = headers.get("origin")
        is_own = origin is None or origin.partition("://")[2] == host
        is_cross_site = headers.get("sec-fetch-site") == "cross-site"
        if self._allows_any or (is_own and (is_visit or not is_cross_site)):
            return
        if origin is not None and self._allowed.fullmatch(origin):
            return
        raise RequestError(
            "ORIGIN_NOT_ALLOWED",
            f"The request comes from a page of {shown(origin) if origin else 'another site'}.",
            "Name it in origins of [gateway] if that is right.",
        )

    def _check_host(self, told: str) -> None:
        if told in self._known:
            return
        found = _HOST.fullmatch(told.lower())
        host = (found["v6"] or found["name"]) if found else ""
        if not host:
            raise RequestError(
                "WRONG_HOST",
                f"The header Host is {shown(told)}, which is not a name of a server.",
                "Send the name or the address, and the port.",
            )
        if self._names is not None and host not in self._names:
            raise RequestError(
                "WRONG_HOST",
                f"This server is not called {host!r}.",
                "Name it in allowed_hosts of [gateway] if it is.",
            )
        if len(self._known) < MOST_HOSTS:
            self._known.add(told)


def pattern_of(origins: Sequence[str]) -> str:
    """The origins as a regular expression; a star in one is any part of a name."""
    return "|".join(re.escape(each).replace(r"\*", "[^/]*") for each in origins) or r"(?!)"


def _names_of(settings: GatewaySettings) -> frozenset[str] | None:
    """The names that requests may call this server; None for any."""
    names = {*settings.allowed_hosts, settings.host}
    if settings.is_loopback:
        return frozenset(names | LOOPBACK_NAMES)
    # Without a list tokens are needed all the same, and no page of somebody else has one.
    return frozenset(names) if settings.allowed_hosts else None
