"""Limits by key: of the runs that share a key only so many are begun and not ended."""

import asyncio
import time
from datetime import timedelta
from functools import partial

import psycopg
import pytest

from dama import Service, Task
from dama.domain.event import Event
from dama.errors import InvalidDefinitionError
from dama.run.starts import start_of
from dama.store import Append, Start
from dama.store.errors import SingletonError
from dama.store.queue_rows import WorkerIdentity
from tests.integration.leases import renew

LEASE = timedelta(seconds=60)
keyed = partial(Start, "a.b", {}, limit_key="k")


@pytest.fixture
async def worker(store):
    """A worker that is known."""
    return await store.queue.register(
        WorkerIdentity("host", "boot", 1, "0", "0"),
        queues=["default"],
        root=None,
        slots=9,
        lease=LEASE,
    )


@pytest.fixture
def claimed(store, worker):
    """Claim; give the contexts."""

    async def claim(demand=99):
        claims = await store.queue.claim(
            worker, queues=["default"], tasks=["a.b"], root=None, demand=demand
        )
        return [claim.context_id for claim in claims]

    return claim


async def end(store, *contexts, type_="a.b:FINAL"):
    """Write the end of contexts."""
    error = True if type_.endswith("ERROR") else None
    events = [Event(type_, {"message": "no"}, **({"error": error} if error else {}))]
    await store.append_many([Append(context, event) for context in contexts for event in events])


async def test_no_more_runs_of_a_key_are_begun_than_its_limit(store, claimed):
    """The others wait, and hold up nobody without the key."""
    contexts = await store.start([keyed(key_limit=2)] * 5 + [Start("a.b", {})])

    assert await claimed() == [contexts[0], contexts[1], contexts[5]]
    assert await claimed() == []


@pytest.mark.parametrize("type_", ["a.b:FINAL", "a.b:ERROR", "a.b:CANCELLED"])
async def test_the_end_of_a_run_makes_room_for_the_next_with_its_key(store, claimed, type_):
    """However it ends; the highest priority comes first, then the oldest."""
    old, new, high = await store.start([keyed(), keyed(), keyed(priority=3)])
    assert await claimed() == [high]

    await end(store, high, type_=type_)
    assert await claimed() == [old]

    await end(store, old, type_=type_)
    assert await claimed() == [new]


async def test_a_run_keeps_its_place_while_it_waits_for_another_attempt(store, worker, claimed):
    """Two attempts of one run are one run."""
    first, second = await store.start([keyed(), keyed()])
    await claimed()

    await store.queue.retry(first, worker, 0)
    renew(store, worker, held=[], lease=LEASE)

    assert await claimed() == [first]
    await end(store, first)
    assert await claimed() == [second]


async def test_a_delayed_run_asks_for_admission_when_its_time_has_come(store, worker, claimed):
    """Until then it takes nobody's place."""
    later, now = await store.start([keyed(delay=0.01), keyed()])
    assert await claimed() == [now]

    deadline = time.monotonic() + 30
    while renew(store, worker, held=[], lease=LEASE).next_due:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert await claimed() == []

    await end(store, now)
    assert await claimed() == [later]


async def test_a_resumed_run_asks_for_admission_again(store, claimed):
    """Its place was given to another meanwhile."""
    first, second = await store.start([keyed(), keyed()])
    await claimed()
    await end(store, first, type_="a.b:ERROR")
    assert await claimed() == [second]

    await store.resume(first, {})
    assert await claimed() == []

    await end(store, second)
    assert await claimed() == [first]


async def test_a_blocked_run_can_be_cancelled(store, claimed):
    """It never runs, and the one behind it moves up."""
    first, second, third = await store.start([keyed()] * 3)
    await claimed()

    await store.cancel([second], "enough", {})
    await end(store, first)

    assert await claimed() == [third]


