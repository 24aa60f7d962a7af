"""Errors of calls: what an action answers instead of a result, with the names of the wire.

`name`, `status`, `code` and `data` are the `name`, `code`, `type` and `data` of Moleculer: an error
that was raised on one node is raised again, as the same class, on the node that called. Every other
exception goes over the wire with its own name, and comes back as a plain `CallError` of that name.
"""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from dama.definitions.errors import InvalidParamsError, UndeclaredCommandError
from dama.domain.errors import InvalidEventError
from dama.domain.exact import encode
from dama.errors import DamaError, NotFoundError, RefusedError, UnavailableError, UsageError
from dama.shapes import Json, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    class Details(TypedDict, total=False):
        """What the wire has of an error besides its name and message."""

        status: int
        code: str
        data: Any
        retryable: bool
        node_id: str | None


DEFAULT_STATUS = 500
VALIDATION_FAILED = 422
LONGEST_MESSAGE = 10_000


class _Kind(NamedTuple):
    """What the errors of one name have in common: a row of the table below."""

    status: int
    code: str
    retryable: bool = False
    exit_code: int = 1


_KINDS: Mapping[str, _Kind] = {
    "MoleculerRetryableError": _Kind(500, "CALL_FAILED", retryable=True),
    "MoleculerServerError": _Kind(500, "CALL_FAILED", retryable=True),
    "MoleculerClientError": _Kind(400, "CALL_FAILED", exit_code=2),
    "ValidationError": _Kind(422, "VALIDATION_ERROR", exit_code=2),
    "ServiceNotFoundError": _Kind(404, "SERVICE_NOT_FOUND", retryable=True, exit_code=4),
    "ServiceNotAvailableError": _Kind(404, "SERVICE_NOT_AVAILABLE", retryable=True, exit_code=3),
    "RequestTimeoutError": _Kind(504, "REQUEST_TIMEOUT", retryable=True),
    "RequestSkippedError": _Kind(514, "REQUEST_SKIPPED"),
    "RequestRejectedError": _Kind(503, "REQUEST_REJECTED", retryable=True),
    "QueueIsFullError": _Kind(429, "QUEUE_FULL", retryable=True),
    "MaxCallLevelError": _Kind(500, "MAX_CALL_LEVEL"),
    "BrokerDisconnectedError": _Kind(502, "BAD_GATEWAY", retryable=True, exit_code=3),
    "ServiceSchemaError": _Kind(500, "SERVICE_SCHEMA_ERROR"),
    "BrokerOptionsError": _Kind(500, "BROKER_OPTIONS_ERROR"),
    "GracefulStopTimeoutError": _Kind(500, "GRACEFUL_STOP_TIMEOUT"),
    "ProtocolVersionMismatchError": _Kind(500, "PROTOCOL_VERSION_MISMATCH"),
    "InvalidPacketDataError": _Kind(500, "INVALID_PACKET_DATA"),
    "PacketTooLargeError": _Kind(413, "PACKET_TOO_LARGE"),  # the one that is not of Moleculer
}
CLASSES: dict[str, type[CallError]] = {}
"""The class of each name of the table; every other name is that of a plain `CallError`."""


class CallError(DamaError):
    """An action failed, or could not be called.

    Attributes:
        name: On the wire; `MoleculerError` for this class.
        status: A number as of HTTP; the wire calls it `code`.
        code: A stable name in capitals; the wire calls it `type`.
        data: Any JSON that says more.
        retryable: Whether the same call may succeed later.
        node_id: The node where it was raised; None until an answer is made of it.
        stack: The traceback of the node where it was raised.
        is_foreseen: Somebody raised it for the caller; False for what just happened on another
            node, whose text may hold anything.
    """

    name: str = "MoleculerError"
    status: int = DEFAULT_STATUS
    code = "CALL_FAILED"
    exit_code = 1

    def __init_subclass__(cls, *, name: str | None = None) -> None:
        """Take what the table says of a name; a class without one says it itself, or inherits."""
        if name is not None:
            cls.name = name
            cls.status, cls.code, cls.retryable, cls.exit_code = _KINDS[name]
            CLASSES[name] = cls

    def __init__(self, message: str, hint: str | None = None, **details: Unpack[Details]) -> None:
        super().__init__(message, hint)
        self.data: Any = details.get("data")
        self.node_id = details.get("node_id")
        self.stack: str | None = None
        self.is_foreseen = True
        self.status = details.get("status", self.status)
        self.code = details.get("code", self.code)
        self.retryable = details.get("retryable", self.retryable)

    @property
    def event_fields(self) -> dict[str, Any]:
        """What an event tells of it: with the names of the wire, since others read it there."""
        return {
            "name": self.name,
            "code": self.status,
            "type": self.code,
            "retryable": self.retryable,
            **({"data": self.data} if self.data is not None else {}),
            **({"node_id": self.node_id} if self.node_id else {}),
        }


