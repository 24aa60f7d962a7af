# ruff: noqa: S105 - secrets made for the test
"""`scrub`: a secret that got in leaves all that is stored; the act is on record."""

import asyncio
import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from dama.domain.event import Event
from dama.domain.secrets import Secrets
from dama.programs.programs import directories_of
from dama.store import Start, Store
from dama.store.errors import MissingRightError, UnknownContextError
from dama.store.grants import grants
from dama.upkeep.scrubbing import Where, scrub
from tests.conftest import create_role, url_of

SECRET = 'hun"ter\\2/ü 9'
DIGITS = "73519024"
KEPT = "9973519024"
SCHEMA = "_data_manager_admin"
COLUMNS = f"""
SELECT c.relname, a.attname, a.atttypid::regtype::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
  WHERE c.relnamespace = '{SCHEMA}'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""  # noqa: E501, S608


def struck(act, where=None, *, dry_run=False):
    """Scrub with the secret, in a home of the test's own."""
    store, secret = act
    home = Path(os.environ["DAMA_HOME"])
    where = where or Where(reason="it was printed")
    return scrub(store, home, Secrets([secret]), where, by="alice", dry_run=dry_run)


def all_text(url):
    """All rows of all tables, as JSON texts."""
    with psycopg.connect(url) as database:
        tables = {row[0] for row in database.execute(COLUMNS)}
        return {
            table: [r[0] for r in database.execute(f"SELECT to_jsonb(t) FROM {SCHEMA}.{table} t")]  # noqa: S608
            for table in sorted(tables)
        }


def places(url, *words):
    """The tables that have one of the words, in whatever form JSON has it."""
    forms = [json.dumps(word, ensure_ascii=False)[1:-1] for word in words]
    return {
        table
        for table, rows in all_text(url).items()
        for row in rows
        if any(form in json.dumps(row, ensure_ascii=False) for form in forms)
    }


async def begun(store, key="k", **payload):
    """A context with a run in the queue."""
    (started,) = await store.start([Start("a.b", payload, key=key)])
    return started


async def told(store, context, type_, payload=None, meta=None):
    """Append an event of somebody outside."""
    await store.append(context, [Event(type_, payload, meta=meta or {})])


async def test_a_secret_leaves_events_queue_snapshots_and_schedules(store, database_url):
    """Whatever the form, also from keys, numbers, types and idempotency keys."""
    context = await begun(store, key=f"key of {SECRET}", token=SECRET, deep=[{SECRET: [1, SECRET]}])
    other = await begun(store, key="other", number=int(DIGITS), larger=int(KEPT), text=DIGITS)
    meta = {"idempotency_key": f"x{SECRET}", "by": SECRET}
    await told(store, context, f"said {SECRET}", f"url?p={SECRET}", meta)
    await told(store, context, "again", None, {"idempotency_key": f"y{SECRET}"})
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(f"UPDATE {SCHEMA}.run_queue SET wake_types = ARRAY['a', %s]", [SECRET])  # noqa: S608
        database.execute(
            f"INSERT INTO {SCHEMA}.slice_snapshot VALUES (%s, 's', 1, 1, %s)",  # noqa: S608
            [context, json.dumps({"s": SECRET})],
        )
        database.execute(
            f"INSERT INTO {SCHEMA}.schedule (name, task, cron, zone, params, catch_up, overlap, jitter, next_at)"  # noqa: S608, E501
            " VALUES ('n', 'a.b', '* * * * *', 'UTC', %s, 'none', 'allow', 0, now())",
            [json.dumps({"p": SECRET})],
        )
    before = all_text(database_url)["event_store_prototype"]
    found = places(database_url, SECRET)
    assert len(found) >= 4

    looked = await struck((store, SECRET), dry_run=True)
    assert places(database_url, SECRET) == found
    assert looked.context_id is None
    done = await struck((store, SECRET))
    assert done.rows == looked.rows
    assert places(database_url, SECRET) == set()
    await struck((store, DIGITS))
    assert json.dumps(DIGITS) not in json.dumps(all_text(database_url))
    events = {e.type: e for e in await store.events(other)}
    assert events["a.b:INITIAL"].payload == {"number": "***", "larger": int(KEPT), "text": "***"}

    after = all_text(database_url)["event_store_prototype"]
    same = ("event_id", "etl_context_id", "version", "created_at", "xid")
    kept = {e["event_id"]: [e[name] for name in same] for e in after}
    assert all(kept[e["event_id"]] == [e[name] for name in same] for e in before)
    (act, _), *_ = [await store.events(done.context_id)]
    assert act.type == "dama.scrub:INITIAL"
    assert act.meta["user"] == "alice"
    assert act.payload == {"where": "all", "reason": "it was printed"}
    final = (await store.events(done.context_id))[-1]
    assert (final.type, final.payload["rows"]) == ("dama.scrub:FINAL", done.rows)


