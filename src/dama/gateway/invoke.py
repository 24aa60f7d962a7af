"""Invocations: a call made of a request, and a response made of its result."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from dama.broker.wire.values import as_json
from dama.domain.errors import InvalidJsonError
from dama.domain.exact import decode
from dama.gateway.errors import (
    BadRequestError,
    InvalidRequestBodyError,
    PayloadTooLargeError,
    header_name,
    header_value,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from dama.broker.call import Call
    from dama.broker.catalog import Endpoint

JSON = "application/json; charset=utf-8"
FORM = "application/x-www-form-urlencoded"
DEEPEST = 64
MOST_DIGITS = 18
MOST_FIELDS = 1000
LARGE_BODY = 64 * 1024
WORTH_COMPRESSING = 1000
NO_CONTENT, NOT_MODIFIED, REDIRECTS, CREATED = 204, 304, range(300, 400), 201


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


async def read_params(request: Request, path: Mapping[str, str], limit: int) -> Any:  # noqa: ANN401 - any JSON
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
        # A thread gives way every few milliseconds; nobody else has to wait for a large body.
        is_large = len(body) > LARGE_BODY
        found = await asyncio.to_thread(_decode, kind, body) if is_large else _decode(kind, body)
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
    """Put the pairs of a query into params: `a=1&a=2` and `a[]=1` are lists, `a[b]=1` is nested.

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
    params |= fresh


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


def respond(
    request: Request,
    call: Call,
    result: Any,  # noqa: ANN401 - any JSON
    endpoint: Endpoint,
) -> Response:
    """The response of a result, as its action and the meta of its call say.

    `$statusCode`, `$location`, `$responseType` and `$responseHeaders` are those of moleculer-web.
    """
    meta = call.meta
    status = _status(meta.get("$statusCode"), endpoint.description.get("status"))
    headers = _headers(meta, status)
    told = endpoint.description.get("responseType")
    kind = headers.pop("content-type", None) or (told if isinstance(told, str) else None)
    if result is None and endpoint.action and not endpoint.action.definition.gives_nothing:
        return Response(b"null", status, _typed(headers, JSON))  # one of its results
    if isinstance(result, AsyncIterable):
        source = cast("AsyncIterable[Any]", result)
        kind = kind or "application/octet-stream"
        return StreamingResponse(_chunks(source), status, _typed(headers, kind))
    body, kind = _encode(result, kind)
    if status == 200 and request.method in {"GET", "HEAD"}:  # noqa: PLR2004 - only what can be kept
        headers.setdefault("etag", f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"')
        if _is_known(headers_of(request).get("if-none-match"), headers["etag"]):
            return Response(status_code=NOT_MODIFIED, headers=headers)
    if status in {NO_CONTENT, NOT_MODIFIED}:
        return Response(status_code=status, headers=headers)
    if len(body) >= WORTH_COMPRESSING and "content-encoding" not in headers:
        headers["vary"] = "Accept-Encoding"
        if "gzip" in headers_of(request).get("accept-encoding", ""):
            body = gzip.compress(body, 5)
            headers["content-encoding"] = "gzip"
    return Response(body, status, _typed(headers, kind))


def _typed(headers: dict[str, str], kind: str | None) -> dict[str, str]:
    """Headers with a type exactly as it was given: as `media_type` it would get a charset."""
    return {**headers, "content-type": kind} if kind else headers


def _status(*told: object) -> int:
    for status in told:
        if isinstance(status, int) and 200 <= status < 600:  # noqa: PLR2004 - those of HTTP
            return status
    return 200


def _headers(meta: Mapping[str, Any], status: int) -> dict[str, str]:
    found: dict[str, str] = {}
    told: object = meta.get("$responseHeaders")
    if isinstance(told, Mapping):
        for name, value in cast("Mapping[str, Any]", told).items():
            found[header_name(name)] = header_value(value)
    if kind := meta.get("$responseType"):
        found["content-type"] = header_value(kind)
    location = meta.get("$location")
    # 202 as well: where to look for what was only begun.
    if location and (status in REDIRECTS or status in {CREATED, 202}):
        found["location"] = quote(str(location), safe="/:?#[]@!$&'()*+,;=%~")
    return found


def _encode(result: object, kind: str | None) -> tuple[bytes, str | None]:
    if result is None:
        return b"", kind
    data = _bytes_of(result)
    if data is not None:
        return data, kind or "application/octet-stream"
    if kind is not None and isinstance(result, str | int | float):
        text = result if isinstance(result, str) else as_json(result, "result").decode()
        return text.encode(), kind
    return as_json(result, "result"), kind or JSON


def _bytes_of(result: object) -> bytes | None:
    """Bytes as they are, or as Node.js writes a buffer in JSON."""
    if isinstance(result, bytes):
        return result
    if isinstance(result, Mapping):
        told = cast("Mapping[str, Any]", result)
        data: object = told.get("data")
        if told.get("type") == "Buffer" and isinstance(data, list):
            return bytes(cast("list[int]", data))
    return None


async def _chunks(source: AsyncIterable[Any]) -> AsyncIterator[bytes | str]:
    async for chunk in source:
        if isinstance(chunk, bytes | str):
            yield chunk
        else:
            yield as_json(chunk, "chunk") + b"\n"


def _is_known(told: str | None, tag: str) -> bool:
    if not told:
        return False
    known = {each.strip().removeprefix("W/") for each in told.split(",")}
    return "*" in known or tag in known


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The body has more than {limit:,} bytes.",
        "Send less, or raise body_limit of [gateway].",
        data={"limit": limit},
    )
