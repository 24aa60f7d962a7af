"""Translation: what the driver raises, as errors of the product that say what to do."""

from __future__ import annotations

import re

import psycopg
from psycopg.sql import Identifier

from dama.domain.errors import InvalidEventError, ReservedEventError
from dama.domain.profile import LONGEST_KEY
from dama.errors import DamaError, UnavailableError
from dama.store.errors import (
    CIRCLE_HINT,
    CircleError,
    DatabaseUnreachableError,
    DiskFullError,
    HistoryError,
    IdempotencyConflictError,
    InvalidValueError,
    LifeCycleError,
    LockedError,
    MissingRightError,
    ReadOnlyDatabaseError,
    SchemaError,
    SingletonError,
    StaleEpochError,
    StatementEndedError,
    UnknownContextError,
    VersionConflictError,
    WorkersAliveError,
)

DISK_FULL = "53100"
READ_ONLY, NOT_SUPPORTED = "25006", "0A000"
OURS = "_data_manager_admin"
CATALOG = "pg_catalog"
UNIQUE = "23505"
INTERNAL, CONCURRENTLY = "XX000", "tuple concurrently "  # updated or deleted: a row of the catalog
TOO_LARGE = "54000"
LOCKED = "55P03"  # waited too long for a lock
# Cancelled or timed out, gave way to another transaction.
ENDED = ("57014", "25P03", "25P04", "40001", "40P01")
# A schema, a table, a column or a function is not there: between two versions, for a moment.
MISSING = ("3F000", "42P01", "42703", "42883")
# A number out of range, a character that the encoding has not, a zero byte (which has no state).
NO_ROOM = ("", "22003", "22021", "22P05")
NO_CONNECT = re.compile(r"FATAL:  permission denied for database (\".*\")")
HINTS = {
    "DM002": "`dama ls` lists the contexts.",
    "DM003": "Use another key, or send the same body again.",
    "DM004": "Stop this run: another one continues with the context.",
    "DM005": "Read the newer events, decide again, append.",
    "DM008": "Wait for its end, or cancel it with `dama cancel`.",
    "DM009": "Stop them first: `dama workers` lists them.",
    "DM012": CIRCLE_HINT,
    "DM006": "`dama events CONTEXT` shows what the context has.",
}

CLASSES: dict[str, type[DamaError]] = {
    "DM001": InvalidEventError,
    "DM002": UnknownContextError,
    "DM003": IdempotencyConflictError,
    "DM004": StaleEpochError,
    "DM005": VersionConflictError,
    "DM006": LifeCycleError,
    "DM007": HistoryError,
    "DM008": SingletonError,
    "DM009": WorkersAliveError,
    "DM010": ReservedEventError,
    "DM011": SchemaError,
    "DM012": CircleError,
}


