"""The run queue: one run has one worker, dead workers lose their runs, waiting runs are woken."""

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from dama.domain.event import Event
from dama.domain.outcome import Waiting
from dama.store import Start
from dama.store.errors import StaleEpochError
from dama.store.queue_rows import WorkerIdentity
from tests.integration.leases import renew

TASKS = ("a.b", "a.child")
LEASE = timedelta(minutes=1)
LAPSED = timedelta(minutes=-1)  # a lease that is over already: no test waits for a clock
APPEND = "SELECT * FROM _data_manager_admin.append_events(%s::jsonb)"
FAILED = Event("a.child:ERROR", {"message": "no"}, error=True)


@pytest.fixture
def register(store):
    """Make workers known; returns their ids."""

    async def register(*, lease=LEASE):
        identity = WorkerIdentity("host", "boot", os.getpid(), "1", "0")
        return await store.queue.register(
            identity, queues=["default"], root=None, slots=4, lease=lease
        )

    return register


@pytest.fixture
def claim(store):
    """Claim for a worker; returns what it got by context."""

    async def claim(worker, demand=10, *, queues=("default",), tasks=TASKS, root=None):
        claims = await store.queue.claim(
            worker, queues=queues, tasks=tasks, root=root, demand=demand
        )
        return {claim.context_id: claim for claim in claims}

    return claim


@pytest.fixture
async def family(store, register, claim):
    """A worker that runs a parent, and its two children, which are queued."""
    worker = await register()
    (parent,) = await store.start([Start("a.b", {})])
    await claim(worker)
    children = await store.start(
        [Start("a.child", {"n": n}) for n in (1, 2)],
        parent=parent,
        spawned=Event("a.b/children:SPAWNED"),
    )
    return worker, parent, children


def awaiting(*contexts):
    """Waiting for the ends of contexts, for no time and no signal."""
    return Waiting(list(contexts), on_failure=True, until=None, types=[], seen=0)


async def run_of(store, context):
    """The state of a run and who has it; None when it is no longer queued."""
    row = (await store.context(context)).run
    return None if row is None else (row.state, row.worker is not None)


async def test_a_claim_has_what_a_run_needs(store, register, claim):
    """No further question is asked before the task starts."""
    (context,) = await store.start([Start("a.b", {"year": 2013})])

    got = (await claim(await register()))[context]

    assert (got.task, got.params, got.epoch, got.attempt) == ("a.b", {"year": 2013}, 1, 1)
    assert (got.parent_id, got.root_context_id) == (None, context)
    assert await run_of(store, context) == ("running", True)


async def test_a_run_that_is_claimed_is_not_claimed_again(store, register, claim):
    """Neither by another worker nor by the same one."""
    one, other = await register(), await register()
    await store.start([Start("a.b", {})])

    assert len(await claim(one)) == 1
    assert await claim(other) == {}
    assert await claim(one) == {}


async def test_the_highest_priority_is_claimed_first_then_the_oldest(store, register, claim):
    """And never more than was asked for."""
    worker = await register()
    low, high, higher, same = await store.start(
        [Start("a.b", {}, priority=priority) for priority in (0, 1, 2, 2)]
    )

    assert [set(await claim(worker, 1)) for _ in range(2)] == [{higher}, {same}]
    assert set(await claim(worker, 2)) == {high, low}


async def test_a_worker_sees_only_its_queues_or_its_tree(store, register, claim):
    """A worker of `dama run` must not take over what others started."""
    worker = await register()
    slow, mine, child_of_nobody = await store.start(
        [Start("a.b", {}, queue="slow"), Start("a.b", {}), Start("a.b", {})]
    )
    (child,) = await store.start([Start("a.child", {})], parent=mine)

    assert set(await claim(worker, root=mine)) == {mine, child}
    assert set(await claim(worker, queues=["other"])) == set()
    assert set(await claim(worker, queues=["slow", "default"])) == {slow, child_of_nobody}


