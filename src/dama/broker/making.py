"""Making: calls, and deliveries of events, from what whoever makes them asks for."""

from __future__ import annotations

import secrets
from itertools import count
from typing import TYPE_CHECKING, Any

from dama.broker.call import Call, CallOptions, EmitOptions
from dama.broker.stream import as_stream
from dama.definitions.written import Written, strings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dama.broker.call import Home
    from dama.shapes import Json


def check_call(name: str, options: CallOptions) -> None:
    """Refuse options that no call has: a misspelt timeout must not pass for none.

    Raises:
        InvalidDefinitionError: One is unknown, or is not a mapping where one is expected.
    """
    if options:
        _check(name, options, CallOptions)


def _check(name: str, options: Mapping[str, Any], known: type) -> Written:
    written = Written(name, options, known.__annotations__)
    for mapping in ("meta", "headers"):
        if written.get(mapping) is not None:
            written.mapping(mapping)
    return written


def make_call(
    home: Home,
    parent: Call | None,
    name: str,
    params: Any,
    options: CallOptions,
) -> Call:
    """Make a call, as a part of another one if there is one.

    Raises:
        InvalidDefinitionError: An option is unknown, or is not a mapping where one is expected.
    """
    check_call(name, options)
    return _made(home, parent, name, params, options)


def make_delivery(
    home: Home, parent: Call | None, event: str, payload: Json, options: EmitOptions
) -> Call:
    """Make what the handlers of an event get, as a part of a call if there is one.

    Raises:
        InvalidDefinitionError: An option is unknown, or is not what is expected.
    """
    groups = _check(event, options, EmitOptions).get("groups") if options else None
    call = _made(home, parent, event, payload, options)
    call.groups = None if groups is None else strings_of(f"{event}: groups", groups)
    return call


def _made(
    home: Home, parent: Call | None, name: str, params: Any, options: CallOptions | EmitOptions
) -> Call:
    meta = options.get("meta")
    if parent is None:
        call = Call(home, name, params)
        if meta:
            call.meta = dict(meta)
    else:
        call = parent.child(name, params, meta)
    if options:
        call.headers = dict(options.get("headers") or {})
        if request_id := options.get("request_id"):
            call.request_id = str(request_id)
        stream = options.get("stream")
        call.stream = as_stream(stream) if stream is not None else None
    return call


def ids_of_calls() -> Callable[[], str]:
    """Return a function that makes ids, which no call of this node or another has."""
    base, numbers = secrets.token_hex(8), count(1)
    return lambda: f"{base}-{next(numbers):x}"
