"""Opening: the address with which the user of a home begins a session in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

from dama.config.private_file import read_private
from dama.errors import UnavailableError
from dama.gateway.own_token import ADDRESS, NAME
from dama.operations import sessions

if TYPE_CHECKING:
    from dama.app import App
    from dama.gateway.settings import GatewaySettings

PATIENCE_SECONDS = 5.0


class NoGatewayError(UnavailableError):
    """No gateway of this home answers."""

    code = "NO_GATEWAY"


def address_of(app: App, environment: str | None = None) -> str:
    """Where the gateway of a home is, which answers there.

    Args:
        app: Whose home it is.
        environment: Which one, where the gateway serves several; others know no such address.

    Raises:
        NoGatewayError: None was started in this home, or it does not answer.
    """
    address = (read_private(app.home / ADDRESS) or b"").decode(errors="replace").strip()
    try:
        if not address.startswith("http://"):
            raise NoGatewayError("No gateway was started in this home.", "Start one: dama up")
        with urlopen(f"{address}/health", timeout=PATIENCE_SECONDS):  # noqa: S310 - it is http
            pass
        return f"{address}/{environment}" if environment and _has(address, environment) else address
    except (OSError, ValueError) as error:
        raise NoGatewayError(
            f"No gateway answers at {address}, where the latest of this home was.",
            "Start one: dama up",
        ) from error


def _has(address: str, environment: str) -> bool:
    """Whether a gateway serves several environments, and this one now."""
    try:
        with urlopen(f"{address}/{environment}/health", timeout=PATIENCE_SECONDS):  # noqa: S310
            return True
    except HTTPError:
        return False


async def address_to_open(app: App, settings: GatewaySettings, address: str, path: str) -> str:
    """The address of a page; where tokens are needed, one that logs in once, within a minute.

    Raises:
        NoGatewayError: The token of this user is not there, or is invalid in this database.
    """
    if not settings.needs_tokens:
        return f"{address}{path}"
    text = (read_private(app.home / NAME) or b"").decode(errors="replace").strip()
    ticket = await sessions.ticket(app, text)
    if ticket is None:
        raise NoGatewayError(
            f"{app.home / NAME} has no token that is valid in this database.",
            "A gateway makes one at its start: dama up",
        )
    return f"{address}/login?ticket={ticket}&next={quote(path, safe='')}"
