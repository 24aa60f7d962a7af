"""A task's clean-up is started with the event of its end, once, whoever ended it."""

import asyncio

import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.domain.errors import InvalidEventError
from dama.domain.event import Event
from dama.errors import InvalidDefinitionError
from dama.run.starts import start_of
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

cleaning = Service("cleaning")


@cleaning.task
async def drop(task: Task, table: str) -> str:
    return f"dropped {table}"


@cleaning.task(retries=1, backoff=0.01, on_failure=drop, on_cancel=drop)
async def load(task: Task, table: str) -> str:
    if table == "bad":
        raise OSError("bad")
    return await task.wait_for("approved")


@cleaning.task
async def above(task: Task, table: str) -> str:
    return await task.run(load, {"table": table})


async def drops(store):
    """The contexts that were cleaned up after, once for each time."""
    rows = await store.contexts(task=drop.name, limit=100)
    firsts = [(await store.events(row.context_id, limit=1))[0] for row in rows]
    return sorted(event.meta["cleans_up"] for event in firsts)


async def child_of(store, parent):
    async with asyncio.timeout(60):
        while True:
            for row in await store.tree(parent):
                if row.parent_id == parent:
                    return row.context_id
            await asyncio.sleep(0.05)


async def ended(store, contexts):
    async with asyncio.timeout(60):
        return await Endings(store, lambda: None).wait(contexts, fail_fast=False)


async def test_a_failure_and_a_cancellation_start_their_clean_up_once(store):
    starts = [start_of(load, {"table": table}) for table in ("bad", "good", "draft")]
    bad, good, draft = await store.start(starts)
    (parent,) = await store.start([start_of(above, {"table": "below"})])
    async with Worker(store, Registry([cleaning]), park_after=0).working():
        await ended(store, [bad])
        below = await child_of(store, parent)
    # Nobody works: whoever cancels starts the clean-up.
    await store.cancel([parent, draft], "not needed", {})
    await store.cancel([draft], "again", {})
    assert await drops(store) == sorted([bad, draft, below])
    async with Worker(store, Registry([cleaning])).working():
        await store.append(good, [Event("approved", "yes")])
        await ended(store, [good])
        cleanups = [row.context_id for row in await store.contexts(task=drop.name, limit=100)]
        found = await ended(store, cleanups)
    assert sorted(outcome.result for outcome in found.values()) == [
        "dropped bad", "dropped below", "dropped draft",
    ]  # fmt: skip
    assert len(await drops(store)) == 3


async def test_a_resumed_task_that_fails_again_is_cleaned_up_again(store):
    (context,) = await store.start([start_of(load, {"table": "bad"})])
    async with Worker(store, Registry([cleaning])).working():
        await ended(store, [context])
        await store.resume(context, {})
        await ended(store, [context])
    assert await drops(store) == [context, context]


def test_a_clean_up_takes_the_params_of_its_task():
    odd = Service("odd")
    with pytest.raises(InvalidDefinitionError, match=r"takes table; expected year"):

        @odd.task(on_failure=drop)
        async def other(task: Task, year: int) -> None: ...

    with pytest.raises(InvalidDefinitionError, match="not a task"):

        @odd.task(on_cancel=print)
        async def another(task: Task) -> None: ...


BEYOND = {"task": "t" * 1001}
NOWHERE = {"task": "t", "queue": ""}


@pytest.mark.parametrize("kind", ["on_failure", "on_cancel"])
async def test_a_start_with_a_clean_up_that_could_never_begin_is_refused(store, kind):
    """Its end would find out."""
    for named in (BEYOND, NOWHERE, {"task": "t", "queue": "q" * 1001}):
        with pytest.raises(InvalidEventError, match=kind):
            await store.start([Start("s.t", {}, meta={kind: named})])
    await store.start([Start("s.t", {}, meta={kind: {"task": "t", "queue": "q"}})])
