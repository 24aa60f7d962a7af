"""Errors over HTTP: JSON with the names of moleculer-web, and a hint.

What an exception says that nobody raised on purpose stays in the log: it may hold anything. The
answer has the id of the request, by which it is found there.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from dama.broker.errors import (
    DEFAULT_STATUS,
    CallError,
    ClientCallError,
)
from dama.broker.errors import error_document as readable
from dama.broker.wire.buffers import with_buffers
from dama.broker.wire.values import NotJsonError, as_json
from dama.config.table import shown
from dama.errors import DamaError
from dama.shapes import is_array

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_ERRORS = range(400, 600)
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]{1,200}", re.ASCII)
_OF_HTTP = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_PLAIN = " !#$&'()*+,/:;=?@[]~"
_log = logging.getLogger("dama.gateway")


_KINDS: Mapping[str, tuple[str, int]] = {
    "BAD_REQUEST": ("BadRequestError", 400),
    "WRONG_HOST": ("BadRequestError", 400),
    "TOO_MANY_FIELDS": ("BadRequestError", 400),
    "UNABLE_DECODE_PARAM": ("BadRequestError", 400),
    "UNSUPPORTED_MEDIA_TYPE": ("BadRequestError", 415),
    "DISK_FULL": ("BadRequestError", 507),
    "INVALID_REQUEST_BODY": ("InvalidRequestBodyError", 400),
    "NO_TOKEN": ("UnAuthorizedError", 401),
    "INVALID_TOKEN": ("UnAuthorizedError", 401),
    "ORIGIN_NOT_ALLOWED": ("ForbiddenError", 403),
    "FORBIDDEN": ("ForbiddenError", 403),
    "NOT_FOUND": ("NotFoundError", 404),
    "METHOD_NOT_ALLOWED": ("MethodNotAllowedError", 405),
    "PAYLOAD_TOO_LARGE": ("PayloadTooLarge", 413),
    "RATE_LIMIT_EXCEEDED": ("RateLimitExceeded", 429),
    "CLIENT_GONE": ("ClientGoneError", 499),
    "SERVICE_UNAVAILABLE": ("ServiceUnavailableError", 503),
}


class RequestError(ClientCallError):
    """The gateway answers a request itself, with one of the codes of the table.

    Args:
        code: It is the `type` of the answer; its name and its status follow from it.
        message: What is wrong with the request.
        hint: What to do instead.
        data: Any JSON that says more.
    """

    def __init__(self, code: str, message: str, hint: str | None = None, data: Any = None) -> None:
        self.name, status = _KINDS[code]
        super().__init__(message, hint, code=code, status=status, data=data)


def error_document(error: Exception, request_id: str) -> tuple[int, dict[str, Any]]:
    """The status and the document of an error."""
    if _is_hidden(error):
        _log.error("request %s failed", request_id, exc_info=error)
        return DEFAULT_STATUS, {
            "name": "InternalServerError",
            "message": "The action failed unexpectedly.",
            "code": DEFAULT_STATUS,
            "type": "INTERNAL",
            "hint": "The server's log has the reason, under the id of the request.",
            "request_id": request_id,
        }
    document = readable(error)
    status = document["code"]
    if not isinstance(status, int) or status not in _OF_ERRORS:
        status = DEFAULT_STATUS
    return status, {**document, "request_id": request_id}


def error_response(
    error: Exception, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The response of an error."""
    status, document = error_document(error, request_id)
    try:
        body = as_json(document, "error", with_buffers)
    except NotJsonError:  # its data, which may be anything
        body = as_json({**document, "data": None}, "error")
    return Response(body, status, dict(headers or {}), "application/json")


def header_name(name: object) -> str:
    """The name of a header that an action returns.

    Raises:
        CallError: It cannot be one, or is how HTTP itself sends the answer.
    """
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise CallError(f"An action gave the header {shown(name)}, which cannot be one.")
    if name.lower() in _OF_HTTP:
        raise CallError(f"An action gave the header {name}, which is the server's own.")
    return name.lower()


def header_values(name: str, value: object) -> list[str]:
    """The values of a header that an action returns: one, or those of a list, as of `Set-Cookie`.

    Raises:
        CallError: It is neither a string or a number nor a list of them.
    """
    values = value if is_array(value) else [value]
    return [_header_value(name, each) for each in values]


def _header_value(name: str, value: object) -> str:
    """One value; what no header may hold is percent-encoded."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise CallError(
            f"An action gave the header {name} the value {shown(value)}.",
            "It may be a string, a number, or a list of them.",
        )
    text = str(value)
    return text if text.isascii() and text.isprintable() else quote(text, safe=_PLAIN)


def _is_hidden(error: Exception) -> bool:
    """Whether nobody raised it for the caller to read."""
    if not isinstance(error, DamaError):
        return True
    return isinstance(error, CallError) and not error.is_foreseen
