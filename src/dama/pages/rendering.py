"""Rendering: templates, and the files that browsers keep."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache, cached_property
from importlib.resources import files
from shlex import quote as word
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from dama.operations.statements import shown
from dama.pages.shown import (
    SHAPES,
    in_zone,
    short_json,
    shown_age,
    shown_duration,
    shown_json,
    shown_size,
    shown_taken,
    shown_time,
    state_of,
)
from dama.visible import on_one_line, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
YEAR_SECONDS = 31536000


class Static:
    """The files beside the pages. Their address changes with them, so a browser may keep them."""

    def __init__(self) -> None:
        self._files = {
            file.name: file.read_bytes()
            for file in files("dama.pages").joinpath("static").iterdir()
            if file.name.partition(".")[2] in TYPES
        }

    @cached_property
    def version(self) -> str:
        """Of all of them."""
        digest = hashlib.sha256()
        for name, data in sorted(self._files.items()):
            digest.update(name.encode() + data)
        return digest.hexdigest()[:12]

    @cached_property
    def _compressed(self) -> Mapping[str, bytes]:
        return {name: gzip.compress(data, mtime=0) for name, data in self._files.items()}

    def answer(self, name: str, accepted: str) -> Response | None:
        """A file; None when there is none of this name."""
        data = self._files.get(name)
        if data is None:
            return None
        headers = {
            "Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if "gzip" in accepted:
            data = self._compressed[name]
            headers["Content-Encoding"] = "gzip"
        return Response(data, headers=headers, media_type=TYPES[name.partition(".")[2]])


class Templates:
    """The templates of the pages. What they print is escaped."""

    def __init__(self, static: Static) -> None:
        self._environment = _environment(static.version)

    def text(self, name: str, values: Mapping[str, Any]) -> str:
        """A page as HTML."""
        return self._environment.get_template(name).render(values)


@cache
def _environment(version: str) -> Environment:
    """Compiled templates are shared by all sites of a process that have the same files."""
    environment = Environment(
        loader=PackageLoader("dama.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "age": shown_age,
        "duration": shown_duration,
        "in_zone": in_zone,
        "json": shown_json,
        "line": on_one_line,
        "path": _quoted,
        "short": short_json,
        "size": shown_size,
        "state": state_of,
        "taken": shown_taken,
        "visible": visible,
        "word": word,
    }
    environment.filters.update(filters)
    common: Mapping[str, Any] = {
        "shapes": SHAPES,
        "sql": shown,
        "static": f"/static/{version}",
        "time_in": shown_time,
    }
    environment.globals.update(common)
    return environment


def _quoted(text: object) -> str:
    """A text as one part of a path."""
    return quote(str(text), safe="")
