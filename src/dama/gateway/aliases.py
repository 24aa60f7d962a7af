"""Aliases: which action a method and a path mean, of this node or another.

`/api/<service>/<action>` is there for every published action. Its `rest` gives it further routes:
`GET /:id` of `flights.get` is `GET /api/flights/:id`, or below the setting `rest` of its service.
The gateway has aliases of its own in its settings. A whitelist says which actions there are at all.
A path that is written out goes before one that a param would have to fit.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dama.broker.pattern import matches
from dama.gateway.params_schema import params_schema
from dama.gateway.path import Params, Path, PathError, split
from dama.shapes import as_object, is_list, is_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dama.broker.catalog import Catalog, Endpoint
    from dama.gateway.settings import GatewaySettings

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
API = "/api"
_NUMBER = re.compile(r"[+-]?[0-9]+")
_log = logging.getLogger("dama.gateway")


@dataclass(frozen=True)
class Alias:
    """A route of an action.

    Attributes:
        methods: That it takes; none for all.
        path: The whole of it, `/api` included unless it is a `fullPath` of its service.
        action: The full name.
    """

    methods: tuple[str, ...]
    path: Path
    action: str


@dataclass(frozen=True)
class Match:
    """What a request means.

    Attributes:
        action: The full name of the action.
        params: Those of the path.
        is_alias: Whether a route of its own fits, not only its name.
    """

    action: str
    params: Params
    is_alias: bool


class Aliases:
    """The routes of all published actions, made again when the catalog has changed.

    Args:
        catalog: What there is.
        settings: The aliases of the gateway itself, and which actions it serves.
    """

    def __init__(self, catalog: Catalog, settings: GatewaySettings) -> None:
        self._catalog = catalog
        self._settings = settings
        self._own = [
            Alias((method,) if method else (), Path(API + path), action)
            for method, path, action in settings.aliases
        ]
        self._made_of = -1
        self._all: list[Alias] = []
        self._by_beginning: dict[str, list[Alias]] = {}
        self._names: dict[str, str] = {}
        self._refused: set[str] = set()

    def find(self, method: str, path: str) -> Match | tuple[str, ...]:
        """What a method and a path mean.

        Returns:
            The action; or, when the path fits and the method does not, the methods that would. None
            at all when nothing fits.

        Raises:
            RequestError: A param is not UTF-8 in percent-encoding.
        """
        self._refresh()
        parts = split(path)
        named = self._named(parts)
        allowed: list[str] = []
        for alias in self._candidates(parts):
            params = alias.path.match(parts)
            if params is None:
                continue
            if alias.methods and method not in alias.methods:
                allowed += alias.methods
            elif params and named and method in self.methods_by_name(named):
                break  # what is written out goes before what a param could be
            elif (named or allowed) and self._is_no_id(alias.action, params):
                continue  # the path is that of the other, which does not take the method
            else:
                return Match(alias.action, params, is_alias=True)
        return Match(named, {}, is_alias=False) if named else tuple(dict.fromkeys(allowed))

    def methods_by_name(self, action: str) -> tuple[str, ...]:
        """The methods that the path of an action's name takes: GET where it only reads."""
        endpoints = self._catalog.actions.get(action)
        reads = endpoints and endpoints.all[0].description.get("scope") == "viewer"
        return ("GET", "POST") if reads else ("POST",)

    def all(self) -> list[Alias]:
        """All routes whose action is there."""
        self._refresh()
        return [alias for alias in self._all if alias.action in self._catalog.actions]

    def named(self) -> dict[str, Endpoint]:
        """The actions that have a path by their name."""
        self._refresh()
        return {name: self._catalog.actions[name].all[0] for name in self._names.values()}

    def _named(self, parts: Sequence[str]) -> str | None:
        """The action whose name a path is."""
        if not parts or f"/{parts[0]}" != API:
            return None
        return self._names.get(".".join(map(unquote, parts[1:])).replace("~", "$"))

    def _is_no_id(self, action: str, params: Params) -> bool:
        """Whether an action takes numbers where a path has words."""
        endpoints = self._catalog.actions.get(action)
        schema = params_schema(endpoints.all[0]) if endpoints else {}
        known = as_object(schema.get("properties"))
        return any(
            as_object(known.get(name)).get("type") == "integer"
            and not (isinstance(value, str) and _NUMBER.fullmatch(value))
            for name, value in params.items()
        )

    def _candidates(self, parts: Sequence[str]) -> Sequence[Alias]:
        return self._by_beginning.get(_beginning(parts), self._by_beginning.get("", ()))

    def _refresh(self) -> None:
        if self._made_of == self._catalog.changes:
            return
        found = {(a.methods, a.path.text): a for a in self._own if self._is_served(a.action)}
        for node in self._catalog.nodes.values():
            if node.is_available:
                for service in node.services:
                    for alias in self._aliases_of(service):
                        found.setdefault((alias.methods, alias.path.text), alias)
        self._all = sorted(found.values(), key=lambda alias: alias.path.rank)
        self._index()
        self._names = {
            name.replace("/", "."): name
            for name, endpoints in self._catalog.actions.items()
            if self._settings.mapping_policy == "all"
            and is_published(endpoints.all[0].description)
            and self._is_listed(name)
        }
        self._made_of = self._catalog.changes

    def _index(self) -> None:
        """By the part behind `/api`; those that begin with a param may fit with any."""
        index: dict[str, list[Alias]] = {}
        for alias in self._all:
            index.setdefault(_beginning(split(alias.path.text)), []).append(alias)
        anywhere = [alias for key, found in index.items() if ":" in key for alias in found]
        self._by_beginning = {
            key: sorted([*found, *anywhere], key=lambda alias: alias.path.rank)
            for key, found in index.items()
            if ":" not in key
        }
        self._by_beginning.setdefault("", []).extend(anywhere)

    def _is_listed(self, action: str) -> bool:
        """Whether the whitelist has an action, and the blacklist has not."""
        white, black = self._settings.whitelist, self._settings.blacklist
        if white is not None and not any(matches(action, mask) for mask in white):
            return False
        return not any(matches(action, mask) for mask in black)

    def _is_served(self, action: str) -> bool:
        """Whether an alias of the gateway leads to an action; one may come with a node later."""
        endpoints = self._catalog.actions.get(action)
        is_hidden = endpoints is not None and not is_published(endpoints.all[0].description)
        return self._is_listed(action) and not is_hidden

    def _aliases_of(self, service: Mapping[str, Any]) -> Iterator[Alias]:
        for name, route, method, path in routes_of(service):
            if self._is_listed(name):
                try:
                    yield Alias((method,) if method else (), Path(path), name)
                except PathError as error:
                    if route not in self._refused:
                        self._refused.add(route)
                        _log.warning("the route %r of %s is left out: %s", route, name, error)


