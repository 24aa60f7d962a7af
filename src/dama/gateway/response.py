"""Responses: made of the result of a call, as its action and its meta say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from dama.beside import beside
from dama.broker.errors import CallError
from dama.broker.stream import is_chunks
from dama.broker.wire.buffers import with_buffers
from dama.broker.wire.values import as_json
from dama.contained import contained
from dama.gateway.errors import header_name, header_values
from dama.gateway.params import headers_of
from dama.gateway.streamed import Streamed
from dama.shapes import Json, is_list, is_object

if TYPE_CHECKING:
    from starlette.requests import Request

    from dama.broker.call import Call
    from dama.broker.catalog import Endpoint

_DIGITS = re.compile(r"[0-9]{3}", re.ASCII)
Write = Callable[[object, str], bytes]
JSON = "application/json; charset=utf-8"
_ANSWERS = range(200, 600)
NO_CONTENT, NOT_MODIFIED, REDIRECTS, CREATED = 204, 304, range(300, 400), 201


async def respond(
    request: Request,
    call: Call,
    result: Any,
    endpoint: Endpoint,
) -> Response:
    """The response of a result, as its action and the meta of its call say.

    `$statusCode`, `$location`, `$responseType` and `$responseHeaders` are those of moleculer-web.
    """
    meta, described = call.meta, endpoint.description
    status = _status(meta.get("$statusCode"), described.get("status"))
    headers = headers_of_answer(described.get("responseHeaders"), meta)
    described_kind = described.get("responseType")
    is_text = isinstance(described_kind, str)
    kind = headers.one("content-type") or (described_kind if is_text else None)
    location = meta.get("$location")
    # 202 as well: where to look for what was only begun.
    if location and status != NOT_MODIFIED and (status in REDIRECTS or status in {CREATED, 202}):
        told = header_values("$location", location)[:1]
        headers["location"] = [quote(each, safe="/:?#[]@!$&'()*+,;=%~") for each in told]
    if result is None and endpoint.action and not endpoint.action.definition.gives_nothing:
        return headers.onto(Response(b"null", status), JSON)  # one of its results
    # What another node gives is what it is in JSON there; the schema of an action here says base64.
    write = as_json if endpoint.action else _as_nodes_write
    if is_chunks(result):
        response = Streamed(_chunks(result, write), status)
        return headers.onto(response, kind or "application/octet-stream")
    body, kind = await beside(result, _encode, result, kind, write)
    if status == HTTPStatus.OK and request.method in {"GET", "HEAD"}:
        tag = headers.one("etag") or f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        headers["etag"] = [tag]
        if _is_known(headers_of(request).get("if-none-match"), tag):
            return headers.onto(Response(status_code=NOT_MODIFIED))
    if status in {NO_CONTENT, NOT_MODIFIED}:
        return headers.onto(Response(status_code=status))
    return headers.onto(Response(body, status), kind)


class Headers(dict[str, list[str]]):
    """Headers of an answer by their names in small letters; one may be there several times."""

    def one(self, name: str) -> str | None:
        """Take out the last value of one."""
        values = self.pop(name, None)
        return values[-1] if values else None

    def onto(self, response: Response, kind: str | None = None) -> Response:
        """Give them to a response, with a type as it is: of its own it would get a charset."""
        if kind:
            response.headers["content-type"] = kind
        for name, values in self.items():
            del response.headers[name]
            for value in values:
                response.headers.append(name, value)
        return response


def headers_of_answer(described: object, meta: Mapping[str, Json]) -> Headers:
    """The headers that the definition of an action and the meta of its call say.

    Raises:
        CallError: One of them cannot be a header.
    """
    found = Headers()
    for told in (described, meta.get("$responseHeaders")):
        if is_object(told):
            for name, value in told.items():
                found[header_name(name)] = header_values(name, value)
    if kind := meta.get("$responseType"):
        found["content-type"] = header_values("$responseType", kind)
    return found


def add_headers(error: Response, meta: Mapping[str, Json]) -> None:
    """Give the response of an error the headers that its action wanted; it stays JSON."""
    with suppress(CallError):  # which may be the error itself
        headers = headers_of_answer(None, meta)
        headers.pop("content-type", None)
        headers.onto(error)


def _status(*told: object) -> int:
    for each in told:
        status = int(each) if isinstance(each, str) and _DIGITS.fullmatch(each) else each
        if isinstance(status, int) and status in _ANSWERS:
            return status
    return 200


def _as_nodes_write(value: object, name: str) -> bytes:
    return as_json(value, name, with_buffers)


def _encode(result: object, kind: str | None, write: Write) -> tuple[bytes, str | None]:
    if result is None:
        return b"", None
    data = _bytes_of(result)
    if data is not None:
        return data, kind or "application/octet-stream"
    if kind is not None and isinstance(result, str | int | float):
        text = result if isinstance(result, str) else as_json(result, "result").decode()
        return text.encode(), kind
    return write(result, "result"), kind or JSON


def _bytes_of(result: object) -> bytes | None:
    """Bytes as they are, or as Node.js writes a buffer in JSON."""
    if isinstance(result, bytes):
        return result
    if is_object(result):
        data: object = result.get("data")
        if result.get("type") == "Buffer" and is_list(data):
            return bytes(data)
    return None


async def _chunks(source: AsyncIterable[Any], write: Write) -> AsyncIterator[bytes | str]:
    with contained():
        async for chunk in source:
            if isinstance(chunk, bytes | str):
                yield chunk
            else:
                yield await beside(chunk, write, chunk, "chunk") + b"\n"


def _is_known(told: str | None, tag: str) -> bool:
    if not told:
        return False
    known = {each.strip().removeprefix("W/") for each in told.split(",")}
    return "*" in known or tag in known