async def test_a_second_act_finds_nothing_and_says_nothing(store):
    """It may be repeated at any time."""
    context = await begun(store, token=SECRET)
    assert (await struck((store, SECRET))).context_id
    version = (await store.context(context)).version
    again = await struck((store, SECRET))
    assert (again.rows, again.files, again.context_id) == ({}, 0, None)
    assert (await store.context(context)).version == version


async def test_only_what_was_named_is_searched(store, database_url):
    """A context, or its tree."""
    (root,) = await store.start([Start("a.b", {"p": SECRET})])
    (child,) = await store.start([Start("a.b", {"p": SECRET})], parent=root)
    (other,) = await store.start([Start("a.b", {"p": SECRET})])
    await struck((store, SECRET), Where(child))

    def having():
        rows = all_text(database_url)["event_store_prototype"]
        return {r["etl_context_id"] for r in rows if SECRET in str(r["payload"])}

    assert SECRET not in str((await store.events(child))[0].payload)
    assert SECRET in (await store.events(root))[0].payload["p"]
    await struck((store, SECRET), Where(child, tree=True))
    assert SECRET not in (await store.events(root))[0].payload["p"]
    assert SECRET in (await store.events(other))[0].payload["p"]
    assert having() <= {other}
    with pytest.raises(UnknownContextError):
        await struck((store, SECRET), Where(999_999))


async def test_the_archive_is_searched_too(store, database_url):
    """A tree comes back without the secret."""
    context = await begun(store, token=SECRET)
    await store.cancel([context], "over", {})
    async for _ in store.archive.add(timedelta(0)):
        pass
    assert {"archived_event"} <= places(database_url, SECRET)
    done = await struck((store, SECRET), Where(context, tree=True))
    assert done.rows["archived_event"] == 1
    assert places(database_url, SECRET) == set()
    await store.archive.restore(context)
    assert (await store.events(context))[0].payload == {"token": "***"}


async def test_what_acts_is_kept_and_told(store, database_url):
    """The name of a queue is no data."""
    await store.queue.set_queue(f"q-{DIGITS}", concurrency=3)
    done = await struck((store, DIGITS))
    assert done.kept == {"queue_setting": 1}
    assert done.rows == {}
    assert "queue_setting" in places(database_url, DIGITS)


async def test_every_column_is_searched_or_kept(store, database_url):
    """Also those of tables that come later: they are found in the catalog."""
    with psycopg.connect(database_url) as database:
        texts = {
            (table, column)
            for table, column, type_ in database.execute(COLUMNS)
            if type_ in ("text", "text[]", "jsonb", "json", "character varying")
        }
        known = database.execute(f"SELECT relation, name, struck FROM {SCHEMA}.scrub_columns()")  # noqa: S608
        struck_by = {(table, name): how for table, name, how in known}
    assert struck_by.keys() == texts
    assert ("event_store_prototype", "payload") in struck_by
    kept = {name for (_, name), how in struck_by.items() if how is None}
    assert not kept & {"payload", "meta", "type", "params", "error", "state_json", "failure"}


