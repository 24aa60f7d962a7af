"""Queues: pause, limits, priorities; runs that are to start later, or in time or not at all."""

import asyncio
import time
from datetime import timedelta

import psycopg
import pytest

from dama.store import Start
from dama.store.queue_rows import WorkerIdentity
from tests.integration.leases import renew

LEASE = timedelta(seconds=60)
REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'not by me'; END $$;
CREATE TRIGGER refusing BEFORE INSERT ON _data_manager_admin.event_store_prototype
  FOR EACH ROW WHEN (NEW.type LIKE '%:ERROR') EXECUTE FUNCTION refuse();
"""


@pytest.fixture
async def workers(store):
    """Two workers that are known."""
    return [
        await store.queue.register(
            WorkerIdentity(f"host{n}", "boot", n, "0", "0"),
            queues=["default"],
            root=None,
            slots=9,
            lease=LEASE,
        )
        for n in (1, 2)
    ]


async def claimed(store, worker, demand=9, *, labels=()):
    """Claim; give the contexts."""
    claims = await store.queue.claim(
        worker, queues=["default"], tasks=["a.b"], root=None, demand=demand, labels=labels
    )
    return [claim.context_id for claim in claims]


async def test_the_highest_priority_is_claimed_first_then_the_oldest(store, workers):
    """Whatever the order in which they came."""
    contexts = await store.start([Start("a.b", {}, priority=p) for p in (0, 5, 0, 9)])

    order = [(await claimed(store, workers[0], demand=1))[0] for _ in contexts]

    assert order == [contexts[3], contexts[1], contexts[0], contexts[2]]


async def test_nothing_of_a_paused_queue_is_started(store, workers):
    """Until it continues."""
    contexts = await store.start([Start("a.b", {})])
    await store.queue.set_queue("default", paused=True)
    assert await claimed(store, workers[0]) == []

    await store.queue.set_queue("default", paused=False)

    assert await claimed(store, workers[0]) == contexts


async def test_a_limit_of_runs_holds_for_all_workers_together(store, workers):
    """Two at once, whoever asks and however often, at the same moment too."""
    contexts = await store.start([Start("a.b", {})] * 9)
    await store.queue.set_queue("default", concurrency=2)

    found = await asyncio.gather(*(claimed(store, workers[n % 2]) for n in range(8)))

    assert sorted(context for part in found for context in part) == contexts[:2]


async def test_a_rate_holds_for_all_workers_together(store, workers):
    """A second's worth at the most, at once."""
    await store.start([Start("a.b", {})] * 9)
    await store.queue.set_queue("default", rate=3)

    found = await asyncio.gather(*(claimed(store, workers[n % 2]) for n in range(4)))

    assert sum(map(len, found)) == 3


async def test_a_limit_is_taken_away_by_zero(store, workers):
    """And what is not named stays as it was."""
    contexts = await store.start([Start("a.b", {})] * 3)
    await store.queue.set_queue("default", concurrency=1, rate=100)

    await store.queue.set_queue("default", concurrency=0)

    assert await claimed(store, workers[0]) == contexts
    (row,) = await store.queue.queues()
    assert (row.concurrency, row.rate, row.running) == (None, 100, 3)


async def test_a_delayed_run_is_queued_when_its_time_has_come(store, workers):
    """The renewal of a lease is what looks, and it tells how long to wait."""
    far, near = await store.start([Start("a.b", {}, delay=3600), Start("a.b", {}, delay=0.2)])
    assert await claimed(store, workers[0]) == []

    deadline = time.monotonic() + 30
    while renew(store, workers[0], held=[], lease=LEASE).next_due <= 0.2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)

    assert await claimed(store, workers[0]) == [near]
    assert 0.2 < renew(store, workers[0], held=[], lease=LEASE).next_due <= 3600
    assert await claimed(store, workers[0]) == []
    assert (await store.context(far)).run.state == "delayed"


async def test_a_run_that_did_not_start_in_time_has_failed(store, workers):
    """With an error that says so; one that started in time continues."""
    late, early = await store.start([Start("a.b", {}, expires=0.01), Start("a.b", {}, expires=60)])

    async with asyncio.timeout(30):
        while not (ended := await store.outcomes([late, early])):
            renew(store, workers[0], held=[], lease=LEASE)
            await asyncio.sleep(0.01)

    assert ended[late].error["name"] == "ExpiredError"
    assert await claimed(store, workers[0]) == [early]