class RetryableCallError(CallError, name="MoleculerRetryableError"):
    """An action failed in a way that may pass."""


class ServerCallError(CallError, name="MoleculerServerError"):
    """An action failed through no fault of the caller; the same call may succeed later."""


class ClientCallError(CallError, name="MoleculerClientError"):
    """The caller asked for something that an action cannot do."""


class ValidationError(ClientCallError, name="ValidationError"):
    """The params of a call do not fit its action; `data` has a list of all that is wrong."""


class ServiceNotFoundError(CallError, name="ServiceNotFoundError"):
    """No node has the action, or the service."""

    def __init__(self, message: str, hint: str | None = None, **details: Unpack[Details]) -> None:
        super().__init__(message, hint or "`dama actions` lists what can be called.", **details)


class ServiceNotAvailableError(CallError, name="ServiceNotAvailableError"):
    """There are nodes with the action, and none of them takes calls now."""


class RequestTimeoutError(CallError, name="RequestTimeoutError"):
    """A call was not answered in time. Whoever executes it may continue."""


class RequestSkippedError(CallError, name="RequestSkippedError"):
    """A call was not made, since the time of the call that makes it was over."""


class RequestRejectedError(CallError, name="RequestRejectedError"):
    """The node that executed a call is gone."""


class QueueIsFullError(CallError, name="QueueIsFullError"):
    """Too many calls wait already."""


class MaxCallLevelError(CallError, name="MaxCallLevelError"):
    """Calls that call on went deeper than is allowed."""


class DisconnectedError(CallError, name="BrokerDisconnectedError"):
    """The node is not connected with the others."""


class ServiceSchemaError(CallError, name="ServiceSchemaError"):
    """The definition of a service is wrong."""


class BrokerOptionsError(CallError, name="BrokerOptionsError"):
    """The options of a broker are wrong."""


class GracefulStopTimeoutError(CallError, name="GracefulStopTimeoutError"):
    """A service stopped while calls of it were still running."""


class ProtocolVersionMismatchError(CallError, name="ProtocolVersionMismatchError"):
    """A packet has another version of the protocol."""


class InvalidPacketDataError(CallError, name="InvalidPacketDataError"):
    """A packet is not what the protocol says."""


class PacketTooLargeError(CallError, name="PacketTooLargeError"):
    """A packet is larger than the bus allows; this one is not of Moleculer."""


_STATUSES: tuple[tuple[type[DamaError], int], ...] = (
    (InvalidParamsError, VALIDATION_FAILED),
    (InvalidEventError, 400),
    (UndeclaredCommandError, 403),
    (NotFoundError, 404),
    (RefusedError, 409),
    (UnavailableError, 503),
    (UsageError, 400),
)

# The names that Moleculer's validator has for the rules of pydantic.
_RULES = {
    "missing": "required",
    "extra_forbidden": "objectStrict",
    "literal_error": "enumValue",
    "enum": "enumValue",
    "greater_than_equal": "numberMin",
    "greater_than": "numberMin",
    "less_than_equal": "numberMax",
    "less_than": "numberMax",
    "string_too_short": "stringMin",
    "string_too_long": "stringMax",
    "string_pattern_mismatch": "stringPattern",
    "too_short": "arrayMin",
    "too_long": "arrayMax",
    "int_from_float": "numberInteger",
    "int_parsing": "number",
    "int_type": "number",
    "float_parsing": "number",
    "float_type": "number",
    "string_type": "string",
    "bool_parsing": "boolean",
    "bool_type": "boolean",
    "list_type": "array",
    "dict_type": "object",
    "date_parsing": "date",
    "date_from_datetime_parsing": "date",
    "datetime_parsing": "date",
    "datetime_from_date_parsing": "date",
}


def status_of(error: BaseException) -> int:
    """The status of an error, as a number of HTTP."""
    if isinstance(error, CallError):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), DEFAULT_STATUS)


