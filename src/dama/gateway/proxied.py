"""Proxied users: whom a proxy before the gateway has logged in, and what they may do.

A proxy that does a single sign-on names the user in a header. The header counts only in a request
that comes from one of `trusted_proxies` itself; from anywhere else it is refused. On loopback every
account of the machine has the address of the proxy, so there the proxy also shows a secret.
"""

from __future__ import annotations

import hmac
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from dama.config.private_file import read_private
from dama.errors import InvalidDefinitionError
from dama.gateway.errors import RequestError
from dama.gateway.own_users import NOBODY
from dama.store.tokens import Identity

if TYPE_CHECKING:
    from starlette.requests import Request

    from dama.gateway.settings import GatewaySettings

PEER = "dama.peer"
SECRET_HEADER = "x-dama-proxy"  # noqa: S105 - its name, not a secret
LONGEST_NAME = 200


class ProxiedUsers:
    """Says whom a trusted proxy names.

    Args:
        settings: The header, who may send it, and the scopes of users.

    Raises:
        InvalidDefinitionError: The secret of the proxy is not there.
        PrivateFileError: Somebody else may have read it.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._header = (settings.user_header or "").lower().encode()
        self._users = settings.users
        self._proxies = [ip_network(each) for each in settings.trusted_proxies if self._header]
        self._secret = _secret(settings.proxy_secret_file)

    def identify(self, request: Request) -> Identity | None:
        """The user that the proxy names; None when no user is named.

        Raises:
            RequestError: Somebody else than a trusted proxy names one, the proxy names several, or
                the user may not see the pages.
        """
        if not self._header:
            return None
        names = [value for name, value in request.scope["headers"] if name == self._header]
        if not any(names):
            return None
        if not self._is_trusted(request):
            raise RequestError(
                "FORBIDDEN",
                "A user is named by a header, and not by a trusted proxy.",
                f"Only trusted_proxies of [gateway] may send {self._header.decode()}.",
            )
        name = _name(names)
        scope = self._scope(name)
        if scope == NOBODY:
            raise RequestError(
                "FORBIDDEN",
                f"The user {name} may not see these pages.",
                '[gateway.users] says who may: `name = "viewer"`.',
            )
        return Identity(name, scope)

    def _is_trusted(self, request: Request) -> bool:
        try:
            peer = ip_address(request.scope.get(PEER, ""))
        except ValueError:
            return False
        shown = b"".join(v for n, v in request.scope["headers"] if n == SECRET_HEADER.encode())
        peer = getattr(peer, "ipv4_mapped", None) or peer
        is_known = not self._secret or hmac.compare_digest(shown, self._secret)
        return is_known and any(peer in network for network in self._proxies)

    def _scope(self, name: str) -> str:
        if name in self._users:
            return self._users[name]
        fitting = (scope for pattern, scope in self._users.items() if fnmatchcase(name, pattern))
        return next(fitting, NOBODY)


def _secret(file: str | None) -> bytes:
    if file is None:
        return b""
    found = (read_private(Path(file).expanduser()) or b"").strip()
    if not found:
        raise InvalidDefinitionError(
            f"proxy_secret_file of [gateway] is {file}, which is missing or empty.",
            "Write a secret into it (mode 0600), and into the settings of the proxy.",
        )
    return found


def _name(names: list[bytes]) -> str:
    """The one name in the headers.

    Raises:
        RequestError: There are several, or it cannot be a name.
    """
    try:
        (found,) = {each.decode() for each in names}
    except ValueError as error:  # of UTF-8, or of how many there are
        raise RequestError("BAD_REQUEST", "The proxy does not name one user.") from error
    if not found.isprintable() or len(found) > LONGEST_NAME:
        raise RequestError("BAD_REQUEST", "What the proxy names cannot be a user.")
    return found.strip()
