"""Roles: what a reader, a writer and a worker may do, each as a session of its own."""

# ruff: noqa: S608 - the names in the statements are those of this file

import asyncio
import re
import subprocess

import psycopg
import pytest

from dama import Service, Task
from dama.cli import main
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.run.subtasks import Endings
from dama.store import Start, Store, schema
from dama.store.errors import MissingRightError
from dama.store.grants import default_grants, grants
from dama.worker.worker import Worker
from tests.conftest import create_role, url_of
from tests.integration.test_databases import READING, READS

S = "_data_manager_admin"
MISSING_RIGHT = 6  # the exit code
flights = Service("flights")


def count(connection):
    """A step's SQL."""
    return connection.execute("SELECT 7").fetchone()[0]


@flights.task
async def month(task: Task) -> int:
    """A transactional step."""
    return await task.step("count", count, transactional=True)


@flights.task(retries=1, backoff=0.01)
async def year(task: Task) -> int:
    """Subtasks, a wait, a signal, a retry, a slice."""
    done = await task.map(month, [{}, {}])
    await task.sleep(0.01)
    await task.dispatch("rows/loaded", {"rows": 7})
    if task.attempt == 1:
        raise ValueError("again")
    return sum(done)


@pytest.fixture(scope="session")
def roles(server):
    """Roles that can log in and nothing else."""
    names = {access: f"plain_{access}_role" for access in ("reader", "writer", "worker", "nobody")}
    for name in names.values():
        create_role(server, name)
    return names


@pytest.fixture
def url_as(server, database_url, roles):
    """The URL of the test's database as one of the roles, with what `dama db grants` prints."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]

    def url(access):
        if access != "nobody":
            execute(database_url, asyncio.run(grants(database_url, roles[access], access)))
        return url_of(server, name, roles[access])

    return url


def execute(url, statements):
    """Execute statements as the owner, twice: they may be executed again."""
    with psycopg.connect(url) as connection:
        for statement in [*statements, *statements]:
            connection.execute(statement)


def refused(url, statement):
    """Whether a role has no right to a statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return True
        except psycopg.Error:
            return False
    return False


