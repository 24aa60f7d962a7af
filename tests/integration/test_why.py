"""`dama queue why`: every reason why a run is not running, with who holds what it needs."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from dama.app import App
from dama.cli import main
from dama.definitions.registry import Registry
from dama.domain.circle import WaitsFor, find_circle, who_waits
from dama.domain.outcome import Waiting
from dama.operations import contexts
from dama.store import Start
from dama.store.queue_rows import WorkerIdentity

LEASE = timedelta(hours=1)
task = partial(Start, "a.b", {})


async def registered(store, *, queues=("default",), tasks=("a.b",), slots=9, labels=()):
    identity = WorkerIdentity("host", "boot", 1, "0", "0")
    return await store.queue.register(
        identity, queues=queues, root=None, slots=slots, lease=LEASE, labels=labels, tasks=tasks
    )


async def claimed(store, worker, demand=99):
    claims = await store.queue.claim(
        worker, queues=["default"], tasks=["a.b"], root=None, demand=demand
    )
    return [claim.context_id for claim in claims]


async def parked(store, worker, context, **wait):
    """A run that waits for something."""
    nothing = {"awaited": [], "on_failure": False, "until": None, "types": [], "seen": 9}
    assert await store.queue.park(context, worker, Waiting(**{**nothing, **wait}))


async def why(store, context):
    """The reasons, and what is said of each."""
    found = await contexts.why(App(store, Registry()), context)
    return {each.reason: each.text for each in found}


async def test_a_run_that_will_be_claimed_has_nothing_in_its_way(store):
    await registered(store)
    (context,) = await store.start([task()])

    assert await why(store, context) == {"next": "Nothing: a worker claims it at its next look."}


async def test_all_reasons_are_told_at_once(store):
    """A pause and a limit, and that nobody is there."""
    worker = await registered(store)
    await store.queue.set_queue("default", concurrency=1)
    first, second = await store.start([task(), task()])
    assert await claimed(store, worker) == [first]
    await store.queue.set_queue("default", paused=True, by="ann")
    await store.queue.set_queue("default", paused=True, by="bob")
    await store.queue.release([worker])
    worker = await registered(store)
    await store.queue.set_queue("default", paused=False)
    assert await claimed(store, worker) == [first]
    await store.queue.set_queue("default", paused=True, by="cleo")
    await store.queue.set_queue("default", rate=2.0)
    await store.queue.release([worker], died=False)

    found = await why(store, second)

    assert "paused by cleo since " in found["paused"]
    assert found["no_worker"] == "No worker is alive."


async def test_a_limit_names_who_holds_the_places(store):
    worker = await registered(store)
    await store.queue.set_queue("default", concurrency=1)
    first, second = await store.start([task(), task()])
    await claimed(store, worker)

    assert (await why(store, second))["queue_limit"] == (
        f"The queue default runs at most 1 at once: context {first} holds the place."
    )
    assert "is running" in (await why(store, first))["running"]


async def test_a_rate_says_when_the_next_one_starts(store):
    worker = await registered(store)
    await store.queue.set_queue("default", rate=0.001)
    await store.start([task()])
    await claimed(store, worker)
    (context,) = await store.start([task()])

    assert "starts 0.001 a second" in (await why(store, context))["rate"]


async def test_a_key_names_who_holds_its_places(store):
    await registered(store)
    limited = partial(task, limit_key="k", key_limit=2)
    first, second, third = await store.start([limited(), limited(), limited()])

    assert await why(store, third) == {
        "key_limit": f"At most 2 of k may run at once: context {first}, {second} hold the places."
    }


async def test_times_are_told(store):
    worker = await registered(store)
    later, again = await store.start([task(delay=3600), task()])
    await claimed(store, worker)
    await store.queue.retry(again, worker, 3600)

    assert "delayed until" in (await why(store, later))["delayed"]
    assert "Attempt 2 begins at" in (await why(store, again))["retrying"]


async def test_waits_are_told(store):
    """For subtasks, a signal, a time."""
    worker = await registered(store)
    (context,) = await store.start([task()])
    await claimed(store, worker)
    children = await store.start([task(), task()], parent=context)
    await parked(store, worker, context, awaited=children)
    named = f"It waits for the end of context {children[0]}, {children[1]}."
    assert await why(store, context) == {"subtasks": named}

    until = await store.now() + timedelta(hours=1)
    (other,) = await store.start([task(priority=1)])
    await claimed(store, worker, 1)
    await parked(store, worker, other, until=until, types=["go"])
    found = await why(store, other)
    assert set(found) == {"signal", "time"}
    assert found["signal"] == "It waits for an event go."


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"queues": ["other"]}, "No live worker claims from the queue default."),
        ({"labels": ["fast"]}, "No live worker of the queue offers gpu."),
        (
            {"labels": ["gpu"], "tasks": ["x.y"]},
            "No live worker of the queue default knows the task a.b.",
        ),
    ],
)
async def test_what_no_worker_offers_is_told(store, known, said):
    await registered(store, **known)
    (context,) = await store.start([task(labels=["gpu"])])

    assert (await why(store, context))["no_worker"] == said


async def test_busy_workers_and_those_before_it_are_told(store, database_url):
    worker = await registered(store, slots=1)
    first, second, third = await store.start([task(), task(), task()])
    assert await claimed(store, worker, 1) == [first]
    await store.database.rows(
        "renew_lease",
        {
            "worker_id": worker,
            "held": [first],
            "queues": [],
            "tasks": [],
            "offered": [],
            "scheduled": [],
            "lease": LEASE,
            "ranks": None,
            "marks": None,
        },
    )

    found = await why(store, third)

    assert found["busy"] == "All 1 slots of the workers that know it are taken: host:1."
    assert found["behind"] == "1 run of default comes before it."
    assert second


async def test_one_that_has_ended_says_so(store):
    (context,) = await store.start([task()])
    await store.cancel([context], "no", {})

    assert await why(store, context) == {"ended": "It has ended: CANCELLED."}


async def test_a_circle_is_named_everywhere(store, monkeypatch, database_url, capsys):
    """By `why`, by `show` and by the doctor, as text and as JSON."""
    monkeypatch.setenv("DAMA_DATABASE_URL", database_url)
    worker = await registered(store)
    limited = partial(task, limit_key="k", key_limit=1)
    (parent,) = await store.start([limited()])
    await claimed(store, worker)
    (child,) = await store.start([limited()], parent=parent)
    await parked(store, worker, parent, awaited=[child])
    said = (
        f"{parent} waits for the end of {child}; "
        f"{child} waits for the only place of k, which {parent} holds"
    )

    async def printed(*arguments):
        await asyncio.to_thread(main, [*arguments])
        return capsys.readouterr().out

    found = json.loads(await printed("queue", "why", str(child), "--json"))
    assert found[0]["reason"] == "circle"
    assert {(w["waiter"], w["awaited"]) for w in found[0]["facts"]["circle"]} == {
        (parent, child),
        (child, parent),
    }
    assert said in await printed("queue", "why", str(parent))
    assert said in await printed("show", str(parent))
    assert f"2 runs wait forever: {said}" in await printed("doctor")


async def test_a_limit_that_many_wait_for_is_no_circle(store):
    """Its holder runs, or waits for what can run."""
    worker = await registered(store)
    limited = partial(task, limit_key="k", key_limit=1)
    contexts = await store.start([limited() for _ in range(300)])
    await claimed(store, worker)
    children = await store.start([task() for _ in range(300)], parent=contexts[0])
    await parked(store, worker, contexts[0], awaited=children)

    assert await store.queue.circles() == []
    assert await store.queue.circle(contexts[-1]) == []


def wait(waiter, awaited, key=None, limit=1):
    return WaitsFor(waiter, awaited, key, limit if key else 0)


@pytest.mark.parametrize(
    ("waits", "circle"),
    [
        ([], []),
        ([wait(1, 2)], []),
        ([wait(1, 1)], [(1, 1)]),
        ([wait(1, 2), wait(2, 1, "k")], [(1, 2), (2, 1)]),
        ([wait(1, 2), wait(2, 3), wait(3, 2, "k")], [(2, 3), (3, 2)]),  # behind one
        ([wait(1, 2), wait(2, 1, "k", 2)], []),  # a place is free
        ([wait(1, 2), wait(2, 1, "k", 2), wait(2, 3, "k", 2)], []),  # another holder can end
        ([wait(1, 2), wait(1, 9), wait(2, 1, "k")], [(1, 2), (2, 1)]),  # all are needed
    ],
)
def test_a_circle_is_what_nothing_outside_of_it_can_end(waits, circle):
    found = find_circle(waits, 1)

    assert [(each.waiter, each.awaited) for each in found] == circle
    assert who_waits(found).count("waits for") == len(circle)


async def test_what_a_launcher_is_to_place_waits_for_its_engine(store, database_url):
    """Before the run is placed: a run is given to no engine that does not answer."""
    label = "launcher:cluster"
    worker = await registered(store, labels=[label])
    (context,) = await store.start([replace(task(), labels=[label])])
    assert await store.placements.lead("cluster", worker)

    room = "cluster places it when there is room; it has 0 runs now."
    assert await why(store, context) == {"launcher": room}
    await store.placements.note_trouble("cluster", "sbatch has not answered for 9 s.")
    assert "since 20" in (said := (await why(store, context))["launcher"])
    assert said.startswith("cluster has not answered since ")
    assert said.endswith(": sbatch has not answered for 9 s.")
    await store.queue.release([worker])
    assert list(await why(store, context)) == ["no_worker"]
