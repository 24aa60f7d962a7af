"""Databases as they are: names, locales, schemas and triggers of others, addresses that change."""

import asyncio
import os
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from dama import Service, Task
from dama.cli import main
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.embedded import EmbeddedPostgres
from dama.store import LogFilter, Start, Store, schema
from dama.store.errors import MissingRightError, ReadOnlyDatabaseError
from dama.store.health import read_health
from dama.store.queue_rows import WorkerIdentity
from dama.store.windows import ContextFilter
from dama.worker.worker import Worker
from tests.conftest import create_role, url_of
from tests.forwarder import Forwarder
from tests.integration.test_sessions import use
from tests.interop.cluster import free_port

S = "_data_manager_admin"
odd = Service("odd")
ALIKE = ("i", "I", "\N{LATIN SMALL LETTER DOTLESS I}", "a10", "a9", "a09", "Z", "z")
_numbers = count(1)


@odd.task
async def steps(task: Task, n: int) -> int:
    """Wait for a signal between steps, so that a test may act in between."""
    await task.step("before", lambda: n)
    await task.wait_for("go")
    return await task.step("after", lambda: n + 1)


@pytest.fixture
def made(server):
    """Makes a database with options of CREATE DATABASE, migrated as its owner; its URL."""
    databases = []

    def make(options="", name=None, owner="plain_owner"):
        name = name or f"odd_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(server.url, autocommit=True) as connection:
            create = SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' ")
            connection.execute(create.format(Identifier(name), Identifier(owner)) + SQL(options))
        databases.append((name, owner))
        known = conninfo_to_dict(url_of(server, "dama"))
        return make_conninfo("", **known | {"dbname": name, "user": owner})

    yield make
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name, owner in databases:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
            if owner == name:
                connection.execute(SQL("DROP ROLE {}").format(Identifier(name)))


@pytest.mark.parametrize(
    "name", ['Mein "Haus" 1%', "a'b\\c", "UPPER.lower-9", "ünï 🎉", "select", "postgresql://x"]
)
async def test_names_that_need_quotes_are_names(server, made, name):
    """Of the database and of its owner."""
    create_role(server, name)
    url = made(name=name, owner=name)

    await schema.migrate(url)
    assert await schema.migrate(url) == []
    await use(url)


@pytest.mark.parametrize(
    "options",
    [
        "LOCALE 'C'",
        "LOCALE 'C.UTF-8'",
        "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
    ],
)
async def test_a_locale_orders_nothing_of_ours(made, options):
    """Those of ICU are tried with a server that has them (tests/migration/test_other_servers)."""
    url = made(options)
    await schema.migrate(url)
    await use(url)
    async with Store.opened(url) as store:
        contexts = await store.start([Start("odd.steps", {"n": 1}, queue=name) for name in ALIKE])
        queues = [row.queue for row in await store.queue.queues()]
        await store.log.position()
        page = await store.log.read(0, LogFilter(prefix="odd."))

    assert sorted(queues) == sorted(ALIKE)
    assert {event.context_id for event in page.events} >= set(contexts)


HOSTILE = """
CREATE SCHEMA evil;
CREATE TABLE public.etl_context (a int);
CREATE TABLE public.event_store_prototype (a int);
CREATE VIEW public.run_queue AS SELECT 1 AS a;
CREATE TABLE evil.event_log (a int);
CREATE TABLE evil.pg_class (a int);
CREATE TABLE evil.pg_trigger (a int);
CREATE FUNCTION evil.mine() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'mine'; END $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz
  LANGUAGE plpgsql AS $$ BEGIN RETURN evil.mine(); END $$;
CREATE FUNCTION evil.now() RETURNS timestamptz
  LANGUAGE plpgsql AS $$ BEGIN RETURN evil.mine(); END $$;
CREATE FUNCTION evil.to_regclass(text) RETURNS regclass
  LANGUAGE plpgsql AS $$ BEGIN RETURN evil.mine(); END $$;
CREATE FUNCTION evil.format(text, VARIADIC text[]) RETURNS text
  LANGUAGE plpgsql AS $$ BEGIN RETURN evil.mine(); END $$;
CREATE FUNCTION evil.same(text, text) RETURNS boolean
  LANGUAGE plpgsql AS $$ BEGIN RETURN evil.mine(); END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE DOMAIN evil.jsonb AS int;
CREATE DOMAIN evil.bigint AS int;
CREATE DOMAIN evil.timestamptz AS int;
"""
NOTES = """
CREATE TABLE public.note (tag text);
GRANT INSERT ON public.note TO PUBLIC;
CREATE FUNCTION public.note_it() RETURNS event_trigger LANGUAGE plpgsql SET search_path = public AS
  $$ BEGIN INSERT INTO note VALUES (tg_tag); END $$;
CREATE EVENT TRIGGER note_ddl ON ddl_command_end EXECUTE FUNCTION public.note_it();
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION public.note_it();
"""


