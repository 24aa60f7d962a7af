"""Connection strings: looked at before anything connects, and never repeated.

What libpq says of a malformed one quotes a part of it, which may be the password.
"""

from __future__ import annotations

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dama.errors import UsageError


class ConninfoError(UsageError):
    """A connection string is malformed."""

    code = "DATABASE_URL"


def check_conninfo(conninfo: str, source: str) -> None:
    """Refuse a malformed connection string.

    Args:
        conninfo: As libpq takes it: a URL, or names and values.
        source: Where it was found, for the message.

    Raises:
        ConninfoError: It is malformed; the message does not repeat it.
    """
    _parsed(conninfo, source)


def without_password(conninfo: str) -> tuple[str, str | None]:
    """A connection string that others may see, and the password that was in it.

    Raises:
        ConninfoError: It is malformed.
    """
    found = _parsed(conninfo, "the settings")
    password = found.pop("password", None)
    return make_conninfo("", **found), None if password is None else str(password)


def _parsed(conninfo: str, source: str) -> dict[str, str | int | None]:
    try:
        return dict(conninfo_to_dict(conninfo))
    except ProgrammingError:
        raise ConninfoError(
            f"The address of the database in {source} cannot be read; it is not repeated here, "
            "since it may hold a password.",
            'Write "postgresql://USER@HOST:PORT/DATABASE" with special characters as %XX, or '
            '"host=HOST dbname=DATABASE user=USER".',
        ) from None