async def test_only_the_owner_of_the_tables_may(store, server, database_url):
    """A worker's role rewrites nothing."""
    context = await begun(store, token=SECRET)
    role = f"scrubber_{os.getpid()}"
    create_role(server, role)
    try:
        with psycopg.connect(database_url, autocommit=True) as database:
            for statement in await grants(database_url, role, "worker"):
                database.execute(statement)
        name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
        async with Store.opened(url_of(server, name, role)) as as_worker:
            with pytest.raises(MissingRightError, match="history"):
                await struck((as_worker, SECRET))
            with (
                psycopg.connect(url_of(server, name, role)) as database,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                database.execute(f"SELECT {SCHEMA}.begin_scrub('{{}}', '{{}}')")
        assert (await store.events(context))[0].payload == {"token": SECRET}
    finally:
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute(f"DELETE FROM {SCHEMA}.granted_role")  # noqa: S608


async def test_appends_meanwhile_lose_nothing(store, database_url):
    """Writers of the same contexts continue beside it."""
    contexts = [await begun(store, key=str(n), token=SECRET) for n in range(5)]

    async def write(context):
        for number in range(40):
            await told(store, context, "tick", {"n": number, "p": SECRET})

    async def scrub_often():
        for _ in range(5):
            await struck((store, SECRET))

    await asyncio.gather(*map(write, contexts), scrub_often())
    await struck((store, SECRET))
    assert places(database_url, SECRET) == set()
    for context in contexts:
        ticks = [e for e in await store.events(context) if e.type == "tick"]
        assert [e.payload["n"] for e in ticks] == list(range(40))
        assert all(e.payload["p"] == "***" for e in ticks)
    assert await store.differences() == []


async def test_what_somebody_has_locked_is_struck_later_and_holds_up_nobody(store, database_url):
    """A program inserts an event and loads for hours: scrubbing keeps no other row meanwhile."""
    locked, free = await store.start([Start("s.t", {"secret": SECRET})] * 2)
    query = f"SELECT FROM {SCHEMA}.event_store_prototype WHERE etl_context_id = %s FOR UPDATE"
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
    async with await psycopg.AsyncConnection.connect(database_url) as stranger:
        await stranger.execute(query, [locked])
        striking = asyncio.create_task(struck((store, SECRET)))
        async with asyncio.timeout(60):
            while True:
                if (await store.events(free))[0].payload == {"secret": "***"}:
                    break
                await asyncio.sleep(0.02)
        assert await (await stranger.execute(waiting)).fetchone() == (0,)
        assert not striking.done()
        await stranger.commit()
    report = await striking

    assert report.rows["event_store_prototype"] == 2
    assert places(database_url, SECRET) == set()


async def test_the_files_of_this_host_are_struck_too(store):
    """In place, so that whoever follows a log keeps his place; names of artifacts as well."""
    context = await begun(store)
    home = Path(os.environ["DAMA_HOME"])
    run = (await directories_of(store, home)).of(context, 1)
    run.make()
    line = f"before {DIGITS} behind\n"
    run.stdout.write_text(line)
    run.stderr.write_text("nothing\n")
    run.write("params.json", {"p": int(DIGITS), DIGITS: "x"})
    run.result.write_text(json.dumps({"r": DIGITS}))
    (run.artifacts / f"of-{DIGITS}").mkdir()
    (run.artifacts / f"of-{DIGITS}" / f"{DIGITS}.csv").write_text("x")
    (run.artifacts / "link").symlink_to(run.stdout)
    logs = home / "logs"
    logs.mkdir(parents=True)
    (logs / f"{context}.log").write_text(line)
    looked = await struck((store, DIGITS), Where(context), dry_run=True)
    assert looked.files == 6
    assert run.stdout.read_text() == line
    done = await struck((store, DIGITS), Where(context))
    assert done.files == 6
    assert run.stdout.read_text() == line.replace(DIGITS, "*" * len(DIGITS))
    assert run.read("params.json") == {"p": "***", "***": "x"}
    assert json.loads(run.result.read_text()) == {"r": "*" * len(DIGITS)}
    assert [p.relative_to(run.artifacts).as_posix() for p in sorted(run.artifacts.rglob("*"))] == [
        "link", "of-***", "of-***/***.csv",
    ]  # fmt: skip
    assert stat.S_IMODE((run.path / "params.json").stat().st_mode) == 0o600
    assert DIGITS not in (logs / f"{context}.log").read_text()
    final = (await store.events(done.context_id))[-1]
    assert final.payload["files"] == 6
