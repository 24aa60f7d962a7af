"""`[broker]` of the settings file: what a node is called, how it makes calls, what it offers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.broker.options import BrokerOptions
from dama.config.table import Table, nearest
from dama.errors import InvalidDefinitionError
from dama.shipped.policies import KEYS as POLICIES
from dama.shipped.policies import read_policies

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is not of `BrokerOptions`, with what it means, for docs/reference/settings.md.
ACCESS_KEYS = {
    "url": "The NATS server, as `nats://127.0.0.1:4222` or `tls://...`; several joined by commas. "
    "Without it there are no other nodes.",
    "user": "Who this node is at the server.",
    "password": "The password of `user`.",
    "password_file": "A file that has it, readable by its owner only.",
    "token": "A token, instead of a user.",
    "token_file": "A file that has it, readable by its owner only.",
    "nkey_file": "A file with the seed of an NKey.",
    "creds_file": "A credentials file of NATS.",
    "ca_file": "Certificates (PEM) that the server must be signed by.",
    "cert_file": "The certificate (PEM) of this node.",
    "key_file": "Its key (PEM), without a password.",
    "startable": "Tasks that other nodes may start, cancel, resume and signal: a list of patterns.",
    "bus_actions": "Other shipped actions that change something and that other nodes may call: a "
    "list of names.",
    "node_id": "The name of this node; by default host and pid.",
    "prefix": "What the names of the shipped services begin with on the bus; `dama` when it is not "
    "given, an empty string for nothing.",
    "offer": "Which shipped services other nodes can call: a list; all when it is not given.",
}
SETTINGS = (
    *ACCESS_KEYS,
    "namespace",
    "protocol",
    "accept_other_protocol",
    "balancer",
    "request_timeout",
    "max_call_level",
    "heartbeat_interval",
    "heartbeat_timeout",
    *POLICIES,
)
FILES = (
    "password_file",
    "token_file",
    "nkey_file",
    "creds_file",
    "ca_file",
    "cert_file",
    "key_file",
)
PREFIX = "dama"
NEWER = 5  # of the two protocols
SHIPPED = (
    "tasks",
    "contexts",
    "events",
    "schedules",
    "queues",
    "workers",
    "archive",
    "upkeep",
    "log",
)
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)*")


def node_table(settings: Mapping[str, object], source: str) -> Table:
    """The settings as a table whose keys are known."""
    return Table(f"{source or 'the environment'}: broker", settings, SETTINGS)


def check_node(settings: Mapping[str, object], source: str) -> None:
    """Refuse what is wrong in the settings, without opening the files that they name.

    Raises:
        InvalidDefinitionError: A key is unknown, or its value makes no sense; it is named.
    """
    table = node_table(settings, source)
    read_options(table)
    read_bus_names(table)
    table.texts("startable")
    table.texts("bus_actions")
    for key in ("node_id", "user", *FILES):
        table.text(key)


def read_bus_names(table: Table) -> dict[str, str | None]:
    """What other nodes know the shipped services by; None for those that they are not offered."""
    prefix: str = table.value("prefix", str, "a name, or an empty text for none", PREFIX)
    if prefix and not _PREFIX.fullmatch(prefix):
        table.wrong("prefix", "letters, digits, -, _ and dots, the first a letter")
    offered = table.texts("offer") if table.has("offer") else SHIPPED
    for name in offered:
        if name not in SHIPPED:
            table.wrong("offer", f"some of {', '.join(SHIPPED)}", nearest(name, SHIPPED))
    named = {name: f"{prefix}.{name}" if prefix else name for name in SHIPPED}
    return {name: named[name] if name in offered else None for name in SHIPPED}


def read_options(table: Table) -> BrokerOptions:
    """How calls are made.

    Raises:
        InvalidDefinitionError: A value makes no sense; its key is named.
    """
    url = table.text("url")
    if url is not None and not all(
        part.strip().startswith(("nats://", "tls://")) for part in url.split(",")
    ):
        raise InvalidDefinitionError(  # without its value: it may have a password
            f"{table.where}.url is not the address of a NATS server.",
            'Write it as "nats://127.0.0.1:4222" or "tls://bus.example.org:4222".',
        )
    is_newer = table.number("protocol", 4, 5) == NEWER
    defaults = BrokerOptions()

    def seconds(key: str, default: float) -> float:
        return float(table.value(key, (int, float), "a number of seconds", default))

    return BrokerOptions(
        namespace=table.text("namespace", ""),
        protocol=5 if is_newer else 4,
        accept_other_protocol=table.flag("accept_other_protocol"),
        balancer=table.flag("balancer", default=True),
        max_call_level=table.number("max_call_level", 0) or 0,
        request_timeout=seconds("request_timeout", defaults.request_timeout),
        heartbeat_interval=seconds("heartbeat_interval", defaults.heartbeat_interval),
        heartbeat_timeout=seconds("heartbeat_timeout", defaults.heartbeat_timeout),
        **read_policies(table),
    )
