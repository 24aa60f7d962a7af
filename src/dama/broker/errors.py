"""Errors of calls: what an action answers instead of a result, with the names of the wire.

`name`, `status`, `code` and `data` are the `name`, `code`, `type` and `data` of Moleculer: an error
that was raised on one node is raised again, as the same class, on the node that called. Every other
exception goes over the wire with its own name, and comes back as a plain `CallError` of that name.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack, cast

from dama.definitions.errors import InvalidParamsError, UndeclaredCommandError
from dama.domain.errors import InvalidEventError
from dama.errors import DamaError, NotFoundError, RefusedError, UnavailableError, UsageError

if TYPE_CHECKING:
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


class RetryableCallError(CallError):
    """An action failed in a way that may pass."""

    name = "MoleculerRetryableError"
    retryable = True


class ServerCallError(CallError):
    """An action failed through no fault of the caller; the same call may succeed later."""

    name = "MoleculerServerError"
    retryable = True


class ClientCallError(CallError):
    """The caller asked for something that an action cannot do."""

    name = "MoleculerClientError"
    status = 400
    exit_code = 2


class ValidationError(ClientCallError):
    """The params of a call do not fit its action; `data` has a list of all that is wrong."""

    name = "ValidationError"
    status = VALIDATION_FAILED
    code = "VALIDATION_ERROR"


class ServiceNotFoundError(CallError):
    """No node has the action, or the service."""

    name = "ServiceNotFoundError"
    status = 404
    code = "SERVICE_NOT_FOUND"
    retryable = True
    exit_code = 4

    def __init__(self, message: str, hint: str | None = None, **details: Unpack[Details]) -> None:
        super().__init__(message, hint or "`dama actions` lists what can be called.", **details)


class ServiceNotAvailableError(CallError):
    """There are nodes with the action, and none of them takes calls now."""

    name = "ServiceNotAvailableError"
    status = 404
    code = "SERVICE_NOT_AVAILABLE"
    retryable = True
    exit_code = 3


class RequestTimeoutError(CallError):
    """A call was not answered in time. Whoever performs it may continue."""

    name = "RequestTimeoutError"
    status = 504
    code = "REQUEST_TIMEOUT"
    retryable = True


class RequestSkippedError(CallError):
    """A call was not made, since the time of the call that makes it was over."""

    name = "RequestSkippedError"
    status = 514
    code = "REQUEST_SKIPPED"


class RequestRejectedError(CallError):
    """The node that performed a call is gone."""

    name = "RequestRejectedError"
    status = 503
    code = "REQUEST_REJECTED"
    retryable = True


class QueueIsFullError(CallError):
    """Too many calls wait already."""

    name = "QueueIsFullError"
    status = 429
    code = "QUEUE_FULL"
    retryable = True


class MaxCallLevelError(CallError):
    """Calls that call on went deeper than is allowed."""

    name = "MaxCallLevelError"
    code = "MAX_CALL_LEVEL"


class DisconnectedError(CallError):
    """The node is not connected with the others."""

    name = "BrokerDisconnectedError"
    status = 502
    code = "BAD_GATEWAY"
    retryable = True
    exit_code = 3


class ServiceSchemaError(CallError):
    """The definition of a service is wrong."""

    name = "ServiceSchemaError"
    code = "SERVICE_SCHEMA_ERROR"


class BrokerOptionsError(CallError):
    """The options of a broker are wrong."""

    name = "BrokerOptionsError"
    code = "BROKER_OPTIONS_ERROR"


class GracefulStopTimeoutError(CallError):
    """A service stopped while calls of it were still going on."""

    name = "GracefulStopTimeoutError"
    code = "GRACEFUL_STOP_TIMEOUT"


class ProtocolVersionMismatchError(CallError):
    """A packet has another version of the protocol."""

    name = "ProtocolVersionMismatchError"
    code = "PROTOCOL_VERSION_MISMATCH"


class InvalidPacketDataError(CallError):
    """A packet is not what the protocol says."""

    name = "InvalidPacketDataError"
    code = "INVALID_PACKET_DATA"


class PacketTooLargeError(CallError):
    """A packet is larger than the bus allows; this one is not of Moleculer."""

    name = "PacketTooLargeError"
    status = 413
    code = "PACKET_TOO_LARGE"


CLASSES: Mapping[str, type[CallError]] = {
    class_.name: class_
    for class_ in (
        CallError,
        RetryableCallError,
        ServerCallError,
        ClientCallError,
        ValidationError,
        ServiceNotFoundError,
        ServiceNotAvailableError,
        RequestTimeoutError,
        RequestSkippedError,
        RequestRejectedError,
        QueueIsFullError,
        MaxCallLevelError,
        DisconnectedError,
        ServiceSchemaError,
        BrokerOptionsError,
        GracefulStopTimeoutError,
        ProtocolVersionMismatchError,
        InvalidPacketDataError,
        PacketTooLargeError,
    )
}

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
    document: dict[str, Any] = {"name": type(error).__name__, "message": str(error)}
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
    document["stack"] = getattr(error, "stack", None) or "".join(traceback.format_exception(error))
    return document


def error_document(error: BaseException) -> dict[str, Any]:
    """An error as a caller reads it, over HTTP and from the command line."""
    encoded = encode_error(error, "")
    document = {key: encoded.get(key) for key in ("name", "message", "code", "type", "data")}
    if hint := getattr(error, "hint", None):
        document["hint"] = hint
    return document


def decode_error(document: object, sender: str) -> CallError:
    """Make the error of a packet again; what it lacks or has wrongly gets a sensible value."""
    found: Mapping[str, Any] = {}
    if isinstance(document, Mapping):
        found = cast("Mapping[str, Any]", document)
    name = str(found.get("name") or CallError.name)
    message = str(found.get("message") or "The node told no reason.")
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
    if not isinstance(code, str) and name not in CLASSES:
        error.code = name
    return error


def _finite(value: object) -> object:
    """What JSON can hold of a value that did not fit."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else repr(value)[:200]
