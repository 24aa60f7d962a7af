"""Rebuild: what is derived follows from the events, and nothing but the events."""

import json
from datetime import timedelta
from hashlib import sha256

import psycopg
import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.outcome import Waiting
from dama.run.subtasks import Endings
from dama.store import Append, Start
from dama.store.errors import WorkersAliveError
from dama.store.queue_rows import WorkerIdentity
from dama.store.rows import Difference
from dama.worker.worker import Worker

CONTEXTS = """SELECT context_id, root_context_id, parent_id, task, status, version, epoch,
  initial_event_id, latest_event_id, idempotency_key
  FROM _data_manager_admin.etl_context ORDER BY 1"""
QUEUE = """SELECT context_id, root_context_id, parent_id, task, queue, priority, state, epoch,
  attempt,
  round(extract(epoch FROM due_at)), round(extract(epoch FROM expires_at)),
  round(extract(epoch FROM deadline_at)), labels, limit_key, key_limit
  FROM _data_manager_admin.run_queue ORDER BY 1"""
DAMAGE = """
SET dama.rewrite_history = 'on';
UPDATE _data_manager_admin.etl_context
  SET status = 'CANCELLED', version = version + 3, latest_event_id = NULL, root_context_id = 1,
      idempotency_key = NULL;
DELETE FROM _data_manager_admin.run_queue;
"""
HOUR = 3600.0
simple = Service("simple")


@simple.task
async def work(task: Task) -> None:
    """Do nothing."""


async def register(store, *, lease=timedelta(minutes=1)):
    """A worker that is known."""
    return await store.queue.register(
        WorkerIdentity("host", "boot", 1, "1", "0"),
        queues=["default"],
        root=None,
        slots=99,
        lease=lease,
    )


@pytest.fixture
async def busy(store):
    """Contexts in every state that a context and a run can have; returns two of them."""
    worker = await register(store)
    task = "simple.work"

    async def written(context, suffix, *, error=None, **meta):
        payload = {"message": "no", "delay": HOUR} if error else None
        body = ({"error": error} if error else {}) | ({"meta": meta} if meta else {})
        await store.append_many([Append(context, Event(f"{task}:{suffix}", payload, **body))])

    plain = [Start(task, {})] * 8
    done, failed, cancelled, retrying, resumed, waiting, parent, _ = await store.start(plain)
    claims = await store.queue.claim(worker, queues=["default"], tasks=[task], root=None, demand=99)
    for claim in claims:
        await written(claim.context_id, "STARTED", epoch=claim.epoch, attempt=claim.attempt)
    await written(done, "FINAL", epoch=1)
    await written(failed, "ERROR", error=True, epoch=1)
    await store.cancel([cancelled], "enough", {})
    await written(retrying, "RETRYING", error=True, epoch=1)
    await store.queue.retry(retrying, worker, HOUR)
    await written(resumed, "ERROR", error=True, epoch=1)
    await store.resume(resumed, {})
    child, _ = await store.start([Start(task, {})] * 2, parent=parent)
    await written(child, "FINAL")
    labelled, *_ = await store.start(
        [
            Start(task, {}, "other", 7, "once", labels=["gpu"], deadline=HOUR),
            Start(task, {}, delay=HOUR, expires=2 * HOUR),
            Start(task, {}, limit_key="k"),
            Start(task, {}, limit_key="k"),
        ]
    )
    await store.queue.park(
        waiting, worker, Waiting([], on_failure=False, until=None, types=["x"], seen=2)
    )
    await store.queue.release([worker])
    return {"waiting": waiting, "labelled": labelled}