async def test_a_run_expires_once_however_many_workers_look(store, workers, database_url):
    """Each renewal ends what is late; the second one must not write a second ERROR."""
    (context,) = await store.start([Start("a.b", {}, expires=0)])
    with psycopg.connect(database_url) as first:
        first.execute("SELECT _data_manager_admin.expire_runs(9)")
        renewing = asyncio.create_task(
            asyncio.to_thread(renew, store, workers[0], held=[], lease=LEASE)
        )
        await asyncio.wait(
            [renewing], timeout=1
        )  # one that waited for the first would continue now
    await renewing

    assert [event.type for event in await store.events(context)] == ["a.b:INITIAL", "a.b:ERROR"]


async def test_a_run_that_is_claimed_at_the_moment_it_expires_goes_on(store, workers, database_url):
    """The claim has not committed when a renewal looks: the run has started in time."""
    (context,) = await store.start([Start("a.b", {}, expires=0)])
    with psycopg.connect(database_url) as claiming:
        claiming.execute(
            "UPDATE _data_manager_admin.run_queue"
            " SET state = 'running', attempt = 1, expires_at = NULL"
        )
        renewing = asyncio.create_task(
            asyncio.to_thread(renew, store, workers[0], held=[], lease=LEASE)
        )
        await asyncio.wait([renewing], timeout=1)
    await renewing

    assert (await store.context(context)).run.state == "running"


@pytest.mark.parametrize("wish", [{"expires": 0.01}, {"deadline": 0.01}])
async def test_a_late_run_that_can_not_be_ended_keeps_nobody_from_renewing(
    store, database_url, workers, wish
):
    """Here somebody's trigger refuses its ERROR; all workers would lose their leases over it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(REFUSING)
    (late,) = await store.start([Start("a.b", {}, **wish)])
    deadline = time.monotonic() + 60
    while (await store.now()).timestamp() < (
        await store.context(late)
    ).created_at.timestamp() + 0.1:
        assert time.monotonic() < deadline

    renewal = renew(store, workers[0], held=[], lease=LEASE)

    assert renewal.gone == []
    assert (await store.context(late)).status == "OPEN"


@pytest.mark.parametrize(
    ("offered", "taken"), [((), [0]), (("gpu",), [0, 1]), (("big", "gpu", "ssd"), [0, 1, 2])]
)
async def test_a_worker_claims_what_it_offers_the_labels_of(store, workers, offered, taken):
    """All of them; a run without labels goes anywhere."""
    labels = [(), ("gpu",), ("gpu", "big")]
    contexts = await store.start([Start("a.b", {}, labels=needed) for needed in labels])

    assert await claimed(store, workers[0], labels=offered) == [contexts[n] for n in taken]


async def test_a_worker_is_not_told_of_work_that_it_can_not_do(store, workers):
    """It would ask again and again."""
    await store.start([Start("a.b", {}, labels=["gpu"])])

    queues, tasks = ["default"], ["a.b"]
    renewal = renew(store, workers[0], held=[], lease=LEASE, queues=queues, tasks=tasks)

    assert not renewal.work


async def test_a_resumed_run_needs_its_labels_still(store, workers):
    """They are in its INITIAL."""
    (context,) = await store.start([Start("a.b", {}, labels=["gpu"])])
    await store.cancel([context], "enough", {})

    await store.resume(context, {})

    assert await claimed(store, workers[0]) == []
    assert await claimed(store, workers[0], labels=["gpu"]) == [context]


@pytest.mark.parametrize("running", [True, False], ids=["running", "queued"])
async def test_what_has_not_ended_by_its_deadline_has_failed(store, workers, running):
    """Over all attempts; what is below it is cancelled, and its worker is told to let it go."""
    late, other = await store.start([Start("a.b", {}, deadline=0.01), Start("a.b", {})])
    if running:
        await claimed(store, workers[0])
    (child,) = await store.start([Start("a.b", {})], parent=late)

    deadline = time.monotonic() + 60
    while not (ended := await store.outcomes([late])) and time.monotonic() < deadline:
        renewal = renew(store, workers[0], held=[late] if running else [], lease=LEASE)

    assert ended[late].error["name"] == "DeadlineError"
    assert (await store.context(child)).status == "CANCELLED"
    assert (await store.context(other)).status == "OPEN"
    assert renewal.gone == ([late] if running else [])