def translate(error: psycopg.Error) -> DamaError | None:
    """The error of the product for an error of the driver; None for one that is not ours."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.DataError) and state not in CLASSES:
        return _refused_value(error)
    if state in CLASSES:
        message = error.diag.message_primary or str(error)
        return CLASSES[state](message, error.diag.message_hint or HINTS.get(state))
    if state in (UNIQUE, TOO_LARGE) and (refusal := _refused_by_an_index(error)):
        return refusal
    if state == DISK_FULL:
        return DiskFullError(
            "The disk of the database is full; nothing of this write was kept.",
            "Make room on the database's disk, then let the run continue with `dama resume`.",
        )
    if is_of_standby(error) or is_outage(error):
        return _of_the_server(error)
    return None


def _refused_value(error: psycopg.DataError) -> InvalidValueError:
    told = first_line(error)
    if (error.sqlstate or "") in NO_ROOM:
        room = "Numbers have at most 64 bits, and texts no zero bytes."
        return InvalidValueError(f"The database has no room for a value: {told}.", room)
    return InvalidValueError(f"The database refuses a value: {told}.", error.diag.message_hint)


def _read_only(error: psycopg.Error) -> ReadOnlyDatabaseError:
    return ReadOnlyDatabaseError(
        f"The database only reads: {first_line(error)}.",
        "It is a standby, or a subscription fills it. Name all its servers and who may write: "
        "postgresql://user@one,two/name?target_session_attrs=read-write",
    )


def _of_the_server(error: psycopg.Error) -> DamaError:
    if is_of_standby(error):
        return _read_only(error)
    if refused := NO_CONNECT.search(str(error)):
        role = Identifier(error.pgconn.user.decode() if error.pgconn else "ROLE").as_string()
        return MissingRightError(
            f"The role {role} may not connect to the database {refused[1]}.",
            f"Let its owner execute GRANT CONNECT ON DATABASE {refused[1]} TO {role}.",
        )
    return DatabaseUnreachableError(
        f"The database does not answer: {first_line(error)}.",
        "Is it running, and do the name and the password fit? `dama db status` tells. "
        "What was acknowledged is kept, and a run continues with `dama resume`.",
    )


def _refused_by_an_index(error: psycopg.Error) -> DamaError | None:
    """What an index of the store refuses is an error of the writer; others are not ours.

    The rules come first; an index decides when two transactions passed them at the same moment, or
    when somebody wrote past them.
    """
    if error.diag.schema_name != OURS:
        return None
    if error.sqlstate == TOO_LARGE:
        return _too_long_a_key(error)
    index = error.diag.constraint_name or ""
    if index in ("event_store_prototype_idempotency", "etl_context_idempotency"):
        return IdempotencyConflictError(
            f"An idempotency key is taken: {_detail(error)}.",
            "The same body again gives the first event with the key; another body needs another "
            "key. FINAL#... and STARTED#... are keys of the controller.",
        )
    if index in ("event_store_prototype_version", "event_store_prototype_pkey"):
        return VersionConflictError(
            f"Another writer appended first: {_detail(error)}.", HINTS["DM005"]
        )
    if index in ("event_store_prototype_initial", "event_store_prototype_final"):
        kind = index.rpartition("_")[2].upper()
        return LifeCycleError(
            f"The context has its {kind} already: {_detail(error)}.", HINTS["DM006"]
        )
    return None


def _too_long_a_key(error: psycopg.Error) -> InvalidEventError:
    return InvalidEventError(
        f"A key is too long for its index: {first_line(error)}.",
        f"Keys have at most {LONGEST_KEY:,} bytes. Take a digest of what is longer.",
    )


def _detail(error: psycopg.Error) -> str:
    """What the server says of a row that an index refused, within a sentence."""
    told = error.diag.message_detail or first_line(error)
    return told[:200].rstrip(".")


def translate_own(error: psycopg.Error) -> DamaError | None:
    """As `translate`, for a statement of the product: what may pass by itself is told apart.

    In the SQL of a step the same errors are the step's own.
    """
    state = error.sqlstate or ""
    if state == LOCKED:
        return LockedError(
            f"Another transaction holds a lock that this needs: {first_line(error)}.",
            "It can be done when that transaction has ended. `SELECT pid, state, query FROM "
            "pg_stat_activity WHERE xact_start IS NOT NULL` lists the open ones.",
        )
    if state in ENDED:
        return StatementEndedError(
            f"The server ended a statement before it was done: {first_line(error)}.",
            "Somebody cancelled it, or a timeout of the database or its role is too short.",
        )
    if state == READ_ONLY:
        return _read_only(error)
    if state in MISSING:
        return SchemaError(
            f"The schema of the database is not complete: {first_line(error)}.",
            "Is it being migrated? `dama db status` tells.",
        )
    if state == TOO_LARGE and "index row" in str(error):  # of which index, it does not always say
        return _too_long_a_key(error)
    return translate(error)


def is_outage(error: psycopg.Error) -> bool:
    """Whether the server is away, starting or stopping: the same call may succeed later."""
    state = error.sqlstate or ""
    return (
        isinstance(error, psycopg.OperationalError)
        and state != DISK_FULL
        and (not state or state.startswith(("08", "57P", "53", "28", "3D")))
    )


def is_of_standby(error: psycopg.Error) -> bool:
    """Whether a server refuses because it follows another one."""
    return error.sqlstate == NOT_SUPPORTED and "during recovery" in str(error)


def concerns_server(error: psycopg.Error) -> bool:
    """Whether the server can write nothing of anybody now, whatever the statement was."""
    return error.sqlstate == DISK_FULL or is_of_standby(error)


def has_given_way(error: BaseException) -> bool:
    """Whether a transaction was undone only because it met another one: it can be done again.

    A deadlock, a serialization failure, and two that made or changed the same schema, table or
    right at once: `IF NOT EXISTS` does not see what another transaction has not committed.
    """
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate or ""
    if state == UNIQUE:
        return error.diag.schema_name == CATALOG
    return state.startswith("40") or (state == INTERNAL and CONCURRENTLY in str(error))


def is_transient(error: psycopg.Error) -> bool:
    """Whether the transaction met another one, or the server is away: it may be tried again."""
    return is_outage(error) or has_given_way(error)


def may_pass(error: Exception) -> bool:
    """Whether the same act may succeed later without anybody changing it: it is tried again."""
    if isinstance(error, DamaError):
        return error.retryable or isinstance(error, UnavailableError)
    if isinstance(error, psycopg.Error):  # what a rule or a trigger says of the values stays so
        lasting = (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException)
        return not isinstance(error, lasting)
    return isinstance(error, TimeoutError | OSError | MemoryError)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without the full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
