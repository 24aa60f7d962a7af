"""Every error of the product has one root, so that callers can catch it and the CLI can print it.

An error says what was found, what was wanted and what to do. `code` is stable and goes over the
wire, `exit_code` is what the command line returns, `retryable` tells a client that the same call
may succeed later. Errors that belong to one noun live beside that noun and derive from `DamaError`.
"""

from __future__ import annotations


class DamaError(Exception):
    """The root of all errors that the product raises on purpose.

    Attributes:
        code: A stable name in capitals, the same in events, HTTP answers and logs.
        exit_code: What the command line returns for it.
        retryable: Whether the same call may succeed later.
        is_final: Whether a task that fails with it is never tried again, whatever its retries.
        message: What was found and what was wanted.
        hint: What to do next, where the message does not say it already.
    """

    code: str = "DAMA_ERROR"
    exit_code: int = 70
    retryable: bool = False
    is_final: bool = False

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DamaError):
    """The caller asked for something that does not exist or does not fit."""

    code = "USAGE"
    exit_code = 2


class InvalidDefinitionError(UsageError):
    """A service, a task or a setting is defined in a way that cannot work."""

    code = "INVALID_DEFINITION"


class NotFoundError(DamaError):
    """What was asked for by its id is not in the database."""

    code = "NOT_FOUND"
    exit_code = 4


class RefusedError(DamaError):
    """The event store refused a write; nothing was written."""

    code = "REFUSED"
    exit_code = 6


class UnavailableError(DamaError):
    """The database cannot be reached or cannot be used as it is."""

    code = "UNAVAILABLE"
    exit_code = 3
    retryable = True
