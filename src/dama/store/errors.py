"""Errors of the store. The database has its own SQLSTATEs; `translation` makes these of them.

DM001 InvalidEventError, DM002 UnknownContextError, DM003 IdempotencyConflictError, DM004
StaleEpochError, DM005 VersionConflictError, DM006 LifeCycleError, DM007 HistoryError, DM008
SingletonError, DM009 WorkersAliveError, DM010 ReservedEventError, DM011 SchemaError, DM012
CircleError.
"""

from __future__ import annotations

from dama.errors import NotFoundError, RefusedError, UnavailableError, UsageError

CIRCLE_HINT = "Start it without waiting for it, or raise the concurrency of its task."


class UnknownContextError(NotFoundError):
    """There is no context with this id."""

    code = "UNKNOWN_CONTEXT"


class UnknownEventError(NotFoundError):
    """There is no event with this id in the log."""

    code = "UNKNOWN_EVENT"


class IdempotencyConflictError(RefusedError):
    """The idempotency key was used with another body."""

    code = "IDEMPOTENCY_CONFLICT"


class TransactionEndedError(RefusedError):
    """The function of a transaction has ended it, or closed its connection."""

    code = "TRANSACTION_ENDED"
    is_final = True  # what it committed by itself is there, and would be there twice

    def __init__(self) -> None:
        super().__init__(
            "The function of a transaction ended the transaction itself: what it wrote is not "
            "committed together with its event.",
            "Leave out COMMIT, ROLLBACK, `with connection:` and close(). For a part that may fail "
            "there is `with connection.transaction():`, a savepoint.",
        )


class StaleEpochError(RefusedError):
    """A later run took the context over: what this one writes is refused."""

    code = "STALE_EPOCH"


class VersionConflictError(RefusedError):
    """Another writer appended to the context first."""

    code = "VERSION_CONFLICT"
    retryable = True


class LifeCycleError(RefusedError):
    """The life cycle of the context forbids the event."""

    code = "LIFE_CYCLE"


class HistoryError(RefusedError):
    """History is never changed."""

    code = "HISTORY"


class SingletonError(RefusedError):
    """Only one run of this kind may be open, and one is."""

    code = "SINGLETON"


class CircleError(RefusedError):
    """Runs would wait for each other, and none of them could ever continue."""

    code = "CIRCLE"
    is_final = True

    @classmethod
    def of(cls, context_id: int, circle: str) -> CircleError:
        """The error of the context whose wait has closed a circle."""
        return cls(f"Context {context_id} would wait forever: {circle}.", CIRCLE_HINT)


class WorkersAliveError(RefusedError):
    """Workers live while something is to be done that they must not see."""

    code = "WORKERS_ALIVE"


class MissingRightError(RefusedError):
    """The role of the connection may not do this in the database."""

    code = "MISSING_RIGHT"


class ScheduleExistsError(RefusedError):
    """There is a schedule of this name."""

    code = "SCHEDULE_EXISTS"


class InvalidValueError(UsageError):
    """A value is of the right kind, and PostgreSQL cannot hold it."""

    code = "INVALID_VALUE"


class TokenExistsError(RefusedError):
    """There is a token of this name."""

    code = "TOKEN_EXISTS"


class UnknownTokenError(NotFoundError):
    """There is no token of this name."""

    code = "UNKNOWN_TOKEN"


class UnknownScheduleError(NotFoundError):
    """There is no schedule of this name."""

    code = "UNKNOWN_SCHEDULE"


class UnknownSubscriptionError(NotFoundError):
    """There is no durable subscription of this name."""

    code = "UNKNOWN_SUBSCRIPTION"


class SubscriptionInUseError(UsageError):
    """A durable subscription cannot be dropped while somebody needs it."""

    code = "SUBSCRIPTION_IN_USE"


class NotParkedError(NotFoundError):
    """The subscription has not parked the context."""

    code = "NOT_PARKED"


class ArchivedError(UsageError):
    """A context is archived, and has to be brought back first."""

    code = "ARCHIVED"


class NotNowError(UnavailableError):
    """What the handler of a subscription needs is away: its events are handled when it is back."""

    code = "NOT_NOW"


class LanesError(UsageError):
    """A durable subscription has another number of lanes than was asked for."""

    code = "LANES"


class SliceTableError(RefusedError):
    """A slice is kept as a table by another version of its reducers."""

    code = "SLICE_TABLE"


class UnknownSliceTableError(NotFoundError):
    """The slice is not kept as a table."""

    code = "UNKNOWN_SLICE_TABLE"


class DatabaseUnreachableError(UnavailableError):
    """The database does not answer."""

    code = "DATABASE_UNREACHABLE"


class ReadOnlyDatabaseError(UnavailableError):
    """The server only reads: it is a standby, or was the primary once."""

    code = "DATABASE_READ_ONLY"


class StatementEndedError(UnavailableError):
    """The server ended a statement of ours before it was done; nothing of it was kept."""

    code = "STATEMENT_ENDED"


class LockedError(StatementEndedError):
    """Another transaction holds a lock that the statement needs; nothing of it was kept."""

    code = "LOCKED"
    retryable = True


class DiskFullError(UnavailableError):
    """The database has no room to write."""

    code = "DISK_FULL"


class SchemaError(UnavailableError):
    """The schema of the database is not the one that this version works with."""

    code = "SCHEMA"
    retryable = False