def tables(database_url):
    """The derived tables."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(CONTEXTS).fetchall(), connection.execute(QUEUE).fetchall()


async def test_what_is_derived_is_what_the_events_say(store, database_url, busy):
    """Nothing differs before and after, but that a run which waited is queued to wait again."""
    contexts, queue = tables(database_url)

    corrected, runs = await store.rebuild()

    again, rebuilt = tables(database_url)
    assert again == contexts
    assert (corrected, runs) == (0, len(queue))
    differing = [(old, new) for old, new in zip(queue, rebuilt, strict=True) if old != new]
    assert [(old[0], old[6], new[6]) for old, new in differing] == [
        (busy["waiting"], "waiting", "queued")
    ]


async def test_what_was_damaged_is_derived_again(store, database_url, busy):
    """All columns of all contexts wrong, and the queue gone."""
    await store.rebuild()
    before = tables(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(DAMAGE)

    corrected, runs = await store.rebuild()

    assert tables(database_url) == before
    assert (corrected, runs) == (len(before[0]), len(before[1]))
    assert (await store.rebuild())[0] == 0


async def test_a_rebuilt_queue_is_worked_off(store, busy):
    """A worker takes it as if nothing had been."""
    await store.rebuild()
    rows = await store.contexts(status="OPEN", roots_only=False)
    queued = {row.context_id for row in rows if row.run.state in {"queued", "blocked"}}
    ready = sorted(queued - {busy["labelled"]})

    async with Worker(store, Registry([simple])).working():
        endings = Endings(store, lambda: None)
        found = await endings.wait(ready, fail_fast=False)

    assert len(ready) > 4
    assert {outcome.status for outcome in found.values()} == {"DONE"}


async def test_nothing_is_rebuilt_while_a_worker_lives(store):
    """What it holds is in no event."""
    await register(store)

    with pytest.raises(WorkersAliveError, match="The worker host:1 lives"):
        await store.rebuild()


async def test_what_differs_is_told_while_workers_live(store, database_url, busy):
    """Each column with what is there and what the events say; nothing is changed."""
    await register(store)
    assert await store.differences() == []
    with psycopg.connect(database_url) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute(
            "UPDATE _data_manager_admin.etl_context SET status = 'DONE', idempotency_key = NULL"
            "  WHERE context_id = %s",
            [busy["labelled"]],
        )
    expected = [
        Difference(busy["labelled"], "idempotency_key", None, "once"),
        Difference(busy["labelled"], "status", "DONE", "OPEN"),
    ]

    assert await store.differences() == expected
    assert await store.differences() == expected


async def test_a_key_that_another_context_has_does_not_come_back(store, database_url):
    """Two contexts with one key cannot be."""
    (first,) = await store.start([Start("simple.work", {}, key="once")])
    with psycopg.connect(database_url) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute("UPDATE _data_manager_admin.etl_context SET idempotency_key = NULL")
    (second,) = await store.start([Start("simple.work", {}, key="once")])

    assert (await store.rebuild())[0] == 0
    assert await store.start([Start("simple.work", {}, key="once")]) == [second] != [first]


@pytest.mark.parametrize("call", ["rebuild()", "rebuild_queue()", "rebuild_contexts()"])
async def test_no_part_is_rebuilt_under_a_living_worker(store, database_url, call):
    """A new queue knows nothing of what a worker holds, and the run would be started twice."""
    worker = await register(store)
    (context,) = await store.start([Start("simple.work", {})])
    await store.queue.claim(worker, queues=["default"], tasks=["simple.work"], root=None, demand=9)

    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(f"SELECT _data_manager_admin.{call}")

    assert caught.value.sqlstate == "DM009"
    assert (await store.context(context)).run.state == "running"


LONG = "".join(sha256(str(n).encode()).hexdigest() for n in range(100))  # too much for an index
ODD_METAS = [
    '{"priority": "high", "delay": "1h", "expires": [], "deadline": {}, "labels": "gpu"}',
    '{"priority": 1e300, "delay": 1e300, "key_limit": -1, "limit_key": "k", "labels": {}}',
    '{"priority": null, "delay": null, "labels": [1, null], "queue": null, "limit_key": null}',
    '{"priority": true, "key_limit": "many", "limit_key": 7, "program_epoch": "x"}',
    '{"limit_key": "k"}',
    '{"deadline": 1e300, "priority": 0.4, "labels": 7, "limit_key": {}, "key_limit": null}',
    f'{{"queue": "{LONG}", "start_key": "{LONG}"}}',
    f'{{"limit_key": "{LONG}", "key_limit": 1, "queue": ""}}',
    "[]",
    "null",
]


@pytest.mark.parametrize("meta", ODD_METAS, ids=lambda meta: meta[:60])
async def test_what_an_old_initial_says_of_the_queue_keeps_nobody_from_it(
    store, database_url, meta
):
    """Rows of older writers: what is no priority counts as none, and all other runs are derived."""
    good, bad = await store.start([Start("simple.work", {}, priority=3), Start("simple.work", {})])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute(
            "UPDATE _data_manager_admin.event_store_prototype SET meta = %s"
            " WHERE etl_context_id = %s",
            [meta, bad],
        )
        connection.execute("DELETE FROM _data_manager_admin.run_queue")

    assert (await store.rebuild())[1] == 2

    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT context_id, priority, state FROM _data_manager_admin.run_queue ORDER BY 1"
        ).fetchall()
    assert rows == [(good, 3, "queued"), (bad, 0, "queued")]


@pytest.mark.parametrize("meta", ODD_METAS, ids=lambda meta: meta[:60])
async def test_what_an_old_initial_says_of_the_queue_keeps_nobody_from_resuming(
    store, database_url, meta
):
    """The run is there again, and can be claimed."""
    (context,) = await store.start([Start("simple.work", {})])
    await store.cancel([context], "no", {})
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute(
            "UPDATE _data_manager_admin.event_store_prototype SET meta = %s"
            " WHERE etl_context_id = %s AND version = 1",
            [meta, context],
        )

    assert await store.resume(context, {}) == [context]

    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT priority, state FROM _data_manager_admin.run_queue"
        ).fetchall()
    assert rows == [(0, "queued")]


@pytest.mark.parametrize("name", ["queue", "limit_key", "start_key"])
@pytest.mark.parametrize("value", [LONG, ""], ids=["long", "empty"])
def test_a_start_says_nothing_that_could_not_be_derived_again(database_url, name, value):
    """One such event would keep all others from it."""
    event = {"type": "a.b:INITIAL", "meta": {name: value}}
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(
            "SELECT _data_manager_admin.start_contexts(%s)",
            [json.dumps([{"task": "a.b", "event": event}])],
        )

    assert caught.value.sqlstate == "DM001"
    assert "1,000 bytes" in str(caught.value)


@pytest.mark.parametrize(
    "payload", ['{"delay": "soon"}', "{}", "[]", "null", None, '{"delay": 1e300}']
)
async def test_a_run_that_retries_without_a_delay_is_due_at_once(store, database_url, payload):
    """Without a time nothing would ever queue it again."""
    (context,) = await store.start([Start("simple.work", {})])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute(
            "INSERT INTO _data_manager_admin.event_store_prototype"
            " (etl_context_id, type, payload, version)"
            " VALUES (%s, 'simple.work:RETRYING', %s, 2)",
            [context, payload],
        )

    await store.rebuild()

    run = (await store.context(context)).run
    assert run.state == "retrying"
    assert run.due_at <= await store.now()
