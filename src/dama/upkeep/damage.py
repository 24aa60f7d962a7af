"""Damage: what somebody has switched off or removed in the schema, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FOUND = {
    "trigger": "the trigger {name} of {of} is disabled",
    "index": "the index {name} of {of} is not valid",
    "table": "the table {name} is not logged: a crash of the server empties it",
    "function": "the function {name} is missing",
}
ADVICE = {
    "trigger": "ALTER TABLE _data_manager_admin.{of} ENABLE TRIGGER {name}; then `dama db "
    "rebuild`: what was written meanwhile was not checked and not counted.",
    "index": "REINDEX INDEX CONCURRENTLY _data_manager_admin.{name}",
    "table": "ALTER TABLE _data_manager_admin.{name} SET LOGGED",
    "function": "DELETE FROM _data_manager_admin.schema_migration WHERE name = 'functions'; then "
    "`dama db migrate` makes all of them.",
}


def damaged(row: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong, and what to do.

    Args:
        row: Of `HealthRow.damaged`.
    """
    return FOUND[row["kind"]].format_map(row), ADVICE[row["kind"]].format_map(row)
