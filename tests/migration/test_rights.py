"""Migrating with few rights: no superuser, one schema; what is in the way is said."""

import asyncio
import re

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from dama.domain.event import Event
from dama.store import Start, Store, schema
from dama.store.errors import MissingRightError, SchemaError
from dama.store.grants import grants
from dama.store.health import read_health
from dama.store.windows import ContextFilter
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

LATER_GENERATION = """
CREATE SCHEMA data_manager;
CREATE TABLE data_manager.etl_contexts (
  etl_context_id serial PRIMARY KEY, parent_context_id int, source_id int, etl_task_id int,
  etl_status text, initial_event_id int, latest_event_id int,
  _created_timestamp timestamp, _modified_timestamp timestamp);
CREATE TABLE data_manager.event_store (
  event_id serial PRIMARY KEY, etl_context_id int NOT NULL, type text NOT NULL,
  payload jsonb, meta jsonb, error boolean, _created_timestamp timestamp);
INSERT INTO data_manager.etl_contexts DEFAULT VALUES;
"""
PARTITIONED = """
CREATE SCHEMA _data_manager_admin;
CREATE TABLE _data_manager_admin.event_store_prototype (event_id int) PARTITION BY RANGE (event_id)
"""
OF_ONE_KIND = {
    "the first generation": (FIRST_SYSTEM, "etl_context, event_store_prototype"),
    "the later one": (LATER_GENERATION, "data_manager.etl_contexts, data_manager.event_store"),
    "both": (
        FIRST_SYSTEM + LATER_GENERATION,
        "etl_context, event_store_prototype, data_manager.etl_contexts, data_manager.event_store",
    ),
    "one table": (
        "CREATE SCHEMA _data_manager_admin; CREATE TABLE _data_manager_admin.etl_context ()",
        "etl_context",
    ),
    "views of them": (
        FIRST_SYSTEM.replace("_data_manager_admin", "moved") + "CREATE SCHEMA _data_manager_admin;"
        " CREATE VIEW _data_manager_admin.etl_context AS TABLE moved.etl_context;",
        "etl_context",
    ),
    "partitions": (PARTITIONED, "event_store_prototype"),
}
TAKEN = {
    "a table": ("CREATE TABLE _data_manager_admin.schedule (a int)", '"schedule" already exists'),
    "a type": ("CREATE TYPE _data_manager_admin.token AS (a int)", '"token" already exists'),
    "a view": ("CREATE VIEW _data_manager_admin.worker AS SELECT 1", '"worker" already exists'),
    "a function": (
        "CREATE FUNCTION _data_manager_admin.event_kind(type text) RETURNS int RETURN 1",
        "cannot change",
    ),
}
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


@pytest.mark.parametrize(("made", "named"), OF_ONE_KIND.values(), ids=OF_ONE_KIND)
async def test_the_tables_of_the_first_system_are_refused_and_stay(empty_database_url, made, named):
    """Adoption is another thing than a migration: nothing of what is there changes."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(made)
        before = _catalog(connection)

        with pytest.raises(SchemaError, match=f"tables of the first system: {named}. Nothing"):
            await schema.migrate(empty_database_url)
        with pytest.raises(SchemaError, match="tables of the first system"):
            await schema.status(empty_database_url)
        with pytest.raises(SchemaError, match="tables of the first system"):
            async with Store.opened(empty_database_url):
                pass
        with pytest.raises(psycopg.Error, match="tables of the first system"):
            connection.execute(schema.script())
        connection.execute("ROLLBACK")

        assert _catalog(connection) == before


def _catalog(connection):
    return connection.execute(
        "SELECT relnamespace::regnamespace::text, relname, relkind, relfilenode FROM pg_class"
        " WHERE relnamespace::regnamespace::text !~ '^pg_|^information_schema' ORDER BY 1, 2"
    ).fetchall()


async def test_the_first_system_may_live_beside_a_schema_of_ours(empty_database_url):
    """What has been migrated is known, whatever else is in the database."""
    await schema.migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(LATER_GENERATION)

    assert await schema.migrate(empty_database_url) == []
    async with Store.opened(empty_database_url) as store:
        assert await store.start([Start("a.b", {})])


ODD = {
    "of another program": (
        "CREATE TABLE _data_manager_admin.schema_migration (version bigint, dirty bool)",
        "is another program's",
    ),
    "emptied": (
        """
        CREATE TABLE _data_manager_admin.etl_context (root_context_id bigint);
        CREATE TABLE _data_manager_admin.schema_migration (
          name text, checksum text, applied_at timestamptz)
        """,
        "list of migrations is empty",
    ),
}


@pytest.mark.parametrize(("made", "said"), ODD.values(), ids=ODD)
async def test_an_odd_list_of_migrations_is_said_by_all(empty_database_url, made, said):
    """It is not the first system, and nothing is changed."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA _data_manager_admin")
        connection.execute(made)
        before = _catalog(connection)

        for act in (schema.migrate, schema.status, lambda url: Store.opened(url).__aenter__()):
            with pytest.raises(SchemaError, match=said):
                await act(empty_database_url)

        assert _catalog(connection) == before


