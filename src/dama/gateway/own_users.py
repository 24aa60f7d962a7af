"""Users of the gateway itself: `[gateway.users]`, what those may do whom a proxy has logged in."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.config.table import Table

NOBODY = "none"
SCOPES = ("viewer", "operator", "admin", NOBODY)
OTHERS = ("authorization", "cookie", "host", "origin", "x-dama-proxy")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def read_users(table: Table) -> Mapping[str, str]:
    """The scopes of users, by names and patterns.

    Raises:
        InvalidDefinitionError: One is none; the message names it.
    """
    wanted = 'a table such as {"ada" = "admin", "*@example.org" = "viewer"}'
    users: dict[str, str] = {}
    for name, scope in table.entries("users", wanted).items():
        if scope not in SCOPES:
            raise InvalidDefinitionError(
                f"{table.where}.users.{name!r} is {scope!r}: expected one of {', '.join(SCOPES)}."
            )
        users[name] = str(scope)
    return users


def check_user_header(table: Table, proxies: Sequence[str], host: str) -> None:
    """Refuse settings by which somebody could call as anybody.

    Args:
        table: `[gateway]`.
        proxies: Who is trusted.
        host: Where the gateway listens.

    Raises:
        InvalidDefinitionError: The message names the key.
    """
    if not table.has("user_header"):
        for key in ("users", "proxy_secret_file"):
            if table.has(key):
                table.wrong(
                    key, "user_header as well: the header in which the proxy names the user"
                )
        return
    header: str = table.text("user_header")
    if not _HEADER.fullmatch(header) or header.lower() in OTHERS:
        table.wrong("user_header", "the name of a header of its own, such as X-Remote-User")
    wanted = "addresses of the proxies that may name users, such as 10.0.0.5 or 10.0.0.0/24"
    try:
        networks = [ip_network(each) for each in proxies]
    except ValueError:
        table.wrong("trusted_proxies", wanted)
    if not networks:
        table.wrong("trusted_proxies", wanted)
    near = [*LOOPBACK, *_network_of(host)]
    if any(a.overlaps(b) for a in networks for b in near) and not table.has("proxy_secret_file"):
        table.wrong(
            "proxy_secret_file",
            "a file with a secret, since every account of this machine has the proxy's address",
            "Let the proxy send it: proxy_set_header X-Dama-Proxy SECRET;",
        )


def _network_of(host: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(host)]
    except ValueError:
        return []
