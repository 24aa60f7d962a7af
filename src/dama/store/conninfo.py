"""Connection strings: looked at before anything connects, and never repeated.

What libpq says of a malformed one quotes a part of it, which may be the password.
"""

from __future__ import annotations

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from dama.errors import UsageError

# Secrets that libpq marks as options for debugging.
KEYS = frozenset({"scram_client_key", "scram_server_key"})


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


def split_secrets(conninfo: str) -> tuple[str, dict[str, str]]:
    """A connection string that others may see, and the secrets that were in it, by their names.

    Which names hold secrets libpq knows itself: it marks those that a dialog should not show.

    Raises:
        ConninfoError: It is malformed.
    """
    found = _parsed(conninfo, "the settings")
    hidden = {bytes(o.keyword).decode() for o in Conninfo.get_defaults() if o.dispchar == b"*"}
    named = {name: str(value) for name, value in found.items() if name in hidden | KEYS}
    rest = {name: value for name, value in found.items() if name not in named}
    return make_conninfo("", **rest), named


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
