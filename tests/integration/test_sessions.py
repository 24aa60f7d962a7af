"""Databases as they are: whatever a database, a role or the environment says of sessions."""

import asyncio
import os
import time

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from dama import Service, Task, step
from dama.definitions.registry import Registry
from dama.domain.lifecycle import lifecycle
from dama.errors import UnavailableError
from dama.run.subtasks import Endings
from dama.store import Start, Store, schema
from dama.store.errors import SchemaError
from dama.worker.worker import Worker
from tests.interop.cluster import free_port

SETTINGS = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "America/St_Johns",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "50ms",
    "idle_session_timeout": "50ms",
    "row_security": "off",
    "search_path": "nowhere",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "jit": "on",
    "jit_above_cost": "0",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "xmloption": "document",
    "exit_on_error": "on",
    "client_min_messages": "debug5",
    "check_function_bodies": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_indexscan": "off",
    "enable_seqscan": "off",
    "synchronous_commit": "off",
    "default_toast_compression": "pglz",
    "lc_messages": "C",
    "backslash_quote": "off",
    "escape_string_warning": "off",
    "lc_time": "C",
    "lc_numeric": "C",
    "transaction_timeout": "50ms",
    "gin_fuzzy_search_limit": "1",
    "debug_parallel_query": "on",
    "temp_file_limit": "1kB",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "plpgsql.extra_errors": "all",
    "session_replication_role": "replica",
    "from_collapse_limit": "1",
}
MORE = {
    "client_connection_check_interval": "10ms",
    "constraint_exclusion": "on",
    "createrole_self_grant": "set, inherit",
    "dama.rewrite_history": "off",
    "deadlock_timeout": "1ms",
    "default_statistics_target": "1",
    "default_table_access_method": "nonesuch",
    "default_tablespace": "nonesuch",
    "default_text_search_config": "pg_catalog.german",
    "effective_io_concurrency": "0",
    "event_triggers": "off",
    "geqo_threshold": "2",
    "gin_pending_list_limit": "64kB",
    "hash_mem_multiplier": "1",
    "lc_monetary": "C",
    "lo_compat_privileges": "on",
    "log_min_error_statement": "debug5",
    "log_statement": "all",
    "maintenance_work_mem": "1MB",
    "max_parallel_workers_per_gather": "8",
    "min_parallel_table_scan_size": "0",
    "my.own": "x",
    "password_encryption": "md5",
    "plpgsql.print_strict_params": "on",
    "plpgsql.variable_conflict": "use_variable",
    "recursive_worktable_factor": "1000",
    "temp_tablespaces": "nonesuch",
    "track_counts": "off",
    "track_functions": "all",
    "vacuum_cost_delay": "100ms",
    "vacuum_freeze_min_age": "0",
    "wal_compression": "on",
    "work_mem": "64kB",
    "xmlbinary": "hex",
}
# Each alone is tried as a setting of the database; whoever else sets it says the same to a session,
# later and with more weight. There as many are tried together as leave it clear which one it was.
TOGETHER = [list(SETTINGS)[first::7] for first in range(7)]
pinned = Service("pinned")


@step(retries=9, backoff=0.01, retry_on=psycopg.errors.QueryCanceled)
def selected(connection):
    """Its statements are its user's own, and so are their limits: a millisecond may be over."""
    return str(connection.execute("SELECT 1"))


@pinned.task
async def load(task: Task, n: int, text: str) -> int:
    """Do a plain step, a transactional one and a subtask."""
    await task.step("plain", lambda: n)
    await task.step("sql", selected, transactional=True)
    await task.sleep(0.01)
    return n


async def use(url):
    """All that a command and a worker do with a database."""
    async with Store.opened(url) as store:
        (context,) = await store.start([Start("pinned.load", {"n": 7, "text": "Grüße 🎉 \\"})])
        async with Worker(store, Registry([pinned])).working(), asyncio.timeout(60):
            while not await store.outcomes([context]):  # noqa: ASYNC110 - what a client does
                await asyncio.sleep(0.02)
        state = await store.state(context, lifecycle)
        assert (state.status, state.result) == ("DONE", 7), state.error
        await store.log.position()
        page = await store.log.read()
        assert [e.version for e in page.events] == list(range(1, len(page.events) + 1))
        assert page.events[0].payload["text"] == "Grüße 🎉 \\"
        seen = []

        async def handle(_, event):
            seen.append(event.type)

        await store.log.subscription("all", handle).catch_up()
        assert len(seen) == len(page.events)
        assert (await store.contexts())[0].created_at.tzinfo is not None
        assert await store.differences() == []
        assert await store.queue.queues() is not None