def is_published(description: Mapping[str, Any]) -> bool:
    """Whether an action is for everybody."""
    return description.get("visibility") in (None, "published")


def routes_of(service: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The routes that a service tells of its published actions.

    Yields:
        The name of the action; the route as it is written; its method, empty for all; its path.
    """
    full_name = str(service.get("fullName") or service.get("name") or "")
    settings = _mapping(service.get("settings"))
    bases: list[Any] = _several(settings.get("rest") or full_name.replace(".", "/"))
    for name, described in _mapping(service.get("actions")).items():
        action = _mapping(described)
        if not is_published(action):
            continue
        for route in _several(action.get("rest")):
            for base in bases:
                if found := _route(route, str(base), str(action.get("rawName") or name)):
                    yield name, str(route)[:200], *found


def _route(route: object, base: str, short_name: str) -> tuple[str, str] | None:
    if isinstance(route, str):
        method, _, path = route.strip().rpartition(" ")
        whole = f"{API}/{base}/{path}"
    elif is_object(route):
        method = str(route.get("method") or "")
        path = route.get("path") or short_name.rpartition(".")[2]
        whole = str(route.get("fullPath") or f"{API}/{route.get('basePath') or base}/{path}")
    else:
        return None
    method = method.strip().upper()
    return "" if method == "*" else method, whole


def _beginning(parts: Sequence[str]) -> str:
    """What the aliases of one beginning share: both parts of `/api/flights/7`."""
    return "/".join(parts[:2])


def _several(value: object) -> list[Any]:
    return value if is_list(value) else [value]


def _mapping(value: object) -> Mapping[str, Any]:
    return as_object(value)