@pytest.mark.parametrize("path", ["evil, pg_catalog, public", "public, evil, pg_catalog", "''"])
async def test_tables_functions_and_operators_of_others_are_not_taken_for_ours(
    server, empty_database_url, path
):
    """Whatever the search path finds first, at the migration and after it."""
    name = conninfo_to_dict(empty_database_url)["dbname"]
    with psycopg.connect(url_of(server, name, "dama"), autocommit=True) as admin:
        admin.execute(HOSTILE)
        admin.execute("GRANT USAGE ON SCHEMA evil, public TO PUBLIC")
        admin.execute(f"ALTER DATABASE {name} SET search_path = {path}")

    await schema.migrate(empty_database_url)
    await use(empty_database_url)
    async with Store.opened(empty_database_url) as store:
        assert await store.rebuild() == (0, 0)


async def test_event_triggers_of_others_see_what_a_migration_does(server, empty_database_url):
    """They write in the migration's transaction, into tables of their own."""
    name = conninfo_to_dict(empty_database_url)["dbname"]
    with psycopg.connect(url_of(server, name, "dama"), autocommit=True) as admin:
        admin.execute(NOTES)
        await schema.migrate(empty_database_url)
        await use(empty_database_url)
        (notes,) = admin.execute("SELECT count(*) FROM public.note").fetchone()

    assert notes > 100


@pytest.mark.parametrize("force", ["NO FORCE", "FORCE"])
async def test_row_level_security_hides_nothing_without_a_word(server, store, database_url, force):
    """A worker that sees a part of the contexts would end the others: it is an error."""
    (context,) = await store.start([Start("odd.steps", {"n": 1})])
    name = conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"ALTER TABLE {S}.etl_context ENABLE ROW LEVEL SECURITY")
        owner.execute(f"ALTER TABLE {S}.etl_context {force} ROW LEVEL SECURITY")

        if force == "FORCE":
            for act in (store.contexts(), store.start([Start("odd.steps", {"n": 1})])):
                with pytest.raises(MissingRightError, match="row-level security") as caught:
                    await act
                assert f"ALTER TABLE {S}.etl_context DISABLE" in caught.value.hint
            with psycopg.connect(url_of(server, name, "dama"), autocommit=True) as admin:
                admin.execute("ALTER ROLE plain_owner BYPASSRLS")
                try:
                    assert await store.context(context)
                finally:
                    admin.execute("ALTER ROLE plain_owner NOBYPASSRLS")
        else:
            assert await store.context(context)


async def test_a_run_continues_at_the_new_address_of_the_server(database_url):
    """Of several in one URL the first one dies in the middle, and the second one comes up."""
    addresses = [Forwarder(database_url, free_port()) for _ in range(2)]
    base = conninfo_to_dict(database_url)
    url = make_conninfo(
        "",
        **base
        | {
            "host": "127.0.0.1,127.0.0.1",
            "port": ",".join(str(each.port) for each in addresses),
            "target_session_attrs": "read-write",
        },
    )
    await addresses[0].start()

    await moved(url, database_url, addresses)


async def test_a_run_continues_where_the_service_file_says_now(database_url, tmp_path, monkeypatch):
    """It is read at each connection."""
    addresses = [Forwarder(database_url, free_port()) for _ in range(2)]
    base = conninfo_to_dict(database_url)
    file = tmp_path / "services.conf"
    monkeypatch.setenv("PGSERVICEFILE", str(file))

    def write(address):
        found = base | address.address | {"options": "-c datestyle=German -c lock_timeout=1ms"}
        lines = "".join(f"{key}={value}\n" for key, value in found.items())
        file.write_text(f"[etl]\n{lines}")

    write(addresses[0])
    await addresses[0].start()

    await moved("service=etl", database_url, addresses, lambda: write(addresses[1]))


async def moved(url, beside, addresses, say=lambda: None):
    """A run begins at the first address and ends at the second one."""
    try:
        async with Store.opened(url) as store, Store.opened(beside) as direct:
            (context,) = await store.start([Start("odd.steps", {"n": 6})])
            async with Worker(store, Registry([odd])).working(), asyncio.timeout(60):
                while "odd.steps/before:DONE" not in [e.type for e in await direct.events(context)]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                await addresses[0].stop()
                say()
                await addresses[1].start()
                await direct.append(context, [Event("go", None)])
                while not await direct.outcomes([context]):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                assert (await store.context(context)).status == "DONE"
                assert (await direct.outcomes([context]))[context].result == 7
    finally:
        for each in addresses:
            await each.stop()