async def test_a_limit_holds_when_many_start_and_end_at_once(store, database_url, claimed):
    """Starts, ends and cancellations of two keys cross each other; none is lost, none too many."""
    limits = {"x": 2, "y": 3}
    starts = [
        Start("a.b", {"key": key}, limit_key=key, key_limit=limit)
        for key, limit in limits.items()
        for _ in range(20)
    ]
    parts = await asyncio.gather(*(store.start(starts[n::8]) for n in range(8)))
    open_ = {context for part in parts for context in part}
    running: set[int] = set()
    with psycopg.connect(database_url, autocommit=True) as connection:
        while open_:
            running |= set(await claimed())
            found = connection.execute(
                "SELECT limit_key, count(*) FROM _data_manager_admin.run_queue"
                " WHERE state = 'running' GROUP BY 1"
            ).fetchall()
            assert all(count <= limits[key] for key, count in found)
            assert running, "runs are blocked, and none of their keys runs"
            waiting = sorted(open_ - running)[:1]
            await asyncio.gather(
                *(end(store, context) for context in running),
                *(store.cancel([context], "enough", {}) for context in waiting),
            )
            open_ -= running | set(waiting)
            running.clear()


async def test_a_singleton_that_refuses_names_the_run_that_is_open(store, claimed):
    """Queued, running or waiting; when it has ended the next may start."""
    (first,) = await store.start([keyed(when_open="refuse")])

    with pytest.raises(SingletonError, match=f"Context {first} is open"):
        await store.start([keyed(when_open="refuse")])

    await claimed()
    await end(store, first)
    (second,) = await store.start([keyed(when_open="refuse")])
    assert await claimed() == [second]


async def test_a_hundred_starts_of_a_singleton_at_once_give_one_context(store):
    """All of them return the open one."""
    found = await asyncio.gather(*(store.start([keyed(when_open="return")] * 2) for _ in range(50)))

    assert len({context for part in found for context in part}) == 1
    assert len(await store.contexts()) == 1


async def test_a_repeated_start_of_an_open_singleton_is_not_refused(store):
    """Its idempotency key says that it is the same start."""
    first = await store.start([keyed(key="once", when_open="refuse")])

    assert await store.start([keyed(key="once", when_open="refuse")]) == first


def test_a_key_is_made_from_the_params():
    """Runs of different airports do not count together."""
    service = Service("flights")

    @service.task(concurrency=2, concurrency_key="{airport}/{year}")
    async def load(task: Task, airport: str, year: int = 2013) -> None:
        """Load."""

    start = start_of(load, {"airport": "JFK"})

    assert (start.limit_key, start.key_limit) == ("flights.load/JFK/2013", 2)


def test_a_long_key_is_kept_short_and_stays_its_own():
    """A param may be a whole query; an index has no room for it."""
    service = Service("flights")

    @service.task(concurrency=1, concurrency_key="{query}")
    async def load(task: Task, query: str) -> None:
        """Load."""

    keys = [load.limit_key({"query": "x" * 10_000 + end}) for end in "aab"]

    assert keys[0] == keys[1] != keys[2]
    assert all(len(key) < 300 for key in keys)


def test_a_template_that_does_not_fit_the_params_is_said_at_the_start():
    """Only a value tells that it has no such format."""
    service = Service("flights")

    @service.task(concurrency=1, concurrency_key="{airport:04d}")
    async def load(task: Task, airport: str) -> None:
        """Load."""

    with pytest.raises(
        InvalidDefinitionError, match=r"flights\.load: concurrency_key .* does not fit"
    ):
        start_of(load, {"airport": "JFK"})


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"concurrency": 0}, "a whole number, at least 1"),
        ({"singleton": "maybe"}, "singleton is 'maybe'"),
        ({"singleton": "queue", "concurrency": 2}, "a singleton has one run at once"),
        ({"concurrency_key": "{year}"}, "how many there may be is missing"),
        (
            {"concurrency": 1, "concurrency_key": "{yaer}"},
            "names 'yaer', which is not one of its params",
        ),
        ({"concurrency": 1, "concurrency_key": "{"}, "concurrency_key '{'"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_where_it_is_written(settings, found):
    """With the name of the task."""

    async def load(task: Task, year: int) -> None:
        """Load."""

    with pytest.raises(InvalidDefinitionError, match=f"flights.load.*{found}"):
        Service("flights").task(**settings)(load)
