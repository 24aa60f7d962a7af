"""Settings of the gateway: `[gateway]` of the settings file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from dama.config.table import Table
from dama.gateway.own_aliases import Route, read_aliases
from dama.gateway.own_users import check_user_header, read_users

KEYS = (
    "url",
    "host",
    "port",
    "tokens",
    "allowed_hosts",
    "origins",
    "trusted_proxies",
    "user_header",
    "proxy_secret_file",
    "users",
    "body_limit",
    "upload_limit",
    "rate_limit",
    "rate_window",
    "any_method",
    "undeclared_commands",
    "before_call",
    "after_call",
    "aliases",
    "whitelist",
    "blacklist",
    "mapping_policy",
    "environment_path",
)
MIB = 1024 * 1024
NAMES = 'patterns of names of actions, such as ["flights.*"]'
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s@?#]+|\*")
CODE = "It is code: write before_call, after_call or an action of a service."
PROXY = "A proxy before the gateway does that: see docs/howto/gateway.md."
# What moleculer-web has and this gateway has not, or by another name.
HINTS = {
    "autoAliases": "The routes of all actions with rest are always there.",
    "assets": "Static files are for the proxy before it.",
    "authentication": "Tokens say who calls: `dama token add`.",
    "authorization": "Scopes of actions and tokens say who may call what.",
    "bodyParsers": "JSON and forms are read; body_limit says how long they may be.",
    "callOptions": "An action has timeout, retries and fallback in its definition.",
    "camelCaseNames": "Names are written as they are; aliases give an action other paths.",
    "cors": "Write origins: whose pages may call.",
    "etag": "Answers to GET always have one.",
    "http2": PROXY,
    "https": PROXY,
    "ip": "Write host.",
    "mappingPolicy": "Write mapping_policy.",
    "mergeParams": "Params of body, query and path are always merged.",
    "onAfterCall": CODE,
    "onBeforeCall": CODE,
    "onError": CODE,
    "path": "Everything is below /api; a proxy may give it another beginning.",
    "rateLimit": "Write rate_limit and rate_window.",
    "routes": "There is one route, /api: write its aliases and whitelist into [gateway].",
    "use": CODE,
}


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
        user_header: The header in which a trusted proxy names the user of the pages whom it has
            logged in; from anybody else it is refused. Without it, users log in with a token.
        proxy_secret_file: A file with the secret that the proxy sends as `X-Dama-Proxy`; needed
            with a proxy on loopback, where any account of the machine could name a user.
        users: What the users may do that the proxy names.
        body_limit: Bytes that a body may have, or a string such as "1MiB".
        upload_limit: Bytes that an uploaded file may have, or a string such as "10GiB".
        rate_limit: Requests of one client in a window; 0 for no limit.
        rate_window: Seconds that are counted together.
        before_call: A function of the project, as `my_project.hooks:before`, which is called with
            each call and its request before it is made.
        after_call: The same with the call, its request and the result; what it returns is sent.
        undeclared_commands: A token with the scope admin, for all services, may have any command
            run as the user of this process.
        any_method: `/api/<service>/<action>` takes any method, as that of moleculer-web does.
        aliases: Routes of the gateway itself: the method, empty for all; the path below `/api`; and
            the action.
        whitelist: Patterns of the names of actions that are served; None for all.
        blacklist: Patterns of those that are not.
        environment_path: A further beginning of paths that stands for `/NAME` of an environment, as
            `/dama-admin/:pgEnv`.
        mapping_policy: `all`, or `restrict`: only routes are served, no action by its name.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tokens: bool = True
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    user_header: str | None = None
    proxy_secret_file: str | None = None
    users: Mapping[str, str] = field(default_factory=dict[str, str])
    body_limit: int = MIB
    upload_limit: int = 10 * 1024 * MIB
    rate_limit: int = 0
    rate_window: float = 60.0
    any_method: bool = False
    undeclared_commands: bool = False
    before_call: str | None = None
    after_call: str | None = None
    aliases: tuple[Route, ...] = ()
    whitelist: tuple[str, ...] | None = None
    blacklist: tuple[str, ...] = ()
    mapping_policy: str = "all"
    environment_path: str | None = None

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
    table = Table(f"{source}: gateway", values, KEYS, HINTS)
    own_port = table.number("port", 0, 65535)
    defaults = GatewaySettings()
    settings = GatewaySettings(
        host=host or table.text("host", defaults.host),
        port=port if port is not None else defaults.port if own_port is None else own_port,
        tokens=table.flag("tokens", default=True),
        allowed_hosts=table.texts("allowed_hosts"),
        origins=_origins(table),
        trusted_proxies=table.texts("trusted_proxies"),
        user_header=table.text("user_header"),
        proxy_secret_file=table.text("proxy_secret_file"),
        users=read_users(table),
        body_limit=table.size("body_limit") or defaults.body_limit,
        upload_limit=table.size("upload_limit") or defaults.upload_limit,
        rate_limit=table.number("rate_limit", 0) or 0,
        rate_window=_window(table, defaults.rate_window),
        any_method=table.flag("any_method"),
        undeclared_commands=table.flag("undeclared_commands"),
        before_call=table.text("before_call"),
        after_call=table.text("after_call"),
        aliases=read_aliases(table),
        whitelist=table.texts("whitelist", NAMES) if table.has("whitelist") else None,
        blacklist=table.texts("blacklist", NAMES),
        mapping_policy=_mapping_policy(table),
        environment_path=table.text("environment_path"),
    )
    check_user_header(table, settings.trusted_proxies, settings.host)
    return settings


def _window(table: Table, default: float) -> float:
    wanted = "a number of seconds, more than 0"
    seconds = table.value("rate_window", (int, float), wanted, default)
    return float(seconds) if seconds > 0 else table.wrong("rate_window", wanted)


def _origins(table: Table) -> tuple[str, ...]:
    wanted = 'origins such as ["https://pages.example.org"], as a browser sends them, or ["*"]'
    found = table.texts("origins", wanted)
    return found if all(map(_ORIGIN.fullmatch, found)) else table.wrong("origins", wanted)


def _mapping_policy(table: Table) -> str:
    found = table.text("mapping_policy", "all")
    known = ("all", "restrict")
    return found if found in known else table.wrong("mapping_policy", '"all" or "restrict"')
