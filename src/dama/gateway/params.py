"""Params: those of a call, made of a request: of its body, its query and its path."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from dama.beside import beside
from dama.domain.errors import InvalidJsonError
from dama.domain.exact import decode
from dama.gateway.errors import (
    RequestError,
)
from dama.shapes import is_dict, is_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request


FORM = "application/x-www-form-urlencoded"
DEEPEST = 64
MOST_DIGITS = 18
MOST_FIELDS = 1000
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # as zlib is told of the headers around
_NAME = re.compile(r"([^\[]*)((?:\[[^\[\]]*\])*)")
_CHARSET = re.compile(r"""charset=["']?([^"';\s]+)""")
_BOM = b"\xef\xbb\xbf"
_PLACE = re.compile(r"1?[0-9]", re.ASCII)  # a list has no hole of a million


def headers_of(request: Request) -> Mapping[str, str]:
    """The headers of a request by their names in small letters, read once."""
    known = request.scope.get("dama")
    if known is None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in request.scope["headers"]}
        known = request.scope["dama"] = {"headers": headers}
    return known["headers"]


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request.

    Raises:
        RequestError: It is longer than the limit; no more of it is read than that.
    """
    told = headers_of(request).get("content-length", "")
    if told.isascii() and told.isdigit() and (len(told) > MOST_DIGITS or int(told) > limit):
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


async def read_params(request: Request, path: Mapping[str, Any], limit: int) -> Any:
    """The params of a call: of the body, under those of the query, under those of the path.

    Raises:
        RequestError: The body is not what its Content-Type says, is of another type or longer
            than the limit, or the query nests too deep.
    """
    params: dict[str, Any] = {}
    body = await read_body(request, limit)
    if body:
        headers = headers_of(request)
        kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
        found = await beside(body, _decode, kind, encoding, body, limit)
        if not is_dict(found):
            if request.scope["query_string"] or path:
                raise RequestError(
                    "INVALID_REQUEST_BODY",
                    "The body is not an object, so it cannot be merged with params of the path.",
                    "Send an object.",
                )
            return found
        params |= found
    if query := request.scope["query_string"]:
        merge_pairs(params, _pairs(query, "query"))
    return params | dict(path) if path else params


def merge_pairs(params: dict[str, Any], pairs: list[tuple[str, str]], what: str = "query") -> None:
    """Put the pairs of a query or a form into params, as moleculer-web does.

    `a=1&a=2`, `a[]=1` and `a[0]=1` are lists, `a[b]=1` is nested.

    Raises:
        RequestError: They nest too deep, or contradict each other.
    """
    fresh: dict[str, Any] = {}
    for name, value in pairs:
        if not name:
            continue
        *outer, last = _parts(name, what)
        place = fresh
        is_one_of_many = last == ""
        if is_one_of_many:
            *outer, last = outer
        for part in outer:
            within: object = place.setdefault(part, {})
            if not is_dict(within):
                raise _contradiction(name, what)
            place = within
        if not _put(place, last, [value] if is_one_of_many else value):
            raise _contradiction(name, what)
    params |= {name: _listed(value) for name, value in fresh.items()}


def _contradiction(name: str, what: str) -> RequestError:
    return RequestError("BAD_REQUEST", f"The {what} has {name!r} and something else under it.")


def _parts(name: str, what: str) -> list[str]:
    """The parts of a name: `a[b][]` has a, b and nothing; `[a]` is a."""
    if name.count("[") > DEEPEST:
        raise RequestError("BAD_REQUEST", f"The {what} nests deeper than {DEEPEST}.")
    found = _NAME.fullmatch(name)
    parts = re.findall(r"\[([^\]]*)\]", found[2]) if found else []
    if found and found[1]:
        parts.insert(0, found[1])
    if not any(parts[:1]) or "" in parts[1:-1]:
        raise RequestError(
            "BAD_REQUEST",
            f"The {what} has the name {name!r}, whose brackets cannot be read.",
            "Write a[b]=1 for an object and a[]=1 for a list, or send JSON as the body.",
        )
    return parts


def _listed(value: Any) -> Any:
    """With lists for what has only places as names, in their order, as `a[0]=x&a[1]=y`."""
    if not is_dict(value):
        return value
    within = {name: _listed(each) for name, each in value.items()}
    if not all(map(_PLACE.fullmatch, within)):
        return within
    return [within[name] for name in sorted(within, key=int)]


def _put(place: dict[str, Any], key: str, value: str | list[str]) -> bool:
    """Put a value under a name, beside others of it; False when an object is there."""
    known: object = place.get(key)
    if isinstance(known, dict):
        return False
    if known is None:
        place[key] = value
    else:
        if not is_list(known):
            place[key] = known = [known]
        known.extend([value] if isinstance(value, str) else value)
    return True


def _pairs(text: bytes, what: str) -> list[tuple[str, str]]:
    """The names and values of a query or a form.

    Raises:
        RequestError: They are very many, or not UTF-8.
    """
    if (count := text.count(b"&") + 1) > MOST_FIELDS:
        raise RequestError(
            "TOO_MANY_FIELDS",
            f"The {what} has {count:,} fields; {MOST_FIELDS:,} are the most.",
            "Send an object of JSON as the body.",
        )
    try:
        return parse_qsl(text.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise RequestError(
            "BAD_REQUEST",
            f"The {what} is not UTF-8 in percent-encoding.",
            "Encode text as UTF-8, then as %XX.",
        ) from None


def _inflated(encoding: str, body: bytes, limit: int) -> bytes:
    """A body as it was before it was compressed.

    Raises:
        RequestError: It is not what its Content-Encoding says, or longer than the limit.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOWS:
        raise _unsupported(
            f"The body is encoded as {encoding!r}.", "Send gzip, deflate or neither."
        )
    inflate = zlib.decompressobj(_WINDOWS[encoding])
    try:
        found = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise _no_body(f"The body is no {encoding}: {error}.", str(error)) from None
    if len(found) > limit:
        raise _too_large(limit)
    if not inflate.eof:
        raise _no_body(f"The body is no {encoding}: its end is missing.", "truncated")
    return found


def _decode(content_type: str, encoding: str, body: bytes, limit: int) -> Any:
    body = _inflated(encoding, body, limit)
    kind = content_type.partition(";")[0].strip().lower()
    charset = _CHARSET.search(content_type.lower())
    if charset and charset[1] not in ("utf-8", "utf8", "us-ascii"):
        raise _unsupported(f"The body is in {charset[1]!r}.", "Send UTF-8.")
    if kind == FORM:
        params: dict[str, Any] = {}
        merge_pairs(params, _pairs(body, "form"), "form")
        return params
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise _unsupported(
            f"The body is of the type {kind!r}.", f"Send application/json or {FORM}."
        )
    try:
        return decode(body.removeprefix(_BOM))
    except InvalidJsonError as error:
        raise _no_body(f"The body is not valid JSON: {error}.", str(error)) from None


def _no_body(message: str, reason: str) -> RequestError:
    return RequestError("INVALID_REQUEST_BODY", message, data={"error": reason})


def _unsupported(message: str, hint: str) -> RequestError:
    return RequestError("UNSUPPORTED_MEDIA_TYPE", message, hint)


def _too_large(limit: int) -> RequestError:
    return RequestError(
        "PAYLOAD_TOO_LARGE",
        f"The body has more than {limit:,} bytes.",
        "Send less, or raise body_limit of [gateway].",
        data={"limit": limit},
    )
