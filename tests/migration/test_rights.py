"""Migrating with few rights: no superuser, one schema; what is in the way is said."""

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from dama.store import Start, Store, schema
from dama.store.errors import SchemaError
from tests.conftest import create_role, url_of

ROLE = "plain_department"
STRANGER = "plain_stranger"
FIRST_SYSTEM = """
CREATE SCHEMA IF NOT EXISTS _data_manager_admin;
CREATE TABLE _data_manager_admin.etl_context (
  context_id serial PRIMARY KEY,
  parent_id int REFERENCES _data_manager_admin.etl_context ON DELETE CASCADE);
CREATE TABLE _data_manager_admin.event_store_prototype (
  event_id serial PRIMARY KEY, etl_context_id int NOT NULL, type text NOT NULL,
  payload jsonb, meta jsonb, error boolean);
INSERT INTO _data_manager_admin.etl_context DEFAULT VALUES;
"""

TO_ANOTHER_OWNER = """
DO $$
DECLARE
  command text;
BEGIN
  FOR command IN
    SELECT format('ALTER %s _data_manager_admin.%I',
                  CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname)
      FROM pg_class
      WHERE relkind IN ('r', 'v') AND relnamespace = '_data_manager_admin'::regnamespace
    UNION ALL
    SELECT format('ALTER FUNCTION %s', oid::regprocedure)
      FROM pg_proc WHERE pronamespace = '_data_manager_admin'::regnamespace
    UNION ALL SELECT 'ALTER SCHEMA _data_manager_admin'
  LOOP
    EXECUTE format('%s OWNER TO %I', command, {});
  END LOOP;
END $$
"""


@pytest.fixture(scope="session")
def department(server):
    """A role that owns no database."""
    create_role(server, ROLE)
    create_role(server, STRANGER)
    return ROLE


@pytest.fixture
def database(server, empty_database_url, department):
    """A database in which the role may do nothing: the session of its owner, and its URL."""
    name = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    with psycopg.connect(url_of(server, name, "dama"), autocommit=True) as admin:
        admin.execute(SQL("ALTER DATABASE {} OWNER TO dama").format(Identifier(name)))
        yield admin, url_of(server, name, ROLE)


GIVEN = {
    "CREATE on the database": f"GRANT CREATE ON DATABASE {{}} TO {ROLE}",
    "a schema made for it": f"CREATE SCHEMA _data_manager_admin AUTHORIZATION {ROLE}",
    "rights to a schema of another": "CREATE SCHEMA _data_manager_admin;"
    f" GRANT USAGE, CREATE ON SCHEMA _data_manager_admin TO {ROLE}",
}


@pytest.mark.parametrize("given", list(GIVEN.values()), ids=list(GIVEN))
async def test_one_right_is_enough_to_migrate_and_work(database, given):
    """No superuser, no CREATEROLE, no database of its own; again is nothing to do."""
    admin, url = database
    admin.execute(SQL(given).format(Identifier(admin.info.dbname)))

    await schema.migrate(url)
    again = await schema.migrate(url)
    async with Store.opened(url) as store:
        (context,) = await store.start([Start("a.b", {})])
        await store.log.position()
        status = (await store.context(context)).status
        await store.rebuild()

    assert again == []
    assert status == "OPEN"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("SELECT 1", f"GRANT CREATE ON DATABASE %s TO {ROLE}"),
        (
            "CREATE SCHEMA _data_manager_admin",
            f"GRANT USAGE, CREATE ON SCHEMA _data_manager_admin TO {ROLE}",
        ),
        (
            (
                "CREATE SCHEMA _data_manager_admin;"
                f" GRANT USAGE ON SCHEMA _data_manager_admin TO {ROLE}"
            ),
            f"GRANT USAGE, CREATE ON SCHEMA _data_manager_admin TO {ROLE}",
        ),
    ],
)
async def test_a_missing_right_is_named_with_its_grant(database, given, wanted):
    """What is printed is enough: executed, the migration goes through."""
    admin, url = database
    admin.execute(given)
    with pytest.raises(SchemaError) as caught:
        await schema.migrate(url)

    grant = wanted.replace("%s", admin.info.dbname)
    assert grant in str(caught.value.hint)
    admin.execute(grant)
    await schema.migrate(url)


async def test_tables_of_another_role_are_left_to_it(database):
    """A right to the schema is none to its tables."""
    admin, url = database
    admin.execute(SQL(GIVEN["CREATE on the database"]).format(Identifier(admin.info.dbname)))
    await schema.migrate(url)
    admin.execute(f"GRANT USAGE, CREATE ON SCHEMA _data_manager_admin TO {STRANGER}")

    with pytest.raises(SchemaError, match=f"belong to {ROLE}"):
        await schema.migrate(url.replace(ROLE, STRANGER))


async def test_the_tables_of_the_first_system_are_refused_and_stay(empty_database_url):
    """Adoption is another thing than a migration: nothing of what is there changes."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(FIRST_SYSTEM)
        before = _catalog(connection)

        with pytest.raises(SchemaError, match="tables of the first system: etl_context, event_st"):
            await schema.migrate(empty_database_url)
        with pytest.raises(SchemaError, match="tables of the first system"):
            async with Store.opened(empty_database_url):
                pass
        with pytest.raises(psycopg.Error, match="tables of the first system"):
            connection.execute(schema.script())
        connection.execute("ROLLBACK")

        assert _catalog(connection) == before


def _catalog(connection):
    return connection.execute(
        "SELECT relname, relkind, relfilenode FROM pg_class"
        " WHERE relnamespace = '_data_manager_admin'::regnamespace ORDER BY 1"
    ).fetchall()


def test_an_old_server_is_refused_by_its_name():
    """The script says it before its first statement; 14 is what CREATE OR REPLACE TRIGGER needs."""
    text = schema.preflight()

    assert text.index("server_version_num") < text.index("CREATE SCHEMA")
    assert "is too old: dama needs 14 or newer" in text


async def test_another_owner_needs_the_migration_again(server, empty_database_url, department):
    """The guards know the owner by name: after a restore as another role they are made again."""
    await schema.migrate(empty_database_url)
    name = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    with psycopg.connect(url_of(server, name, "dama"), autocommit=True) as admin:
        admin.execute(SQL(TO_ANOTHER_OWNER).format(Literal(ROLE)))
    url = url_of(server, name, ROLE)

    with pytest.raises(SchemaError, match="older schema"):
        async with Store.opened(url):
            pass
    applied = await schema.migrate(url)
    async with Store.opened(url) as store:
        await store.start([Start("a.b", {})])

    assert applied == ["functions"]