async def test_no_index_or_sequence_is_the_first_system(empty_database_url):
    """Only what could have its rows."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE SCHEMA data_manager; CREATE SEQUENCE data_manager.etl_contexts;"
            "CREATE TABLE data_manager.other (a int);"
            "CREATE INDEX event_store ON data_manager.other (a)"
        )

    assert not any(each.applied_at for each in await schema.status(empty_database_url))
    assert await schema.migrate(empty_database_url)


@pytest.mark.parametrize(("made", "said"), TAKEN.values(), ids=TAKEN)
async def test_a_name_that_is_taken_is_said(empty_database_url, made, said):
    """By something in the schema that is not ours; nothing of ours stays."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA _data_manager_admin")
        connection.execute(made)
        before = _catalog(connection)

        with pytest.raises(SchemaError, match=said):
            await schema.migrate(empty_database_url)

        assert _catalog(connection) == before


async def test_an_event_trigger_that_refuses_is_repeated(database):
    """Its text and its hint are for the person who migrates."""
    admin, url = database
    admin.execute(SQL(GIVEN["CREATE on the database"]).format(Identifier(admin.info.dbname)))
    admin.execute(
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'not on a Friday' USING HINT = 'Ask the department.'; END $$;"
        "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN tag IN ('CREATE TABLE')"
        " EXECUTE FUNCTION refuse()"
    )

    with pytest.raises(SchemaError, match="not on a Friday") as caught:
        await schema.migrate(url)

    assert "Ask the department." in caught.value.hint
    admin.execute("DROP EVENT TRIGGER refuse")
    assert await schema.migrate(url)


def lacking(url):
    """What a migration says to do about a right that is missing."""
    with pytest.raises(SchemaError) as caught:
        asyncio.run(schema.migrate(url))
    return caught.value.hint


FROM_PUBLIC = {
    "EXECUTE ON FUNCTION pg_catalog.set_config(text, text, bool)": "set_config",
    "EXECUTE ON FUNCTION pg_catalog.pg_backend_pid()": "pg_backend_pid",
    "USAGE ON LANGUAGE plpgsql": "LANGUAGE",
    "USAGE ON TYPE jsonb": "TYPE",
    "SELECT ON pg_catalog.pg_roles": "pg_roles",
}


def test_what_public_has_lost_is_named(database):
    """A hardened server: what is printed is enough, and nothing was changed before."""
    admin, url = database
    admin.execute(SQL(GIVEN["a schema made for it"]))
    before = _catalog(admin)
    for right, named in FROM_PUBLIC.items():
        admin.execute(f"REVOKE {right} FROM PUBLIC")

        hint = lacking(url)

        assert named in hint
        admin.execute(re.search(r"GRANT .* TO [^.]*", hint)[0])
    assert _catalog(admin) == before
    admin.execute(
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;"
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
        f"REVOKE ALL ON DATABASE {admin.info.dbname} FROM PUBLIC;"
        f"GRANT CONNECT ON DATABASE {admin.info.dbname} TO {ROLE}"
    )
    asyncio.run(schema.migrate(url))


