"""Shown values: times, durations, JSON and sizes as a page has them; each is bounded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from markupsafe import Markup

from dama.domain.event import ABSENT
from dama.domain.exact import document, encode
from dama.shapes import is_dict, is_list
from dama.visible import visible

if TYPE_CHECKING:
    from datetime import tzinfo

    from dama.store.rows import ContextRow

LONGEST_JSON = 16 * 1024
KIB = 1024
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
SHAPES = {
    "queued": "○",
    "delayed": "◷",
    "blocked": "⊘",
    "placed": "◌",
    "running": "▶",
    "waiting": "◐",
    "retrying": "↻",
    "done": "✓",
    "error": "✕",
    "cancelled": "⊗",
    "open": "○",
}


def shown_time(moment: datetime | None, zone: tzinfo) -> Markup:
    """A time with the name of its zone."""
    if moment is None:
        return Markup("-")
    local = moment.astimezone(zone)
    return Markup('<time datetime="{}">{} {}</time>').format(
        moment.astimezone(UTC).isoformat(), local.strftime("%Y-%m-%d %H:%M:%S"), local.tzname()
    )


def in_zone(text: str, zone: tzinfo) -> str:
    """A sentence with its instants as the page has all other times."""

    def shown(found: re.Match[str]) -> str:
        try:
            moment = datetime.fromisoformat(found[0])
        except ValueError:  # it only looks like one
            return found[0]
        return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")

    return _INSTANT.sub(shown, text)


def shown_duration(seconds: float | None) -> str:
    """A duration in two units at most: `2 h 4 min`."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def shown_age(moment: datetime | None) -> str:
    """How long ago a time was."""
    return "-" if moment is None else shown_duration((datetime.now(UTC) - moment).total_seconds())


def shown_taken(row: ContextRow) -> str:
    """How long a context took, or has taken so far."""
    return shown_duration(row.took(datetime.now(UTC)))


def shown_size(count: int) -> str:
    """A number of bytes in a unit that keeps it short."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < KIB or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= KIB
    raise AssertionError


@dataclass(frozen=True)
class ShownJson:
    """A value as text.

    Attributes:
        text: JSON, indented; cut where it is long.
        bytes: How long all of it is.
        is_cut: Whether the text is not all of it.
    """

    text: str
    bytes: int
    is_cut: bool


def shown_json(value: Any, *, indent: int = 2) -> ShownJson:
    """A value as indented JSON with its numbers exact, cut after 16 KiB; nothing for none."""
    if value is ABSENT:
        return ShownJson("", 0, is_cut=False)
    try:
        data = encode(document(value))
        text = msgspec.json.format(data, indent=indent).decode()
    except (msgspec.MsgspecError, ValueError, TypeError):
        text = json.dumps(str(value))
    bytes_ = len(text.encode(errors="replace"))
    is_cut = len(text) > LONGEST_JSON
    text = visible(text[:LONGEST_JSON])
    return ShownJson(text[:LONGEST_JSON], bytes_, is_cut or len(text) > LONGEST_JSON)


def pointed(value: Any, pointer: str) -> Any:
    """The part of a value of JSON builtins that a JSON pointer names; None where there is none."""
    for key in pointer.split("/")[1:]:
        name = key.replace("~1", "/").replace("~0", "~")
        if is_dict(value):
            value = value.get(name)
        elif is_list(value) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def short_json(value: Any, longest: int = 120) -> str:
    """A value as JSON on one line, cut where it is long."""
    text = shown_json(value, indent=-1).text
    return text if len(text) <= longest else f"{text[:longest]}…"


def state_of(context: ContextRow) -> str:
    """What a context does, in one of the words that have a shape and a colour."""
    if context.status == "OPEN" and context.run is not None:
        return context.run.state
    return (context.status or "OPEN").lower()