async def test_a_worker_claims_only_tasks_that_it_has(store, register, claim):
    """A worker of another version of the program would fail what it does not know."""
    worker = await register()
    known, unknown = await store.start([Start("a.b", {}), Start("a.child", {})])

    assert set(await claim(worker, tasks=["a.b"])) == {known}
    assert await run_of(store, unknown) == ("queued", False)


async def test_a_renewal_names_what_the_worker_no_longer_has(store, register, claim):
    """It was cancelled from outside: the worker stops it."""
    worker = await register()
    cancelled, kept = await store.start([Start("a.b", {})] * 2)
    await claim(worker)
    await store.append(cancelled, [Event("a.b:CANCELLED")])

    assert (renew(store, worker, held=[cancelled, kept], lease=LEASE)).gone == [cancelled]


async def test_a_worker_that_is_not_known_claims_nothing(store, claim):
    """It was presumed dead: what it claimed would have nobody who watches over it."""
    await store.start([Start("a.b", {})])

    assert await claim(999) == {}


async def test_racing_workers_never_get_the_same_run(store, register, claim):
    """Each run is claimed once, and none is left over."""
    contexts = await store.start([Start("a.b", {})] * 100)
    workers = [await register() for _ in range(8)]

    async def drain(worker):
        got = []
        while claims := await claim(worker, 3):
            got += claims
        return got

    claimed = await asyncio.gather(*map(drain, workers))
    # Who meets only rows that others have locked comes back with nothing.
    rest = await drain(workers[0])

    assert sorted([*sum(claimed, []), *rest]) == contexts  # noqa: RUF017 - eight short lists


async def test_a_renewed_lease_keeps_the_runs(store, register, claim):
    """A worker that lives is left alone by the others."""
    one, other = await register(), await register()
    (context,) = await store.start([Start("a.b", {})])
    await claim(one)

    assert (renew(store, one, held=[context], lease=LEASE)).gone == []
    assert (renew(store, other, held=[], lease=LEASE)).gone == []
    assert await run_of(store, context) == ("running", True)


async def test_the_runs_of_a_lapsed_lease_go_to_another_worker(store, register, claim):
    """With a higher epoch, which fences the dead one; and it learns that it is presumed dead."""
    dead, alive = await register(lease=LAPSED), await register()
    (context,) = await store.start([Start("a.b", {})])
    await claim(dead)

    renew(store, alive, held=[], lease=LEASE)

    got = (await claim(alive))[context]
    assert (got.epoch, got.attempt) == (2, 2)
    assert (renew(store, dead, held=[context], lease=LEASE)).gone is None
    assert await claim(dead) == {}


async def test_a_worker_whose_own_lease_lapsed_judges_nobody(store, register, claim):
    """After an outage of the database every lease has lapsed, and nobody is dead."""
    one, other = await register(lease=LAPSED), await register(lease=LAPSED)
    (context,) = await store.start([Start("a.b", {})])
    await claim(one)

    assert (renew(store, other, held=[], lease=LEASE)).gone == []
    assert await run_of(store, context) == ("running", True)
    assert (renew(store, one, held=[context], lease=LEASE)).gone == []


async def test_who_is_slow_to_come_back_after_an_outage_is_not_presumed_dead(
    store, register, claim
):
    """The first is back for a while, and judges others again; the second still connects."""
    first, slow = await register(lease=LAPSED), await register(lease=LAPSED)
    (context,) = await store.start([Start("a.b", {})])
    await claim(slow)

    for _ in range(3):
        renew(store, first, held=[], lease=LEASE)

    assert await run_of(store, context) == ("running", True)
    assert (renew(store, slow, held=[context], lease=LEASE)).gone == []


async def test_who_was_dead_before_the_outage_still_is(store, register, claim):
    """It had no lease any more when the others renewed theirs for the last time."""
    dead, alive = await register(lease=-10 * LEASE), await register(lease=LAPSED)
    (context,) = await store.start([Start("a.b", {})])
    await claim(dead)

    for _ in range(2):
        renew(store, alive, held=[], lease=LEASE)

    assert await run_of(store, context) == ("queued", False)


