"""Rights that are missing: each is said with the GRANT that gives it.

The server names what it refused, not where that is: what is called like a function of ours is ours,
anything else is the system's, and PUBLIC has lost it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from shlex import quote
from typing import TYPE_CHECKING

import psycopg
from psycopg.sql import Identifier

from dama.store.errors import MissingRightError, SchemaError
from dama.store.translation import OURS, first_line

if TYPE_CHECKING:
    from collections.abc import Generator

NO_RIGHT = "42501"
ROW_SECURITY = re.compile(r'row-level security policy for table "(\w+)"')
REFUSED = re.compile(r"permission denied for (?P<kind>[a-z ]+?) \"?(?P<name>[^\"]+)\"?$")
NOT_OWNER = re.compile(r"must be owner of (?P<kind>[a-z ]+?) \"?(?P<name>[^\"]+)\"?$")
OWN_FUNCTION = re.compile(r"CREATE OR REPLACE FUNCTION _data_manager_admin\.(\w+)")
# What the server says, and the words of its GRANT: who takes them from PUBLIC breaks every program.
OF_THE_SYSTEM = {
    "function": "EXECUTE ON FUNCTION pg_catalog.{}",
    "language": "USAGE ON LANGUAGE {}",
    "type": "USAGE ON TYPE {}",
    "tablespace": "CREATE ON TABLESPACE {}",
    "view": "SELECT ON pg_catalog.{}",
}


@contextmanager
def rights_named(role: str) -> Generator[None]:
    """Say of a right that is missing within the block which GRANT gives it.

    Args:
        role: Whose rights the session has.

    Raises:
        MissingRightError: One is missing.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        if error.sqlstate != NO_RIGHT:  # DM has classes of its own
            raise
        raise MissingRightError(
            f"The database refuses the role {role}: {first_line(error)}.", _grant(error, role)
        ) from error


def refused_to_migrate(error: psycopg.Error, role: str) -> SchemaError | None:
    """What a migration lacks, besides rights to its schema; None when it is no right.

    Args:
        error: What the server said.
        role: Whose rights the session has.
    """
    if error.sqlstate != NO_RIGHT:
        return None
    quoted = Identifier(role).as_string()
    if other := NOT_OWNER.search(first_line(error)):
        name = Identifier(OURS, other["name"].removeprefix(f"{OURS}.")).as_string()
        kind = other["kind"].upper()
        hint = f"Let a superuser execute ALTER {kind} {name} OWNER TO {quoted}."
    else:
        hint = _grant_of_the_system(error, role) or (
            "What it has just made is not its own: look for default privileges (ALTER DEFAULT "
            f"PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {quoted}) and for an event trigger."
        )
    return SchemaError(
        f"The database refuses the role {role}: {first_line(error)}. Nothing was changed.", hint
    )


def _grant(error: psycopg.Error, role: str) -> str:
    quoted = Identifier(role).as_string()
    if table := ROW_SECURITY.search(str(error)):
        return (
            f"dama has to see every row of it. Let the owner execute ALTER TABLE {OURS}.{table[1]} "
            f"DISABLE ROW LEVEL SECURITY, or a superuser ALTER ROLE {quoted} BYPASSRLS."
        )
    if grant := _grant_of_the_system(error, role):
        return grant
    shell = quote(role)
    rest = (
        f"what `dama db grants --role {shell} --as worker` prints (`--as reader` is enough to "
        "look); what is not in it only the owner may do."
    )
    if f"for schema {OURS}" in first_line(error):
        return f"Let the owner execute GRANT USAGE ON SCHEMA {OURS} TO {quoted}, or {rest}"
    return f"Let the owner execute the GRANT for it in {rest}"


def _grant_of_the_system(error: psycopg.Error, role: str) -> str | None:
    refused = REFUSED.search(first_line(error))
    if not refused or refused["kind"] not in OF_THE_SYSTEM or refused["name"] in own_functions():
        return None
    if refused["kind"] == "view" and not refused["name"].startswith("pg_"):
        return None
    right = OF_THE_SYSTEM[refused["kind"]].format(Identifier(refused["name"]).as_string())
    return f"Let a superuser execute GRANT {right} TO {Identifier(role).as_string()}."


@cache
def own_functions() -> frozenset[str]:
    """The names of the functions that the schema has."""
    folder = files("dama.store").joinpath("functions")
    texts = (file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql"))
    return frozenset(name for text in texts for name in OWN_FUNCTION.findall(text))
