"""The schema: from nothing, from each earlier version, and never backwards."""

import asyncio
import re
from importlib.resources import files

import psycopg
import pytest

from dama.store import schema
from dama.store.errors import SchemaError
from dama.store.statements import statement

NAMES = [migration.name for migration in schema.migrations()]
STATEMENTS = sorted(
    path.name.removesuffix(".sql") for path in files("dama.store").joinpath("sql").iterdir()
)
COLUMNS = """
SELECT table_name, column_name, ordinal_position, data_type, is_nullable
  FROM information_schema.columns WHERE table_schema = '_data_manager_admin' ORDER BY 1, 3
"""


def columns(url):
    """What the tables look like."""
    with psycopg.connect(url) as connection:
        return connection.execute(COLUMNS).fetchall()


async def check(url):
    """Hold the schema against this version."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await schema.check(connection)


@pytest.mark.parametrize("earlier", NAMES[:-2])
def test_each_earlier_version_becomes_the_newest(empty_database_url, database_url, earlier):
    """With the same tables as one that was made from nothing."""
    asyncio.run(schema.migrate(empty_database_url, up_to=earlier))

    applied = asyncio.run(schema.migrate(empty_database_url))

    assert applied == NAMES[NAMES.index(earlier) + 1 :]
    assert columns(empty_database_url) == columns(database_url)


def test_a_second_migration_does_nothing(database_url):
    """It can be called at each start."""
    assert asyncio.run(schema.migrate(database_url)) == []


def test_the_printed_script_does_the_same(empty_database_url, database_url):
    """For people who apply SQL themselves."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(schema.script())

    assert columns(empty_database_url) == columns(database_url)
    assert asyncio.run(schema.migrate(empty_database_url)) == []


def test_a_missing_and_an_older_schema_are_refused_with_the_remedy(empty_database_url):
    """Nothing works on a schema that it does not know."""
    with pytest.raises(SchemaError, match="no schema yet") as caught:
        asyncio.run(check(empty_database_url))
    assert "dama db migrate" in (caught.value.hint or "")

    asyncio.run(schema.migrate(empty_database_url, up_to=NAMES[0]))
    with pytest.raises(SchemaError, match="older schema"):
        asyncio.run(check(empty_database_url))


def test_a_newer_schema_is_refused(database_url):
    """An old program must not write into it, nor migrate it back."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO _data_manager_admin.schema_migration VALUES ('9999_x', '', now())"
        )

    for use in (check, schema.migrate):
        with pytest.raises(SchemaError, match="newer than this dama"):
            asyncio.run(use(database_url))


def test_the_public_columns_keep_their_names_and_order(database_url):
    """Existing programs know them."""
    names = [(table, column) for table, column, *_ in columns(database_url)]

    assert [c for t, c in names if t == "etl_context"][:2] == ["context_id", "parent_id"]
    assert [c for t, c in names if t == "event_store_prototype"][:6] == [
        "event_id",
        "etl_context_id",
        "type",
        "payload",
        "meta",
        "error",
    ]
    with psycopg.connect(database_url) as connection:
        for sequence in ("etl_context_context_id_seq", "event_store_prototype_event_id_seq"):
            connection.execute("SELECT nextval(%s)", [f"_data_manager_admin.{sequence}"])


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_fits_the_schema(database_url, name):
    """PREPARE looks at names and types without executing."""
    numbers = {}
    text = re.sub(
        r"%\((\w+)\)s", lambda m: f"${numbers.setdefault(m[1], len(numbers) + 1)}", statement(name)
    )

    with psycopg.connect(database_url) as connection:
        connection.execute(f"PREPARE checked AS {text}")
