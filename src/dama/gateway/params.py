"""Params: those of a call, made of a request: of its body, its query and its path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from dama.beside import beside
from dama.domain.errors import InvalidJsonError
from dama.domain.exact import decode
from dama.gateway.errors import (
    BadRequestError,
    InvalidRequestBodyError,
    PayloadTooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request


FORM = "application/x-www-form-urlencoded"
DEEPEST = 64
MOST_DIGITS = 18
MOST_FIELDS = 1000
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
        PayloadTooLargeError: It is longer than the limit; no more of it is read than that.
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


async def read_params(request: Request, path: Mapping[str, Any], limit: int) -> Any:  # noqa: ANN401 - any JSON
    """The params of a call: of the body, under those of the query, under those of the path.

    Raises:
        InvalidRequestBodyError: The body is not what its Content-Type says.
        BadRequestError: The body is of another type, or the query nests too deep.
        PayloadTooLargeError: The body is longer than the limit.
    """
    params: dict[str, Any] = {}
    body = await read_body(request, limit)
    if body:
        kind = headers_of(request).get("content-type", "")
        found = await beside(body, _decode, kind, body)
        if not isinstance(found, dict):
            if request.scope["query_string"] or path:
                raise InvalidRequestBodyError(
                    "The body is no object, so it can not be merged with params of the path.",
                    "Send an object.",
                )
            return found
        params |= cast("dict[str, Any]", found)
    if query := request.scope["query_string"]:
        _count_fields(query, "query")
        merge_pairs(params, request.query_params.multi_items())
    return params | dict(path) if path else params


def merge_pairs(params: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    """Put the pairs of a query into params, as moleculer-web does.

    `a=1&a=2`, `a[]=1` and `a[0]=1` are lists, `a[b]=1` is nested.

    Raises:
        BadRequestError: They nest too deep, or contradict each other.
    """
    fresh: dict[str, Any] = {}
    for name, value in pairs:
        if name.count("[") > DEEPEST:
            raise BadRequestError(f"The query nests deeper than {DEEPEST}.")
        *outer, last = name.replace("]", "").split("[")
        place = fresh
        is_list = bool(outer) and last == ""
        if is_list:
            *outer, last = outer
        for part in outer:
            within: object = place.setdefault(part, {})
            if not isinstance(within, dict):
                raise BadRequestError(f"The query has {name!r} and something else under its name.")
            place = cast("dict[str, Any]", within)
        _put(place, last, [value] if is_list else value, name)
    params |= {name: _listed(value) for name, value in fresh.items()}


def _listed(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """With lists for what has only places as names, in their order, as `a[0]=x&a[1]=y`."""
    if not isinstance(value, dict):
        return value
    within = {name: _listed(each) for name, each in cast("dict[str, Any]", value).items()}
    if not all(map(_PLACE.fullmatch, within)):
        return within
    return [within[name] for name in sorted(within, key=int)]


def _put(place: dict[str, Any], key: str, value: str | list[str], name: str) -> None:
    known: object = place.get(key)
    if known is None:
        place[key] = value
    elif isinstance(known, dict):
        raise BadRequestError(f"The query has {name!r} and something else under its name.")
    else:
        if not isinstance(known, list):
            place[key] = known = [known]
        cast("list[Any]", known).extend([value] if isinstance(value, str) else value)


def _count_fields(pairs: bytes, what: str) -> None:
    """Refuse a form or a query of very many fields before anything is made of it.

    Raises:
        BadRequestError: It has too many.
    """
    if (count := pairs.count(b"&") + 1) > MOST_FIELDS:
        raise BadRequestError(
            f"The {what} has {count:,} fields; {MOST_FIELDS:,} are the most.",
            "Send an object of JSON as the body.",
            code="TOO_MANY_FIELDS",
        )


def _decode(content_type: str, body: bytes) -> Any:  # noqa: ANN401 - any JSON
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM:
        from urllib.parse import parse_qsl  # noqa: PLC0415 - only forms need it

        _count_fields(body, "form")
        params: dict[str, Any] = {}
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
        except (ValueError, UnicodeDecodeError) as error:
            raise InvalidRequestBodyError(f"The body is no form: {error}.") from None
        merge_pairs(params, pairs)
        return params
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise BadRequestError(
            f"The body is of the type {kind!r}.",
            f"Send application/json or {FORM}.",
            status=415,
            code="UNSUPPORTED_MEDIA_TYPE",
        )
    try:
        return decode(body)
    except InvalidJsonError as error:
        raise InvalidRequestBodyError(
            f"The body is no JSON: {error}.",
            data={"error": str(error)},
        ) from None


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The body has more than {limit:,} bytes.",
        "Send less, or raise body_limit of [gateway].",
        data={"limit": limit},
    )