READS = [
    lambda s: s.contexts(),
    lambda s: s.context(1),
    lambda s: s.events(1),
    lambda s: s.tree(1),
    lambda s: s.state(1, lifecycle),
    lambda s: s.outcomes([1]),
    lambda s: s.log.position(),
    lambda s: s.log.read(0),
    lambda s: s.log.subscriptions(),
    lambda s: s.queue.queues(),
    lambda s: s.queue.workers(),
    lambda s: s.queue.obstacles(1),
    lambda s: s.schedules.all(),
    lambda s: s.tokens.all(),
    lambda s: s.differences(),
    lambda s: read_health(s.database),
    lambda s: s.windows.contexts(ContextFilter(state="waiting", params={"n": 1})),
    lambda s: s.windows.children(1),
    lambda s: s.windows.at([1], 1),
    lambda s: s.state(1, lifecycle, at=1),
    lambda s: s.windows.waits(1),
    lambda s: s.tree_events(1, {1: 0}),
    lambda s: s.started_how(1),
    lambda s: s.ends([1]),
    lambda s: s.windows.tree_ends([1]),
    lambda s: s.now(),
    lambda s: s.log.position_of(1),
    lambda s: s.log.wait(0),
    lambda s: s.log.parked(),
    lambda s: s.archive.closed(timedelta(0)),
    lambda s: s.queue.circles(),
    lambda s: s.queue.circle(1),
    lambda s: s.queue.without_worker([1]),
    lambda s: s.queue.bound_programs([1]),
    lambda s: s.queue.workers_of_host("host"),
    lambda s: s.schedules.due(["odd.steps"]),
    lambda s: s.tokens.find("dama_unknown"),
    lambda s: s.tokens.is_running(1, 1),
]
WRITES = [
    lambda s: s.start([Start("odd.steps", {"n": 1})]),
    lambda s: s.append(1, [Event("noted", None)]),
    lambda s: s.cancel([1], "why", {}),
    lambda s: s.queue.set_queue("etl", paused=True),
    lambda s: s.resume(1, {}),
    lambda s: s.queue.register(
        WorkerIdentity("host", "boot", 1, "0", "0"), queues=[], root=None, slots=1, lease=HOUR
    ),
    lambda s: s.queue.release([1]),
    lambda s: s.queue.set_trouble(1, "none"),
    lambda s: s.archive.restore(1),
    lambda s: all_of(s.archive.add(timedelta(0))),
    lambda s: all_of(s.archive.forget(timedelta(0))),
    lambda s: s.log.subscription("reader", nothing).catch_up(),
    lambda s: s.log.resume("reader", 1),
    lambda s: s.tokens.add("ann", "viewer", "bob"),
    lambda s: s.tokens.revoke("ann"),
    lambda s: s.schedules.remove("nightly"),
    lambda s: s.rebuild(),
]
HOUR = timedelta(hours=1)


async def all_of(pieces):
    """All of them."""
    return [piece async for piece in pieces]


async def nothing(connection, event):
    """Handle an event."""


READING = [
    "ls", "show 1", "tree 1", "events 1", "events --all", "state 1", "queue ls", "queue why 1",
    "schedule ls", "workers", "token ls", "log status", "log acts", "db status",
]  # fmt: skip
WRITING = [
    "cancel 1", "emit 1 noted", "queue pause etl", "archive restore 1", "db rebuild",
]  # fmt: skip


EARLY = ["db status", "db migrate status", "doctor", "ls", "db adopt --dry-run", "db adopt",
         "db grants"]  # fmt: skip


async def test_a_server_that_is_too_old_is_named_by_every_command(made, monkeypatch, capsys):
    """Advice to migrate could not be followed."""
    url = made()
    forwarder = Forwarder(url, free_port(), version="13.9")
    await forwarder.start()
    monkeypatch.setenv("DAMA_DATABASE_URL", make_conninfo(url, **forwarder.address))
    for command in EARLY:
        assert await asyncio.to_thread(main, command.split()) != 0, command
        assert "PostgreSQL 13.9 is too old" in "".join(capsys.readouterr()), command
    await forwarder.stop()


async def test_a_standby_is_read_and_says_that_it_only_reads(tmp_path, monkeypatch, capsys):
    """All that looks works there; what writes names who would take it."""
    server = EmbeddedPostgres(tmp_path / "home", fsync=False)
    try:
        url = server.start()
        await schema.migrate(url)
        async with Store.opened(url) as store:
            await store.start([Start("odd.steps", {"n": 1})])
        server.stop()
        (tmp_path / "home/data/standby.signal").touch()
        server.start()

        async with Store.opened(url) as store:
            for read in READS:
                await read(store)
            for write in WRITES:
                with pytest.raises(ReadOnlyDatabaseError, match="only reads") as caught:
                    await write(store)
                assert "target_session_attrs=read-write" in caught.value.hint
            monkeypatch.setenv("DAMA_DATABASE_URL", url)
            for command in READING:
                assert await asyncio.to_thread(main, command.split()) == 0, command
            assert "Traceback" not in capsys.readouterr().err
            for command in WRITING:
                assert await asyncio.to_thread(main, command.split()) != 0, command
                assert "only reads" in capsys.readouterr().err, command
        with pytest.raises(ReadOnlyDatabaseError, match="only reads"):
            await schema.migrate(url)
        assert all(await schema.status(url))
    finally:
        server.stop()
