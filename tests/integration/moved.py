"""A store in the midst of its work, and what must hold wherever its database is moved to."""

import asyncio
from datetime import timedelta

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.store import Start, Store
from dama.store.queue_rows import WorkerIdentity
from dama.worker.worker import Worker
from tests.integration.clusters import values

POSITIONS = "SELECT position, event_id FROM _data_manager_admin.event_log"
UNPLACED = """
SELECT count(*) FROM _data_manager_admin.event_store_prototype e
  WHERE NOT EXISTS (SELECT FROM _data_manager_admin.event_log l WHERE l.event_id = e.event_id)
"""
moved = Service("moved")


@moved.task
async def twice(task: Task, n: int) -> int:
    """Two steps and a subtask."""
    await task.step("one", lambda: n)
    if n % 5 == 0:
        await task.run(twice, {"n": n + 1})
    return await task.step("two", lambda: 2 * n)


async def begin(url):
    """Contexts that are queued, limited, delayed, cancelled, and held by a worker that is gone."""
    async with Store.opened(url) as store:
        contexts = await store.start(
            [Start("moved.twice", {"n": n}, limit_key="k", key_limit=1) for n in range(1, 4)]
            + [Start("moved.twice", {"n": n}) for n in range(4, 8)]
            + [Start("moved.twice", {"n": 8}, key="once", delay=1)]
        )
        await store.cancel([contexts[-2]], "enough", {})
        await store.log.position()
        worker = await store.queue.register(
            WorkerIdentity("gone", "boot", 1, "0", "0"),
            queues=["default"], root=None, slots=2, lease=timedelta(seconds=1),
        )  # fmt: skip
        await store.queue.claim(
            worker, queues=["default"], tasks=["moved.twice"], root=None, demand=2
        )
        await store.append(contexts[0], [Event("noted", None)])  # not placed yet
        await store.state(contexts[0], lifecycle)
    return contexts


async def assert_it_continues(url):
    """Positions stay, ids go on, everything that was open comes to its end, once."""
    before = dict(values(url, POSITIONS))
    async with Store.opened(url) as store:
        assert await store.differences() == []
        known = {
            context.context_id for context in await store.contexts(roots_only=False, limit=1000)
        }
        (again,) = await store.start([Start("moved.twice", {"n": 8}, key="once", delay=1)])
        assert again in known
        (fresh,) = await store.start([Start("moved.twice", {"n": 20})])
        assert fresh > max(known)
        async with Worker(store, Registry([moved])).working(), asyncio.timeout(120):
            while await store.contexts(status="OPEN", roots_only=False):  # noqa: ASYNC110 - what a client does
                await asyncio.sleep(0.05)
        last = await store.log.position()
        assert await store.differences() == []
        for context in await store.contexts(roots_only=False, limit=1000):
            events = await store.events(context.context_id)
            assert [event.version for event in events] == list(range(1, len(events) + 1))
            assert sum(event.type.endswith("/two:DONE") for event in events) <= 1
    after = dict(values(url, POSITIONS))
    assert sorted(after) == list(range(1, last + 1))
    assert before.items() <= after.items()
    assert values(url, UNPLACED) == [(0,)]
