"""Aliases of the gateway itself: `[gateway.aliases]` of the settings file.

`"GET /flights/:year" = "flights.list"` is a route below `/api`. `"REST /items" = "stock.items"` is
the six of moleculer-web: list, get, create, update, patch and remove of that service.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from dama.config.table import Table, nearest, shown
from dama.errors import InvalidDefinitionError
from dama.gateway.path import Path, PathError

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REST = {
    "list": ("GET", ""),
    "get": ("GET", "/:id"),
    "create": ("POST", ""),
    "update": ("PUT", "/:id"),
    "patch": ("PATCH", "/:id"),
    "remove": ("DELETE", "/:id"),
}
HINTS = {
    "type": "Uploads are PUT /api/contexts/ID/files/NAME; an action takes JSON or a form.",
    "method": 'The method is part of the key: "GET /flights" = "flights.list".',
    "path": 'The path is the key: "GET /flights" = "flights.list".',
    "fullPath": "Routes of [gateway] are below /api.",
}
_ACTION = re.compile(r"\$?[A-Za-z0-9_-]+(\.[A-Za-z0-9_$-]+)+")


class Route(NamedTuple):
    """A route of the gateway.

    Attributes:
        method: That it takes; empty for all.
        path: Below `/api`.
        action: The full name.
    """

    method: str
    path: str
    action: str


def read_aliases(table: Table) -> tuple[Route, ...]:
    """The aliases of a table of settings.

    Raises:
        InvalidDefinitionError: One cannot be a route; the message names it.
    """
    entries = table.entries("aliases", 'a table such as {"GET /flights" = "flights.list"}')
    found = [route for key, value in entries.items() for route in _read(table.where, key, value)]
    known: dict[tuple[str, str], Route] = {}
    for route in found:
        other = known.setdefault((route.method, Path(route.path).text), route)
        if other is not route:
            raise InvalidDefinitionError(
                f"{table.where}.aliases has {route.method or 'any method'} {route.path} twice: for "
                f"{other.action} and for {route.action}.",
                "Remove one of them.",
            )
    return tuple(found)


def _read(where: str, key: str, value: object) -> Iterator[Route]:
    place = f"{where}.aliases.{key!r}"
    method, _, path = key.strip().rpartition(" ")
    method, path = method.strip().upper(), path.strip("/")
    if method not in ("", "*", "REST", *METHODS):
        raise InvalidDefinitionError(
            f"{place} has the method {method}.", nearest(method, ("REST", *METHODS))
        )
    path = f"/{path}"
    if method == "REST":
        yield from _rest(place, path, value)
        return
    if not isinstance(value, str):
        value = Table(place, value, ("action",), HINTS).text("action")
    yield _route(place, "" if method == "*" else method, path, value)


def _rest(place: str, path: str, value: object) -> Iterator[Route]:
    """The routes of a service, or some of them."""
    chosen = list(REST)
    if not isinstance(value, str):
        table = Table(place, value, ("action", "only", "except"), HINTS)
        for key in ("only", "except"):
            wanted = f"some of {', '.join(REST)}"
            names = table.texts(key, wanted)
            if not set(names) <= set(REST):
                table.wrong(key, wanted)
            if table.has(key):
                chosen = [name for name in chosen if (name in names) == (key == "only")]
        value = table.text("action")
    for name in chosen:
        method, tail = REST[name]
        yield _route(place, method, f"{path.rstrip('/')}{tail}" or "/", f"{value}.{name}")


def _route(place: str, method: str, path: str, action: object) -> Route:
    if not isinstance(action, str) or not _ACTION.fullmatch(action):
        raise InvalidDefinitionError(
            f"{place} is {shown(action)}: expected the name of an action.",
            'Write it as "GET /flights/:year" = "flights.list". Functions, streams and several '
            "actions of one route are code: write an action that does it.",
        )
    try:
        Path(path)
    except PathError as error:
        raise InvalidDefinitionError(f"{place} cannot be a route: {error}.") from None
    return Route(method, path, action)