def is_fault(error: Exception) -> bool:
    """Whether an error is the fault of the node, not of the caller."""
    return status_of(error) >= DEFAULT_STATUS


def failures(error: InvalidParamsError, action: str, node_id: str) -> list[dict[str, Any]]:
    """What is wrong with params, one object for each, as Moleculer's validator has them."""
    return [
        {
            "type": _RULES.get(problem.kind, problem.kind),
            "message": f"The '{problem.name}{problem.path}' field {problem.rule}.",
            "field": f"{problem.name}{problem.path}",
            "actual": _finite(problem.actual),
            "nodeID": node_id,
            "action": action,
        }
        for problem in error.problems
    ]


def invalid_params(error: InvalidParamsError, action: str, node_id: str) -> ValidationError:
    """The error of an action whose params do not fit."""
    return ValidationError(
        str(error), error.hint, data=failures(error, action, node_id), node_id=node_id
    )


def encode_error(error: BaseException, node_id: str) -> dict[str, Any]:
    """An error as the wire has it; names, codes and data are kept, whatever raised it."""
    document: dict[str, Json] = {"name": type(error).__name__, "message": _text_of(error)}
    if isinstance(error, CallError):
        document |= {
            "name": error.name,
            "nodeID": error.node_id or node_id,
            "code": error.status,
            "type": error.code,
            "retryable": error.retryable,
            "data": error.data,
        }
    elif isinstance(error, InvalidParamsError):
        document |= encode_error(invalid_params(error, error.task, node_id), node_id)
    elif isinstance(error, DamaError):
        document |= {
            "nodeID": node_id,
            "code": status_of(error),
            "type": error.code,
            "retryable": error.retryable,
            "data": {"hint": error.hint} if error.hint else None,
        }
    else:
        document["nodeID"] = node_id
    stack = getattr(error, "stack", None) or "".join(traceback.format_exception(error))
    document["stack"] = _writable(str(stack))
    return document


def shortened_error(document: Mapping[str, Json]) -> dict[str, Any]:
    """The part of an encoded error that every packet has room for."""
    code = document.get("code")
    return {
        **document,
        "message": document["message"][:LONGEST_MESSAGE],
        "code": code if isinstance(code, int | str) else DEFAULT_STATUS,
        "type": str(document.get("type", "")) or None,
        "data": None,
        "stack": None,
    }


def error_document(error: BaseException) -> dict[str, Any]:
    """An error as a caller reads it, over HTTP and from the command line."""
    encoded = encode_error(error, "")
    document = {key: encoded.get(key) for key in ("name", "message", "code", "type", "data")}
    if hint := getattr(error, "hint", None):
        document["hint"] = hint
    return document


def decode_error(document: object, sender: str) -> CallError:
    """Make the error of a packet again; what it lacks or has wrongly gets a sensible value."""
    found = as_object(document)
    name = str(found.get("name") or CallError.name)
    message = _message_of(found.get("message")) or "The node gave no reason."
    node_id = str(found.get("nodeID") or sender)
    details: Details = {"data": found.get("data"), "node_id": node_id}
    status, code, retryable = found.get("code"), found.get("type"), found.get("retryable")
    is_foreseen = False
    if isinstance(status, int) and not isinstance(status, bool):
        details["status"], is_foreseen = status, True
    if isinstance(code, str):
        details["code"] = code
    if isinstance(retryable, bool):
        details["retryable"] = retryable
    error = CLASSES.get(name, CallError)(message, **details)
    error.name, error.is_foreseen = name, is_foreseen
    error.stack = str(found["stack"]) if found.get("stack") else None
    if not isinstance(code, str) and name not in CLASSES and name != CallError.name:
        error.code = name
    return error


def _message_of(told: object) -> str:
    """The message of a packet, where JavaScript lets anything be one."""
    return told if isinstance(told, str) else "" if told is None else encode(told).decode()


def _text_of(error: BaseException) -> str:
    """The message of an error, also of one that fails to give it."""
    try:
        return _writable(str(error))
    except Exception as failure:  # noqa: BLE001 - it is code of whoever wrote the error
        return f"A {type(error).__name__} without a message: its __str__ raised {failure!r}."


def _writable(text: str) -> str:
    """A text with its halves of surrogate pairs escaped, as a name of a file may have them."""
    return text.encode(errors="backslashreplace").decode()


def _finite(value: object) -> object:
    """What JSON can hold of a value that did not fit."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else repr(value)[:200]