@pytest.fixture
def known(server):
    """The settings that the server has, so that each of them can be tried."""
    with psycopg.connect(server.url) as connection:
        connection.execute("DO 'BEGIN END'")  # which loads the settings of PL/pgSQL
        return {name for (name,) in connection.execute("SELECT name FROM pg_settings")}


def names(url):
    """The name of the database of a URL, and a connection that may change it."""
    with psycopg.connect(url) as connection:
        return connection.info.dbname, connection.info.user


@pytest.mark.parametrize("name", SETTINGS)
async def test_a_setting_of_the_database_changes_nothing(server, database_url, known, name):
    """Sessions are pinned; those who set it had other programs in mind."""
    if name not in known:
        pytest.skip(f"this server has no {name}")
    database, _ = names(database_url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            SQL("ALTER DATABASE {} SET {} = {}").format(
                Identifier(database), Identifier(name), Literal(SETTINGS[name])
            )
            if name != "search_path"
            else SQL("ALTER DATABASE {} SET search_path = nowhere").format(Identifier(database))
        )

    await use(database_url)


async def test_many_more_settings_at_once_change_nothing(server, empty_database_url, known):
    """What tuning guides and profiles have, all in one database; some fit no server."""
    database, _ = names(empty_database_url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name, value in MORE.items():
            if "." in name or name in known:
                alter = SQL("ALTER DATABASE {} SET {} = {}")
                connection.execute(
                    alter.format(Identifier(database), SQL(name), Literal(value))  # type: ignore[arg-type]
                )

    await schema.migrate(empty_database_url)
    await use(empty_database_url)


async def test_a_transaction_may_idle_from_its_very_beginning(server, database_url):
    """However little the database allows: on a busy machine time passes after each statement."""
    database, _ = names(database_url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '1ms'").format(
                Identifier(database)
            )
        )

    await use(database_url)


@pytest.mark.parametrize("together", TOGETHER, ids=" ".join)
async def test_settings_of_the_role_change_nothing(server, database_url, known, together):
    """As above, for one role in one database."""
    database, user = names(database_url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in known.intersection(together):
            connection.execute(
                SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
                    Identifier(user),
                    Identifier(database),
                    Identifier(name),
                    Literal(SETTINGS[name]),
                )
            )

    await use(database_url)


@pytest.mark.parametrize("together", TOGETHER, ids=" ".join)
async def test_settings_of_the_environment_change_nothing(
    server, database_url, known, monkeypatch, together
):
    """PGOPTIONS of a shell profile is meant for psql."""
    with psycopg.connect(server.url) as connection:
        of_superusers = "SELECT name FROM pg_settings WHERE context = 'superuser'"
        refused = {name for (name,) in connection.execute(of_superusers)}

    def options(*names: str) -> str:
        values = {name: SETTINGS[name].replace(" ", "\\ ") for name in names}
        return " ".join(f"-c {name}={value}" for name, value in values.items())

    monkeypatch.setenv("PGOPTIONS", options(*known.intersection(together) - refused))
    await use(database_url)

    for name in known.intersection(together) & refused:
        monkeypatch.setenv("PGOPTIONS", options(name))
        with pytest.raises(UnavailableError, match="permission denied to set parameter"):
            await use(database_url)  # the server says so itself


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGDATESTYLE", "SQL, DMY"),
        ("PGTZ", "Asia/Kathmandu"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGCLIENTENCODING", "EUC_TW"),  # which Python does not have
        ("PGCLIENTENCODING", "MULE_INTERNAL"),  # which the server does not convert
    ],
)
async def test_a_variable_of_libpq_changes_nothing(database_url, monkeypatch, name, value):
    """They are sent with the start of a session, and win over the database."""
    monkeypatch.setenv(name, value)

    await use(database_url)


@pytest.mark.parametrize("value", ["soon", "inf", ""])
async def test_a_timeout_that_is_none_is_named(database_url, monkeypatch, value):
    """As libpq has it; an empty one is none."""
    monkeypatch.setenv("PGCONNECT_TIMEOUT", value)
    if not value:
        await schema.status(database_url)
        return
    for act in (schema.migrate, schema.status, use):
        with pytest.raises(UnavailableError, match=f'invalid integer value "{value}"'):
            await act(database_url)


