"""Settings of the gateway: `[gateway]` of the file of settings."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from dama.config.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = (
    "url",
    "host",
    "port",
    "tokens",
    "allowed_hosts",
    "origins",
    "trusted_proxies",
    "body_limit",
    "upload_limit",
    "rate_limit",
    "rate_window",
    "any_method",
    "undeclared_commands",
    "before_call",
    "after_call",
)
MIB = 1024 * 1024


@dataclass(frozen=True)
class GatewaySettings:
    """How HTTP is served.

    Attributes:
        host: Where it listens. Beyond loopback it wants tokens.
        port: There; 0 for any that is free.
        tokens: Every request needs a token. False only on loopback, where other accounts of the
            machine may call then.
        allowed_hosts: Names that requests may call this server; others are refused, since a page
            somewhere could let its own name lead here.
        origins: Pages of these origins may call, as `https://etl.example.org`.
        trusted_proxies: Addresses whose `X-Forwarded-*` headers are believed.
        body_limit: Bytes that a body may have.
        upload_limit: Bytes that an uploaded file may have.
        rate_limit: Requests of one client in a window; 0 for no limit.
        rate_window: Seconds that are counted together.
        before_call: A function of the project, as `my_project.hooks:before`, which is called with
            each call and its request before it is made.
        after_call: The same with the call, its request and the result; what it returns is sent.
        undeclared_commands: A token with the scope admin, for all services, may have any command
            run as the user of this process.
        any_method: `/api/<service>/<action>` takes any method, as that of moleculer-web does.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tokens: bool = True
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    body_limit: int = MIB
    upload_limit: int = 10 * 1024 * MIB
    rate_limit: int = 0
    rate_window: float = 60.0
    any_method: bool = False
    undeclared_commands: bool = False
    before_call: str | None = None
    after_call: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def needs_tokens(self) -> bool:
        """Whether every request needs a token."""
        return self.tokens or not self.is_loopback


def read_settings(
    values: Mapping[str, object], source: str, *, host: str | None, port: int | None
) -> GatewaySettings:
    """Read the settings.

    Args:
        values: As the file has them.
        source: The name of the file, for messages.
        host: Instead of that of the file.
        port: Instead of that of the file.

    Raises:
        InvalidDefinitionError: A key is unknown or wrong; the message names it.
    """
    table = Table(f"{source}: gateway", values, KEYS)
    own_port = table.number("port", 0, 65535)
    defaults = GatewaySettings()
    return GatewaySettings(
        host=host or table.text("host", defaults.host),
        port=port if port is not None else defaults.port if own_port is None else own_port,
        tokens=table.flag("tokens", default=True),
        allowed_hosts=table.texts("allowed_hosts"),
        origins=table.texts("origins"),
        trusted_proxies=table.texts("trusted_proxies"),
        body_limit=table.size("body_limit") or defaults.body_limit,
        upload_limit=table.size("upload_limit") or defaults.upload_limit,
        rate_limit=table.number("rate_limit", 0) or 0,
        rate_window=_window(table, defaults.rate_window),
        any_method=table.flag("any_method"),
        undeclared_commands=table.flag("undeclared_commands"),
        before_call=table.text("before_call"),
        after_call=table.text("after_call"),
    )


def _window(table: Table, default: float) -> float:
    wanted = "a number of seconds, more than 0"
    seconds = table.value("rate_window", (int, float), wanted, default)
    return float(seconds) if seconds > 0 else table.wrong("rate_window", wanted)
