"""Aliases: which action a method and a path mean, of this node or another.

`/api/<service>/<action>` is there for every published action. Its `rest` gives it further routes:
`GET /:id` of `flights.get` is `GET /api/flights/:id`, or below the setting `rest` of its service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dama.broker.catalog import Catalog

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAM = re.compile(r":(\w+)")


@dataclass(frozen=True)
class Alias:
    """A route of an action.

    Attributes:
        methods: That it takes; none for all.
        path: As it is written, below `/api`: `/flights/:id`.
        action: The full name.
        pattern: What fits.
    """

    methods: tuple[str, ...]
    path: str
    action: str
    pattern: re.Pattern[str]

    @property
    def rank(self) -> tuple[int, int, str]:
        """Fixed parts come before params, long paths before short ones."""
        return (self.path.count(":"), -self.path.count("/"), self.path)


@dataclass(frozen=True)
class Match:
    """What a request means.

    Attributes:
        action: The full name of the action.
        params: Those of the path.
        is_alias: Whether a route of its own fits, not only its name.
    """

    action: str
    params: Mapping[str, str]
    is_alias: bool


class Aliases:
    """The routes of all published actions, made anew when the catalog has changed.

    Args:
        catalog: What there is.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._made_of = -1
        self._aliases: list[Alias] = []
        self._names: dict[str, str] = {}

    def find(self, method: str, path: str) -> Match | tuple[str, ...]:
        """What a method and a path below `/api` mean.

        Returns:
            The action; or, when the path fits and the method does not, the methods that would. None
            at all when nothing fits.
        """
        self._refresh()
        allowed: list[str] = []
        for alias in self._aliases:
            found = alias.pattern.fullmatch(path)
            if found is None:
                continue
            if not alias.methods or method in alias.methods:
                params = {name: unquote(value) for name, value in found.groupdict().items()}
                return Match(alias.action, params, is_alias=True)
            allowed += alias.methods
        name = unquote(path).strip("/").replace("~", "$").replace("/", ".")
        if action := self._names.get(name):
            return Match(action, {}, is_alias=False)
        return tuple(dict.fromkeys(allowed))

    def all(self) -> list[Alias]:
        """All routes."""
        self._refresh()
        return self._aliases

    def _refresh(self) -> None:
        if self._made_of == self._catalog.changes:
            return
        found: dict[tuple[tuple[str, ...], str], Alias] = {}
        for node in self._catalog.nodes.values():
            if node.is_available:
                for service in node.services:
                    for alias in aliases_of(service):
                        found.setdefault((alias.methods, alias.path), alias)
        self._aliases = sorted(found.values(), key=lambda alias: alias.rank)
        self._names = {
            name.replace("/", "."): name
            for name, endpoints in self._catalog.actions.items()
            if is_published(endpoints.all[0].description)
        }
        self._made_of = self._catalog.changes


def is_published(description: Mapping[str, Any]) -> bool:
    """Whether an action is for everybody."""
    return description.get("visibility") in (None, "published")


def aliases_of(service: Mapping[str, Any]) -> Iterator[Alias]:
    """The routes that a service tells of its actions."""
    full_name = str(service.get("fullName") or service.get("name") or "")
    settings: object = service.get("settings")
    base: object = None
    if isinstance(settings, Mapping):
        base = cast("Mapping[str, Any]", settings).get("rest")
    below = [base or full_name.replace(".", "/")]
    bases = cast("list[object]", base) if isinstance(base, list) else below
    actions: object = service.get("actions")
    if not isinstance(actions, Mapping):
        return
    for name, action in cast("Mapping[str, Any]", actions).items():
        if isinstance(action, Mapping) and is_published(cast("Mapping[str, Any]", action)):
            rest: object = cast("Mapping[str, Any]", action).get("rest")
            each = cast("list[object]", rest) if isinstance(rest, list) else [rest]
            for route in each:
                for prefix in bases:
                    if alias := _alias(route, str(prefix), name):
                        yield alias


def _alias(route: object, base: str, action: str) -> Alias | None:
    methods: tuple[str, ...] = ()
    if isinstance(route, str):
        method, _, path = route.strip().rpartition(" ")
        methods = (method.strip().upper(),) if method.strip() else ()
        whole = f"{base.strip('/')}/{path.strip('/')}"
    elif isinstance(route, Mapping):
        told = cast("Mapping[str, Any]", route)
        method = str(told.get("method") or "").upper()
        methods = (method,) if method and method != "*" else ()
        own, path = str(told.get("basePath", base)), str(told.get("path") or "")
        whole = str(told.get("fullPath") or f"{own.strip('/')}/{path.strip('/')}")
    else:
        return None
    methods = () if methods == ("*",) else methods
    path = "/" + whole.strip("/")
    return Alias(methods, path, action, _pattern(path))


def _pattern(path: str) -> re.Pattern[str]:
    parts = _PARAM.split(path)
    fixed = [re.escape(part) for part in parts[::2]]
    names = [f"(?P<{name}>[^/]+)" for name in parts[1::2]]
    whole = "".join(f + n for f, n in zip(fixed, [*names, ""], strict=True))
    return re.compile(f"{whole}/?")
