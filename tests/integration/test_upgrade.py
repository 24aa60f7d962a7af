"""A database of the version before is migrated, whatever its functions take and give."""

from pathlib import Path

import psycopg

from dama.store import schema

# As the version before has them; made from pg_proc. A function that gives something else, or whose
# params have other names, cannot be replaced: a migration has to drop it first.
RELEASED = Path(__file__).with_name("released_functions.txt").read_text().splitlines()
LAST = "0027_adoption"
BODY = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'of the version before'; END $$"


async def test_functions_of_the_version_before_are_replaced(empty_database_url):
    await schema.migrate(empty_database_url, up_to=LAST)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("SET check_function_bodies = off")
        for signature in RELEASED:
            connection.execute(f"CREATE FUNCTION _data_manager_admin.{signature} {BODY}")
        assert "functions" in await schema.migrate(empty_database_url)
        query = "SELECT proname FROM pg_proc WHERE prosrc LIKE '%of the version before%'"
        left = [name for (name,) in connection.execute(query)]
    assert left == []  # what nobody calls any more is dropped, too