async def test_workers_that_are_released_lose_their_runs(store, register, claim):
    """Who finds dead workers of its own host need not wait for their leases."""
    worker = await register()
    (context,) = await store.start([Start("a.b", {})])
    await claim(worker)
    ((known, boot, pid, started),) = await store.queue.workers_of_host("host")
    assert (known, boot, pid, started) == (worker, "boot", os.getpid(), "1")

    await store.queue.release([worker])

    assert await run_of(store, context) == ("queued", False)
    assert await store.queue.workers_of_host("host") == []


async def test_what_is_handed_back_is_queued_but_for_what_is_kept(store, register, claim):
    """The answer to a claim was lost: what the worker does not know of goes to others."""
    worker = await register()
    kept, lost = await store.start([Start("a.b", {})] * 2)
    await claim(worker)

    await store.queue.hand_back(worker, kept=[kept])

    assert await run_of(store, kept) == ("running", True)
    assert await run_of(store, lost) == ("queued", False)


async def test_a_retry_is_queued_when_it_is_due(store, register, claim):
    """Not before; a renewal is what looks."""
    worker = await register()
    soon, late = await store.start([Start("a.b", {})] * 2)
    await claim(worker)
    await store.queue.retry(soon, worker, 0.001)
    await store.queue.retry(late, worker, 3600)
    assert await claim(worker) == {}

    got = {}
    async with asyncio.timeout(60):
        while not got:
            renew(store, worker, held=[], lease=LEASE)
            got = await claim(worker)

    assert {context: claim.attempt for context, claim in got.items()} == {soon: 2}
    assert await run_of(store, late) == ("retrying", False)


async def test_a_retry_of_a_run_that_another_worker_has_does_nothing(store, register, claim):
    """It was taken over meanwhile."""
    one, other = await register(), await register()
    (context,) = await store.start([Start("a.b", {})])
    await claim(one)

    await store.queue.retry(context, other, 0)

    assert await run_of(store, context) == ("running", True)


async def test_a_parked_run_is_woken_by_the_end_of_its_last_child(store, family, claim):
    """It holds no worker meanwhile, and waiting is no attempt."""
    worker, parent, (one, other) = family

    assert await store.queue.park(parent, worker, awaiting(one, other))
    assert await run_of(store, parent) == ("waiting", False)
    await store.append(one, [Event("a.child:FINAL")])
    assert await run_of(store, parent) == ("waiting", False)
    await store.append(other, [Event("a.child:FINAL")])

    assert await run_of(store, parent) == ("queued", False)
    got = (await claim(worker))[parent]
    assert (got.epoch, got.attempt) == (2, 1)


async def test_children_that_end_in_one_batch_wake_their_parent(store, family):
    """Group commit makes such batches."""
    from dama.store import Append

    worker, parent, children = family
    await store.queue.park(parent, worker, awaiting(*children))

    await store.append_many([Append(child, Event("a.child:FINAL")) for child in children])

    assert await run_of(store, parent) == ("queued", False)


async def test_a_failed_child_wakes_its_parent_at_once(store, family):
    """The others need not end first."""
    worker, parent, (one, other) = family
    await store.queue.park(parent, worker, awaiting(one, other))

    await store.append(one, [FAILED])

    assert await run_of(store, parent) == ("queued", False)


@pytest.mark.parametrize("ending", [Event("a.child:FINAL"), FAILED], ids=["done", "failed"])
async def test_who_parks_after_the_end_does_not_wait(store, family, ending):
    """The end came between the look and the parking."""
    worker, parent, (one, _) = family
    await store.append(one, [ending])

    assert await store.queue.park(parent, worker, awaiting(one))

    assert await run_of(store, parent) == ("queued", False)


async def test_only_who_has_a_run_parks_it(store, family, register):
    """A worker that was presumed dead is told."""
    _, parent, children = family

    assert not await store.queue.park(parent, await register(), awaiting(*children))

    assert await run_of(store, parent) == ("running", True)


