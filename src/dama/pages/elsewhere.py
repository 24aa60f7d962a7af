"""Elsewhere: the command, the address of HTTP and the statement of SQL that show the same."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil, floor
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from dama.domain.exact import encode
from dama.operations.statements import shown

if TYPE_CHECKING:
    from dama.store.windows import ContextFilter

# How the command line asks for the same.
OPTIONS = {
    "status": "--status", "state": "--run", "task": "--task", "service": "--service",
    "queue": "--queue", "worker": "--worker", "user": "--user", "schedule": "--schedule",
}  # fmt: skip


class Elsewhere(NamedTuple):
    """What the macro `also` takes.

    Attributes:
        commands: Each a line of a shell.
        addresses: Paths of HTTP.
        statements: Of SQL.
    """

    commands: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()


def of_list(chosen: ContextFilter, limit: int, before: int | None = None) -> Elsewhere:
    """A window of the list of contexts."""
    filter_ = chosen.as_json()
    return Elsewhere(
        (_command(chosen, limit, before),),
        (_address(chosen, limit, before),),
        (shown("list_contexts", filter=filter_, before=before, limit=limit),),
    )


def _command(chosen: ContextFilter, limit: int, before: int | None) -> str:
    """A line of a shell, which takes times as ages."""
    words = ["dama ls"]
    for name, option in OPTIONS.items():
        if (value := getattr(chosen, name)) is not None:
            words.append(f"{option} {quote(str(value))}")
    for name, value in (chosen.params or {}).items():
        text = value if isinstance(value, str) else encode(value).decode()
        words.append(f"--param {quote(f'{name}={text}')}")
    for option, moment, rounded in (
        ("--since", chosen.since, ceil), ("--until", chosen.until, floor),
    ):  # fmt: skip
        if moment is not None:
            minutes = rounded((datetime.now(UTC) - moment).total_seconds() / 60)
            words.append(f"{option} {max(minutes, 0)}m")
    words += [] if chosen.roots else ["--all"]
    words += [] if before is None else [f"--before {before}"]
    return " ".join([*words, f"--limit {limit}"])


def _address(chosen: ContextFilter, limit: int, before: int | None) -> str:
    query = {name: value for name, value in vars(chosen).items() if value is not None}
    query |= {} if query.pop("roots") else {"all": "true"}
    for name in ("since", "until"):
        if name in query:
            query[name] = query[name].replace(microsecond=0).isoformat()
    if "params" in query:
        query["params"] = encode(query["params"]).decode()
    if before is not None:
        query["before"] = before
    return f"/api/contexts?{urlencode({**query, 'limit': limit})}"