def functions(url):
    """All functions of the schema."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT oid, oid::regprocedure::text FROM pg_proc"
            f" WHERE pronamespace = '{S}'::regnamespace"
        ).fetchall()


def may_execute(url, role):
    """The names of the functions that a role may execute."""
    with psycopg.connect(url) as connection:
        return {
            name.partition(".")[2].partition("(")[0]
            for oid, name in functions(url)
            if connection.execute(
                "SELECT has_function_privilege(%s, %s::oid, 'EXECUTE')", [role, oid]
            ).fetchone()[0]
        }


def test_nobody_may_execute_anything_by_being_there(database_url, url_as, roles):
    """PUBLIC has no right to a function, also with USAGE on the schema."""
    with psycopg.connect(database_url) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA {S} TO {roles['nobody']}")

    assert may_execute(database_url, roles["nobody"]) == set()
    start = f"""SELECT {S}.start_contexts('[{{"task": "programs.run", "event": {{}}}}]')"""
    assert refused(url_as("nobody"), start)


async def test_a_function_of_a_later_migration_is_not_for_everyone(empty_database_url, roles):
    """Whatever a migration makes; a role that was granted its rights has them afterwards too."""
    await schema.migrate(empty_database_url)
    execute(empty_database_url, await grants(empty_database_url, roles["worker"], "worker"))
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(f"CREATE FUNCTION {S}.newer() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        connection.execute(f"DROP FUNCTION {S}.park_run")
        connection.execute(
            f"UPDATE {S}.schema_migration SET checksum = 'older' WHERE name = 'functions'"
        )

    await schema.migrate(empty_database_url)

    may = may_execute(empty_database_url, roles["worker"])
    assert {"newer", "park_run"} <= may
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_proc p,"
            " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
            f" WHERE p.pronamespace = '{S}'::regnamespace AND a.grantee = 0"
        ).fetchone() == (0,)


async def test_a_reader_reads_and_writes_nothing(store, url_as):
    """Views, both tables, the log and state_at(); no token, no secret, no word of its own."""
    (context,) = await store.start([Start("a.b", {})])
    await store.log.position()
    url = await asyncio.to_thread(url_as, "reader")

    with psycopg.connect(url, autocommit=True) as connection:
        for view in ("context_overview", "event_history", "queue_overview", "event_log"):
            connection.execute(f"SELECT * FROM {S}.{view}")
        state = connection.execute(f"SELECT status FROM {S}.state_at(%s)", [context]).fetchone()

    assert state == ("OPEN",)
    for statement in (
        f"SELECT * FROM {S}.token",
        f"SELECT * FROM {S}.run_secret",
        f"INSERT INTO {S}.etl_context DEFAULT VALUES",
        f"INSERT INTO {S}.event_store_prototype (etl_context_id, type) VALUES ({context}, 'x')",
        f"SELECT {S}.dispatch({context}, 'x')",
        f"SELECT {S}.append_events('[]')",
        f"UPDATE {S}.run_queue SET priority = 9",
        f"DELETE FROM {S}.worker",
    ):
        assert refused(url, statement), statement


async def test_a_reader_sees_all_that_a_standby_shows(store, url_as, monkeypatch, capsys):
    """Every command that only looks is for a role that only reads; tokens are not."""
    await store.start([Start("a.b", {"n": 1}, queue="etl", labels=("gpu",), limit_key="k")] * 2)
    await store.queue.set_queue("etl", rate=0.001, concurrency=1)
    url = await asyncio.to_thread(url_as, "reader")
    refused = []
    async with Store.opened(url) as reader:
        for read in READS:
            try:
                await read(reader)
            except MissingRightError as error:
                refused.append(str(error))
    monkeypatch.setenv("DAMA_DATABASE_URL", url)
    codes = {
        command: await asyncio.to_thread(main, command.split())
        for command in [*READING, "doctor", "activity", "diff 1 2", "db rebuild --dry-run"]
    }

    assert {re.sub(".* for ", "", each) for each in refused} == {"table token."}
    assert {command for command, code in codes.items() if code == MISSING_RIGHT} == {"token ls"}
    assert "Traceback" not in capsys.readouterr().err


async def test_a_worker_keeps_what_a_reader_reads(store, url_as):
    """Nobody needs to be the owner; another role than the one who keeps it takes over."""
    (one,) = await store.start([Start("a.b", {})])
    async with Store.opened(await asyncio.to_thread(url_as, "worker")) as worker:
        await (await worker.slice_tables.begin(lifecycle)).catch_up()
    await (await store.slice_tables.begin(lifecycle, again=True)).catch_up()
    reader = await asyncio.to_thread(url_as, "reader")

    with psycopg.connect(reader) as connection:
        assert connection.execute(f"SELECT context_id FROM {S}.slice_states").fetchall() == [(one,)]
    async with Store.opened(reader) as opened:
        assert [table.rows for table in await opened.slice_tables.tables()] == [1]
        with pytest.raises(MissingRightError):
            await opened.slice_tables.drop("lifecycle")
    async with Store.opened(await asyncio.to_thread(url_as, "worker")) as worker:
        assert await worker.slice_tables.drop("lifecycle") == 1


async def test_a_writer_inserts_as_old_programs_do_and_no_more(store, database_url, url_as, roles):
    """Contexts, events and dispatch(); neither reading nor starting, claiming or ending."""
    (ours,) = await store.start([Start("a.b", {})])
    url = await asyncio.to_thread(url_as, "writer")

    with psycopg.connect(url, autocommit=True) as connection:
        (old,) = connection.execute(
            f"INSERT INTO {S}.etl_context (parent_id) VALUES (NULL) RETURNING context_id"
        ).fetchone()
        put = (
            f"INSERT INTO {S}.event_store_prototype (etl_context_id, type, payload)"
            " VALUES (%s, %s, '1') ON CONFLICT DO NOTHING RETURNING event_id, version"
        )
        versions = [
            connection.execute(put, [old, type_]).fetchone()[1]
            for type_ in (":INITIAL", "x", ":FINAL")
        ]
        connection.execute(f"SELECT {S}.dispatch(%s, 'rows/loaded', '7')", [ours])
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(put, [ours, "a.b:FINAL"])

    assert versions == [1, 2, 3]
    assert caught.value.sqlstate == "DM010"
    assert may_execute(database_url, roles["writer"]) == {"dispatch"}
    for statement in (
        f"SELECT * FROM {S}.event_history",
        f"SELECT payload FROM {S}.event_store_prototype",
        f"SELECT task FROM {S}.etl_context",
        f"UPDATE {S}.etl_context SET modified_at = now()",
        f"DELETE FROM {S}.event_store_prototype",
        f"TRUNCATE {S}.event_store_prototype",
        f"SELECT * FROM {S}.run_queue",
        f"SELECT {S}.append_events('[]')",
        f"SELECT {S}.start_contexts('[]')",
        f"SELECT setval('{S}.event_store_prototype_event_id_seq', 9000000)",
    ):
        assert refused(url, statement), statement


async def test_a_worker_works_as_its_role(url_as, database_url, roles):
    """Starts, claims, steps, subtasks, waits, retries, cancels, schedules, tokens, the log."""
    url = await asyncio.to_thread(url_as, "worker")
    async with Store.opened(url) as store:
        (run, other) = await store.start([Start("flights.year", {}), Start("flights.none", {})])
        async with Worker(store, Registry([flights])).working():
            found = await Endings(store, lambda: None).wait([run], fail_fast=False)
        await store.cancel([other], "not needed", {"user": "me"})
        await store.resume(other, {"user": "me"})
        await store.queue.set_queue("etl", concurrency=3)
        await store.append(other, [Event("go")])
        await store.log.position()
        page = await store.log.read()
        await store.log.subscription("s", handle).catch_up()
        await store.differences()

    assert (found[run].status, found[run].result) == ("DONE", 14)
    assert page.events
    for statement in (
        f"SELECT {S}.rebuild_queue()",
        f"SELECT {S}.forget_trees('0', 1)",
        f"DELETE FROM {S}.event_store_prototype",
        f"INSERT INTO {S}.etl_context DEFAULT VALUES",
        f"UPDATE {S}.etl_context SET status = 'DONE'",
        f"CREATE TABLE {S}.mine ()",
    ):
        assert refused(url, statement), statement


async def handle(_connection, _event):
    """What a subscription does: nothing."""


async def test_a_missing_right_says_what_grants_it(url_as):
    """Not a bug message."""
    url = await asyncio.to_thread(url_as, "reader")

    async with Store.opened(url) as store:
        with pytest.raises(MissingRightError) as caught:
            await store.start([Start("a.b", {})])

    assert "permission denied for function start_contexts" in str(caught.value)
    assert "dama db grants" in str(caught.value.hint)


def test_the_printed_script_makes_roles_with_psql(server, database_url):
    """As the person who may create roles; again without a change."""
    script = "\n".join(["BEGIN;", *asyncio.run(default_grants(database_url)), "COMMIT;"])
    url = server.url.replace(
        "/dama?", f"/{psycopg.conninfo.conninfo_to_dict(database_url)['dbname']}?"
    )

    for _ in range(2):
        subprocess.run(
            [server.binaries / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-q", url],
            input=script, text=True, check=True,
        )  # fmt: skip

    with psycopg.connect(url) as connection:
        rows = connection.execute(
            f"SELECT role, access FROM {S}.granted_role ORDER BY 1"
        ).fetchall()
    assert rows == [(f"dama_{a}", a) for a in ("reader", "worker", "writer")]


@pytest.mark.parametrize("role", ["public", "none"])
async def test_nobody_grants_to_everyone(database_url, role):
    """GRANT takes PUBLIC for a word, also in quotes."""
    with pytest.raises(Exception, match="is no role"):
        await grants(database_url, role, "reader")