async def test_an_end_that_commits_while_the_parent_parks_is_not_missed(
    store, family, database_url
):
    """The child has ended in a transaction that is still open: parking waits for it."""
    worker, parent, (one, _) = family
    batch = json.dumps([{"context_id": one, "event": {"type": "a.child:FINAL"}}])
    async with await psycopg.AsyncConnection.connect(database_url) as ending:
        await ending.execute(APPEND, [batch])

        parking = asyncio.create_task(store.queue.park(parent, worker, awaiting(one)))
        await until_somebody_waits(database_url)
        await ending.commit()

    assert await parking
    assert await run_of(store, parent) == ("queued", False)


async def test_a_signal_wakes_a_run(store, family):
    """An event of another type does not."""
    worker, parent, _ = family
    version = (await store.context(parent)).version
    await store.queue.park(
        parent, worker, Waiting([], on_failure=False, until=None, types=["approved"], seen=version)
    )
    assert await run_of(store, parent) == ("waiting", False)

    await store.append(parent, [Event("other")])
    assert await run_of(store, parent) == ("waiting", False)
    await store.append(parent, [Event("approved")])

    assert await run_of(store, parent) == ("queued", False)


async def test_siblings_that_end_at_once_wake_their_parent_and_do_not_deadlock(
    store, register, claim, database_url
):
    """Each end locks the parent's run: twenty sessions, two hundred ends."""
    sessions, count = 20, 200
    worker = await register()
    (parent,) = await store.start([Start("a.b", {})])
    await claim(worker)
    children = await store.start([Start("a.child", {})] * count, parent=parent)
    await store.queue.park(parent, worker, awaiting(*children))
    barrier = threading.Barrier(sessions)

    def end(number):
        with psycopg.connect(database_url, autocommit=True) as connection:
            barrier.wait()
            for child in children[number::sessions]:
                batch = json.dumps([{"context_id": child, "event": {"type": "a.child:FINAL"}}])
                connection.execute(APPEND, [batch])

    def race():
        with ThreadPoolExecutor(sessions) as pool:
            list(pool.map(end, range(sessions)))

    await asyncio.to_thread(race)

    assert await run_of(store, parent) == ("queued", False)


async def test_a_run_leaves_the_queue_when_its_context_ends(store, register, claim):
    """Whatever it was doing, also by the hand of somebody else."""
    worker = await register()
    done, failed, cancelled = await store.start([Start("a.b", {})] * 3)
    await claim(worker, 2)

    await store.append(done, [Event(":FINAL")])
    await store.append(failed, [FAILED])
    await store.append(cancelled, [Event("a.b:CANCELLED")])

    assert [await run_of(store, context) for context in (done, failed, cancelled)] == [None] * 3
    assert await claim(worker) == {}


async def test_resuming_reopens_what_failed_and_leaves_what_is_done(store, family, claim):
    """A done child is never run again; the epochs continue from where they were."""
    worker, parent, (done, failed) = family
    await store.append(parent, [Event("a.b:STARTED", meta={"epoch": 1})])
    await store.append(done, [Event("a.child:FINAL")])
    await store.append(failed, [FAILED])
    await store.append(parent, [Event("a.b:ERROR", {"message": "no"}, error=True)])

    assert await store.resume(parent, {"user": "u"}) == [parent, failed]

    assert (await store.context(done)).status == "DONE"
    assert (await store.events(failed))[-1].type == "a.child:RESUMED"
    assert (await store.events(failed))[-1].meta == {"user": "u"}
    got = await claim(worker)
    assert {context: claim.epoch for context, claim in got.items()} == {parent: 2, failed: 1}


async def test_resuming_what_has_not_failed_does_nothing(store, family):
    """Neither an open nor a done context, nor one that is not there."""
    _, parent, (done, _) = family
    await store.append(done, [Event("a.child:FINAL")])

    assert [await store.resume(context, {}) for context in (parent, done, 999)] == [[], [], []]


