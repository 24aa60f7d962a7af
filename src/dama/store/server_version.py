"""The version of the server: one that is too old is refused by name (see also preflight.sql)."""

from __future__ import annotations

from dama.store.errors import SchemaError

OLDEST = 14


def refuse_old_server(version: int) -> None:
    """Refuse a server that cannot have the schema.

    Args:
        version: As libpq has it: 130023 is 13.23.

    Raises:
        SchemaError: It is older than 14.
    """
    major, minor = divmod(version, 10_000)
    if major < OLDEST:
        raise SchemaError(
            f"PostgreSQL {major}.{minor} is too old: dama needs {OLDEST} or newer.",
            "Upgrade the server with pg_upgrade, or name another one.",
        )