async def test_settings_of_a_service_file_change_nothing(
    server, database_url, empty_database_url, known, tmp_path, monkeypatch
):
    """All that a role may set, half of it in the options of each of two services."""
    file = tmp_path / "services.conf"
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    with psycopg.connect(server.url) as connection:
        free = "SELECT name FROM pg_settings WHERE context = 'user'"
        settable = {name for (name,) in connection.execute(free)} & known & {*SETTINGS}
    halves = (sorted(settable)[::2], sorted(settable)[1::2])
    for url, half in zip((database_url, empty_database_url), halves, strict=True):
        options = " ".join(f"-c {n}={SETTINGS[n].replace(' ', chr(92) + ' ')}" for n in half)
        address = {**psycopg.conninfo.conninfo_to_dict(url), "options": options}
        lines = "".join(f"{key}={value}\n" for key, value in address.items())
        file.write_text(f"[etl]\n{lines}")
        await schema.migrate("service=etl")
        await use("service=etl")

    assert len(settable) > 30


@pytest.mark.parametrize("together", TOGETHER, ids=" ".join)
async def test_a_database_is_migrated_whatever_its_settings_are(
    server, empty_database_url, known, together
):
    """The first command of a new project meets them, too."""
    database, _ = names(empty_database_url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in known.intersection(together):
            connection.execute(
                SQL("ALTER DATABASE {} SET {} = {}").format(
                    Identifier(database), Identifier(name), Literal(SETTINGS[name])
                )
            )

    assert await schema.migrate(empty_database_url)
    assert await schema.migrate(empty_database_url) == []
    assert all(await schema.status(empty_database_url))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_cannot_hold_every_text_is_refused(server, encoding):
    """Before anything is changed in it, with what to do."""
    name = f"odd_{encoding.lower()}_{os.getpid()}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            SQL(
                "CREATE DATABASE {} ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            ).format(Identifier(name), Literal(encoding))
        )
        url = server.url.replace("/dama?", f"/{name}?")
        with pytest.raises(SchemaError, match=f"the encoding {encoding}") as caught:
            await schema.migrate(url)
        with psycopg.connect(url) as odd:
            (schemas,) = odd.execute("SELECT to_regnamespace('_data_manager_admin')").fetchone()
        connection.execute(SQL("DROP DATABASE {}").format(Identifier(name)))

    assert schemas is None
    assert "UTF8" in caught.value.hint


async def test_one_of_several_hosts_is_enough(server, database_url):
    """With target_session_attrs, a server that is away or read-only is passed over."""
    database, user = names(database_url)
    with psycopg.connect(server.url) as connection:
        host, port = connection.info.host, connection.info.port
    url = (
        f"host=127.0.0.1,{host} port={free_port()},{port} user={user} dbname={database} "
        "target_session_attrs=read-write"
    )

    await use(url)


@pinned.task
async def thinks(task: Task) -> str:
    """Is busy in Python, in the middle of a transaction."""

    def slowly(connection):
        time.sleep(0.6)
        return str(connection.execute("SELECT 1").fetchone())

    return await task.step("slow", slowly, transactional=True)


async def test_no_limit_of_a_role_ends_a_transaction_of_somebody_who_thinks(
    server, database_url, known
):
    """A step, and the handler of a subscription."""
    limits = ["idle_in_transaction_session_timeout", "transaction_timeout"]
    database, user = names(database_url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for limit in known.intersection(limits):
            connection.execute(
                SQL("ALTER ROLE {} IN DATABASE {} SET {} = '300ms'").format(
                    Identifier(user), Identifier(database), Identifier(limit)
                )
            )
    seen = []

    async def handle(_, event):
        await asyncio.sleep(0.6 if not seen else 0)
        seen.append(event.type)

    async with Store.opened(database_url) as store:
        (context,) = await store.start([Start("pinned.thinks", {})])
        async with Worker(store, Registry([pinned])).working():
            found = await Endings(store, lambda: None).wait([context], fail_fast=False)
        assert found[context].result == "(1,)", found[context].error
        await store.log.subscription("thinking", handle).catch_up()
    assert len(seen) == 4