@pytest.mark.parametrize(
    "end", [Event("a.b:CANCELLED"), Event("a.b:ERROR", {"message": "no"}, error=True)]
)
async def test_a_resumed_run_gets_an_epoch_that_nobody_had(store, register, claim, end):
    """Who claimed it before the end and starts only now would else share it with the next one."""
    early, late = await register(), await register()
    (context,) = await store.start([Start("a.b", {})])
    first = (await claim(early))[context]
    await store.append(context, [end])
    await store.resume(context, {})

    second = (await claim(late))[context]

    assert second.epoch > first.epoch
    with pytest.raises(StaleEpochError):
        await store.append(context, [Event("a.b:STARTED", meta={"epoch": first.epoch})])
    await store.append(context, [Event("a.b:STARTED", meta={"epoch": second.epoch})])


async def test_what_a_failed_run_writes_late_is_refused(store, register, claim, database_url):
    """It would reopen the context, and no run would ever end it; by direct INSERT too."""
    (context,) = await store.start([Start("a.b", {})])
    epoch = (await claim(await register()))[context].epoch
    failed = Event("a.b:ERROR", {"message": "no"}, error=True, meta={"epoch": epoch})
    await store.append(context, [Event("a.b:STARTED", meta={"epoch": epoch}), failed])

    with pytest.raises(StaleEpochError, match="is over"):
        await store.append(context, [Event("late", meta={"epoch": epoch})])
    with psycopg.connect(database_url) as sql, pytest.raises(psycopg.Error) as caught:
        sql.execute(
            "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, meta)"
            " VALUES (%s, 'late', %s)",
            [context, json.dumps({"epoch": epoch})],
        )

    assert caught.value.sqlstate == "DM004"
    assert (await store.context(context)).status == "ERROR"


async def test_a_resumed_run_keeps_its_queue_and_priority(store, register, claim):
    """The worker that could run it is found again."""
    (context,) = await store.start([Start("a.b", {}, queue="slow", priority=7)])
    await store.append(context, [Event("a.b:CANCELLED")])

    await store.resume(context, {})

    assert set(await claim(await register(), queues=["default"])) == set()
    assert set(await claim(await register(), queues=["slow"])) == {context}


async def until_somebody_waits(url):
    """Ask until a session waits for another one's lock."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(30):
            while (await (await connection.execute(query)).fetchone()) == (0,):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_run_looks_again_for_a_context_that_another_one_started(store, register, claim):
    """Its end is told to its own parent; who was given it as the open one would wait forever."""
    worker = await register()
    parent, foreign = await store.start([Start("a.b", {}), Start("a.child", {})])
    await claim(worker)

    await store.queue.park(
        parent, worker, Waiting([foreign], on_failure=True, until=None, types=[], seen=1)
    )

    assert (await store.context(parent)).run.state == "waiting"
    assert 0 < renew(store, worker, held=[], lease=LEASE).next_due <= 60


async def test_a_run_stays_with_the_release_that_began_it_while_a_worker_of_that_lives(store):
    """Whoever takes it over afterwards has it, and who names no release keeps none."""

    async def worker(name: str | None) -> tuple[int, list[str]]:
        labels = [] if name is None else [f"release:{name}"]
        identity = WorkerIdentity("host", "boot", os.getpid(), "1", "0")
        return await store.queue.register(
            identity, queues=["default"], root=None, slots=4, lease=LEASE, labels=labels,
            tasks=TASKS,
        ), labels  # fmt: skip

    async def taken(by: tuple[int, list[str]]) -> list[int]:
        claims = await store.queue.claim(
            by[0], queues=["default"], tasks=TASKS, root=None, demand=9, labels=by[1]
        )
        await store.queue.hand_back(by[0])
        return [claim.context_id for claim in claims]

    old, new, plain = await worker("1"), await worker("2"), await worker(None)
    (first,) = await store.start([Start("a.b", {})])
    assert await taken(old) == [first]
    (second,) = await store.start([Start("a.b", {})])

    assert await taken(new) == [second]
    assert await taken(plain) == []
    assert await taken(old) == [first]
    await store.queue.release([old[0]], died=False)
    assert await taken(new) == [first, second]
    await store.queue.release([new[0]], died=False)
    assert await taken(plain) == [first, second]
    assert await taken(await worker("3")) == [first, second]
    assert await taken(plain) == []
