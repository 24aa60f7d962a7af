"""Somebody's open transaction has locked rows: what needs them waits, and nothing else does.

A program that inserts an event and loads for hours before it commits is a normal day.
"""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest

from dama import clock
from dama.domain.event import Event
from dama.domain.outcome import Waiting
from dama.run.group_commit import GroupCommit
from dama.store import Append, Start
from dama.store.errors import LockedError
from dama.store.queue_rows import WorkerIdentity
from tests.integration.leases import renew

SCHEMA = "_data_manager_admin"
PATIENCE = 60
LEASE = timedelta(minutes=10)


@asynccontextmanager
async def stranger(url, query, *params):
    """A transaction that holds locks, until the block ends or it is committed."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"SET search_path = {SCHEMA}")
        await connection.execute("BEGIN")
        await connection.execute(query, params)
        yield connection
        await connection.execute("COMMIT")


CONTEXT = "SELECT FROM etl_context WHERE context_id = %s FOR UPDATE"
RUN = "SELECT FROM run_queue WHERE context_id = %s FOR UPDATE"
WORKER = "SELECT FROM worker WHERE worker_id = %s FOR UPDATE"


async def within(awaitable):
    return await asyncio.wait_for(awaitable, PATIENCE)


async def register(store):
    identity = WorkerIdentity("h", "b", 1, "1", "1")
    return await store.queue.register(identity, queues=["default"], root=None, slots=9, lease=LEASE)


async def claim(store, worker, demand=99):
    claims = await store.queue.claim(
        worker, queues=["default"], tasks=["s.t"], root=None, demand=demand, after={}
    )
    return [claim.context_id for claim in claims]


async def types(store, context):
    return [event.type for event in await store.events(context)]


async def test_the_events_of_other_runs_do_not_wait_with_those_of_a_locked_context(
    store, database_url
):
    """One commit has the events of many runs; those of the locked one come later, in order."""
    first, second = await store.start([Start("s.t", {})] * 2)
    commits = GroupCommit(store)

    async with stranger(database_url, CONTEXT, first):
        together = [
            commits.submit([Append(context, Event(type_))])
            for type_ in ("a", "b")
            for context in (first, second)
        ]
        await within(together[1])
        await within(together[3])
        late = commits.submit([Append(first, Event("c"))])
        for n in range(20):
            await within(commits.submit([Append(second, Event(f"more/{n}"))]))
        assert not any(answer.done() for answer in (together[0], together[2], late))
    for answer in (together[0], together[2], late):
        await within(answer)

    assert await types(store, first) == ["s.t:INITIAL", "a", "b", "c"]
    assert (await types(store, second))[1:3] == ["a", "b"]


async def test_the_end_of_a_subtask_whose_parent_is_locked_keeps_no_other_waiting(
    store, database_url
):
    """Which row is locked no context says, so each is tried by itself."""
    parent, other = await store.start([Start("s.t", {})] * 2)
    children = await store.start([Start("s.t", {})] * 3, parent=parent)
    commits = GroupCommit(store)

    async with stranger(database_url, RUN, parent):
        ends = [commits.submit([Append(c, Event("s.t:FINAL"))]) for c in (*children, other)]
        await within(ends[-1])
        await within(commits.submit([Append(parent, Event("note"))]))
        assert not any(end.done() for end in ends[:3])
    for end in ends:
        await within(end)

    assert {(await store.context(c)).status for c in (*children, other)} == {"DONE"}


async def test_an_event_whose_writer_went_away_is_waited_for_no_more(store, database_url):
    """It was stopped meanwhile."""
    context, other = await store.start([Start("s.t", {})] * 2)
    commits = GroupCommit(store)

    async with stranger(database_url, CONTEXT, context):
        gone = commits.submit([Append(context, Event("a"))])
        await within(commits.submit([Append(other, Event("x"))]))  # then it is known as locked
        gone.cancel()
        later = commits.submit([Append(context, Event("b"))])
    await within(later)

    assert await types(store, context) == ["s.t:INITIAL", "b"]


async def test_many_waits_for_strangers_leave_the_connections_to_the_others(store, database_url):
    """Claims and renewals continue beside more blocked statements than there are connections."""
    contexts = await store.start([Start("s.t", {})] * 30)
    worker = await register(store)
    assert len(await claim(store, worker)) == 30
    waiting = Waiting([], on_failure=False, until=None, types=["go"], seen=1)

    query = "SELECT FROM etl_context WHERE context_id = ANY (%s) FOR UPDATE"
    async with stranger(database_url, query, contexts[:25]) as locked:
        parking = [asyncio.create_task(store.queue.park(c, worker, waiting)) for c in contexts[:25]]
        (more,) = await within(store.start([Start("s.t", {})]))
        assert await within(claim(store, worker)) == [more]
        assert await within(store.queue.park(contexts[-1], worker, waiting)) is True
        assert renew(store, worker, held=[more], lease=LEASE).gone == []
        assert not any(task.done() for task in parking)
        await locked.execute("COMMIT")
        assert await within(asyncio.gather(*parking)) == [True] * 25


async def test_nothing_waits_long_for_a_lock_within_the_database(store, database_url):
    """It asks again instead: whoever looks at the locks finds nobody of ours who stands there."""
    contexts = await store.start([Start("s.t", {})] * 4)
    tables = "etl_context, run_queue, worker, queue_setting IN ACCESS EXCLUSIVE MODE"
    query = """
    SELECT max(clock_timestamp() - l.waitstart) FROM pg_locks l
      JOIN pg_stat_activity a USING (pid)
      WHERE a.datname = current_database() AND a.application_name LIKE 'dama%'
    """
    async with (
        stranger(database_url, f"LOCK TABLE {tables}"),
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as watch,
    ):
        acts = [
            asyncio.create_task(act)
            for act in (
                store.append(contexts[0], [Event("a")]),
                store.cancel(contexts[1:2], "enough", {}),
                store.start([Start("s.t", {})]),
                store.context(contexts[3]),
                register(store),
            )
        ]
        began, longest = clock.monotonic(), timedelta()
        while clock.monotonic() - began < 3:
            ((waited,),) = await (await watch.execute(query)).fetchall()
            longest = max(longest, waited or timedelta())
            await asyncio.sleep(0.02)
        assert not any(act.done() for act in acts)
    await within(asyncio.gather(*acts))

    assert longest < timedelta(seconds=2.5)  # 250 ms, and what a busy machine adds


async def test_a_worker_whose_row_is_locked_keeps_its_runs(store, database_url):
    """Its renewals answer, and nobody buries it meanwhile; it claims when the row is free."""
    (held,) = await store.start([Start("s.t", {})])
    worker, other = await register(store), await register(store)
    assert await claim(store, worker) == [held]
    (queued,) = await store.start([Start("s.t", {})])

    async with stranger(database_url, WORKER, worker):
        assert await within(claim(store, worker)) == []
        renewal = await asyncio.to_thread(renew, store, worker, held=[held], lease=LEASE)
        assert renewal.gone == []
        renew(store, other, held=[], lease=LEASE)
        await within(
            store.queue.release([worker], died=False)
        )  # a look at it waits for nobody, too

    assert await within(claim(store, worker)) == [held, queued]


async def test_a_schedule_that_is_locked_is_fired_later(store, database_url):
    """Whoever fires continues with the next one."""
    now = await store.now()

    async with stranger(database_url, "LOCK TABLE schedule IN ACCESS EXCLUSIVE MODE"):
        with pytest.raises(LockedError, match="lock"):
            await within(store.schedules.fire("x", now, [], latest=None, following=now, missed=0))


@pytest.mark.parametrize("demand", [1, 2])
async def test_a_place_of_a_key_is_not_kept_for_a_run_that_somebody_has_locked(
    store, database_url, demand
):
    """The next in line gets it; the locked one is admitted by the upkeep when it is free."""
    starts = [Start("s.t", {}, limit_key="k", key_limit=demand)] * (demand + 2)
    *running, locked, last = await store.start(starts)

    async def state(context):
        return (await store.context(context)).run.state

    async with stranger(database_url, RUN, locked):
        await within(store.append(running[0], [Event("s.t:FINAL")]))
        assert await state(last) == "queued"
        await within(store.append(last, [Event("s.t:FINAL")]))
        assert await state(locked) == "blocked"
        await store.database.rows("uphold", {"most": 100})
        assert await state(locked) == "blocked"
    await store.database.rows("uphold", {"most": 100})

    assert await state(locked) == "queued"
    assert await store.database.rows("uphold", {"most": 100}) == [(0,)]


@pytest.mark.parametrize("what", ["expires", "deadline", "delay"])
async def test_what_is_late_does_not_wait_behind_what_is_locked(store, database_url, what):
    """More than a batch is locked, and it is the oldest."""
    (parent,) = await store.start([Start("s.t", {})])
    key = {"limit_key": "k", "key_limit": 99}
    locked = await store.start([Start("s.t", {}, **{what: 0.0}, **key)] * 30, parent=parent)
    free = await store.start([Start("s.t", {}, **{what: 0.0})] * 5)

    async def is_late(context):
        found = await store.context(context)
        return found.status == "OPEN" and (what != "delay" or found.run.state == "delayed")

    async with stranger(database_url, "SELECT lock_keys('{k}')"):
        async with asyncio.timeout(PATIENCE):
            while any([await is_late(context) for context in free]):
                await store.database.rows("uphold", {"most": 10})
        states = {(await store.context(context)).status for context in locked}
        assert states == {"OPEN"}