async def test_a_role_that_inherits_nothing_is_told_whom_to_become(database, server):
    """With the setting `role` it has the rights of the group, and is called like it."""
    admin, url = database
    for role, kind in (("plain_group", "NOLOGIN"), ("plain_stiff", "LOGIN NOINHERIT")):
        create_role(server, role)
        admin.execute(f"ALTER ROLE {role} {kind}")
    admin.execute("GRANT plain_group TO plain_stiff")
    url = url.replace(ROLE, "plain_stiff")
    for given in ("SELECT 1", "CREATE SCHEMA _data_manager_admin AUTHORIZATION plain_group"):
        admin.execute(f'ALTER DATABASE {admin.info.dbname} OWNER TO "plain_group"')
        admin.execute(given)

        with pytest.raises(SchemaError, match="plain_stiff may not") as caught:
            await schema.migrate(url)

    admin.execute(re.search(r"ALTER ROLE .*(?=\.$)", caught.value.hint)[0])
    await schema.migrate(url)
    async with Store.opened(url) as store:
        assert await store.start([Start("a.b", {})])
    admin.execute("REVOKE USAGE ON SCHEMA _data_manager_admin FROM plain_group")
    with pytest.raises(MissingRightError, match="refuses the role plain_group"):
        async with Store.opened(url):
            pass


async def test_who_migrates_later_leaves_all_to_the_owner(database):
    """A superuser, or a member of the owner: nothing new is theirs, so the owner continues."""
    admin, url = database
    admin.execute(
        f"CREATE SCHEMA _data_manager_admin AUTHORIZATION {ROLE}; GRANT {ROLE} TO {STRANGER}"
    )
    numbered = [migration.name for migration in schema.migrations()][:-1]
    await schema.migrate(url, up_to=numbered[len(numbered) // 2])

    await schema.migrate(url.replace(ROLE, STRANGER), up_to=numbered[-2])
    await schema.migrate(url.replace(ROLE, "dama"))

    admin.execute(f"REVOKE {ROLE} FROM {STRANGER}")
    owners = admin.execute(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class"
        " WHERE relnamespace = '_data_manager_admin'::regnamespace"
        " UNION SELECT DISTINCT proowner::regrole::text FROM pg_proc"
        " WHERE pronamespace = '_data_manager_admin'::regnamespace"
    ).fetchall()
    assert owners == [(ROLE,)]
    async with Store.opened(url) as store:
        assert await store.start([Start("a.b", {})])
    admin.execute("ALTER FUNCTION _data_manager_admin.start_contexts OWNER TO dama")
    admin.execute("UPDATE _data_manager_admin.schema_migration SET checksum = ''")
    with pytest.raises(SchemaError, match="must be owner of function") as caught:
        await schema.migrate(url)
    admin.execute(re.search(r"ALTER .*(?=\.$)", caught.value.hint)[0])
    assert await schema.migrate(url) == ["functions"]


async def test_an_event_trigger_that_gives_tables_away_is_followed_or_refused(database):
    """Departments have one that makes all tables a group's: the migration becomes that group."""
    admin, url = database
    admin.execute(SQL(GIVEN["a schema made for it"]))
    admin.execute(
        "CREATE FUNCTION give() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$"
        " DECLARE r record; BEGIN FOR r IN SELECT * FROM pg_event_trigger_ddl_commands()"
        "  WHERE object_type = 'table' LOOP"
        "  EXECUTE format('ALTER TABLE %s OWNER TO plain_stranger', r.object_identity);"
        " END LOOP; END $$;"
        "CREATE EVENT TRIGGER give ON ddl_command_end WHEN tag IN ('CREATE TABLE')"
        " EXECUTE FUNCTION give()"
    )
    before = _catalog(admin)

    for grant in (f"GRANT {STRANGER} TO {ROLE}", "GRANT USAGE, CREATE ON SCHEMA"):
        with pytest.raises(SchemaError) as caught:
            await schema.migrate(url)
        assert grant in caught.value.hint
        admin.execute(re.search(r"GRANT .*(?=\.$)", caught.value.hint)[0])

    assert _catalog(admin) == before
    await schema.migrate(url)
    async with Store.opened(url) as store:
        assert await store.start([Start("a.b", {})])
    admin.execute(f"REVOKE {STRANGER} FROM {ROLE}")


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


READS = [
    lambda s: s.start([Start("a.b", {})]),
    lambda s: s.append(1, [Event("noted", None)]),
    lambda s: s.context(1),
    lambda s: s.events(1),
    lambda s: s.tree(1),
    lambda s: s.outcomes([1]),
    lambda s: s.windows.contexts(ContextFilter()),
    lambda s: s.windows.children(1),
    lambda s: s.log.position(),
    lambda s: s.log.read(0),
    lambda s: s.log.subscriptions(),
    lambda s: s.queue.queues(),
    lambda s: s.queue.workers(),
    lambda s: s.queue.set_queue("etl", paused=True),
    lambda s: s.queue.obstacles(1),
    lambda s: s.schedules.all(),
    lambda s: s.tokens.all(),
    lambda s: s.tokens.count_request("here", 60),
    lambda s: read_health(s.database),
    lambda s: s.rebuild(),
]
SIGNS = ("execute GRANT", "execute the GRANT")


async def missing(read):
    """What is said of a right that a read has not; None when it has all."""
    try:
        await read
    except MissingRightError as error:
        return error
    return None


async def test_each_right_that_is_missing_is_named(server, database_url, department):
    """Whichever of the rights of a worker's role was forgotten: never a bug message."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    given = [s for s in await grants(database_url, department, "worker") if s.startswith("GRANT ")]
    refused = set()
    with psycopg.connect(database_url, autocommit=True) as owner:
        for statement in given:
            owner.execute(statement)
        async with Store.opened(url_of(server, name, department)) as store:
            await store.start([Start("a.b", {})])
            for statement in given:
                take, back = re.match(r"GRANT (.*) TO (\S+);$", statement).groups()
                owner.execute(f"REVOKE {take} FROM {back}")
                for read in READS:
                    if (said := await missing(read(store))) is not None:
                        assert department in str(said)
                        assert any(sign in said.hint for sign in SIGNS), said.hint
                        refused.add(statement)
                owner.execute(statement)

    assert len(refused) > 15
    # Some rights cannot be missed one at a time: a right to a table is also one to its columns.
    assert any("USAGE ON SCHEMA" in statement for statement in refused)
    assert any("EXECUTE ON FUNCTION" in statement for statement in refused)


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [
        ("CONNECT ON DATABASE {0}", "GRANT CONNECT ON DATABASE {0} TO"),
        ("USAGE ON SCHEMA _data_manager_admin", "GRANT USAGE ON SCHEMA _data_manager_admin TO"),
        ("SELECT ON _data_manager_admin.schema_migration", "GRANT for it"),
    ],
)
async def test_a_right_that_is_missing_at_the_door_is_named(
    server, database_url, department, taken, wanted
):
    """Where all commands begin: at the connection, the schema and its version."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    url = url_of(server, name, department)
    with psycopg.connect(url_of(server, name, "dama"), autocommit=True) as admin:
        for statement in await grants(database_url, department, "worker"):
            admin.execute(statement)
        if "CONNECT" in taken:
            admin.execute(f"REVOKE CONNECT, TEMP ON DATABASE {name} FROM PUBLIC")
        admin.execute(f"REVOKE {taken.format(name)} FROM {department}")

    for act in (Store.opened(url).__aenter__, lambda: schema.status(url)):
        with pytest.raises(MissingRightError) as caught:
            await act()
        assert wanted.format(f'"{name}"') in caught.value.hint
        assert department in str(caught.value)


async def test_default_privileges_open_no_secrets(empty_database_url, server, department):
    """Who may read all new tables of the owner reads no token; a granted worker does."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {ROLE}, {STRANGER}, PUBLIC;"
            "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC"
        )
        await schema.migrate(empty_database_url)
        for statement in await grants(empty_database_url, STRANGER, "worker"):
            connection.execute(statement)
        connection.execute("UPDATE _data_manager_admin.schema_migration SET checksum = ''")
        await schema.migrate(empty_database_url)
        may = {
            (role, table): connection.execute(
                "SELECT has_table_privilege(%s, %s, 'SELECT')",
                [role, f"_data_manager_admin.{table}"],
            ).fetchone()[0]
            for role in (ROLE, STRANGER)
            for table in ("token", "run_secret", "etl_context")
        }

    assert [each for each, is_open in may.items() if not is_open] == [
        (ROLE, "token"), (ROLE, "run_secret"),
    ]  # fmt: skip
