"""Hosts of programs: a program may continue without its worker, so others do not start it again."""

from datetime import timedelta

import psycopg
import pytest

from dama.domain.event import Event
from dama.store import Append, Start
from dama.store.errors import StaleEpochError
from dama.store.queue_rows import WorkerIdentity
from tests.integration.leases import renew

QUEUE = """
SELECT host, program_epoch, host_until > clock_timestamp(), attempt
  FROM _data_manager_admin.run_queue
"""
LATER = "UPDATE _data_manager_admin.run_queue SET host_until = clock_timestamp() - interval '1 s'"


class Hosts:
    """Workers on hosts, and one run with a program."""

    def __init__(self, store, url):
        self.store = store
        self.url = url

    async def worker(self, host):
        """A worker of a host."""
        identity = WorkerIdentity(host, "boot", 1, "1", "0")
        lease = timedelta(minutes=1)
        return await self.store.queue.register(
            identity, queues=["default"], root=None, slots=4, lease=lease
        )

    async def claim(self, worker, root=None):
        """What it gets."""
        claims = await self.store.queue.claim(
            worker, queues=["default"], tasks=["a.b"], root=root, demand=9
        )
        return claims[0] if claims else None

    async def begun(self, worker, kind="STARTED", epoch=1):
        """Write how a run begins."""
        meta = {"epoch": epoch, "attempt": 1, "program_host": "one", "program_epoch": 1}
        await self.store.append_many([Append(self.context, Event(f"a.b:{kind}", meta=meta))])

    def sql(self, statement):
        """Ask the database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None


@pytest.fixture
async def hosts(store, database_url):
    """A program runs on host one, and its worker is gone."""
    hosts = Hosts(store, database_url)
    (hosts.context,) = await store.start([Start("a.b", {}, labels=["only/one"])])
    first = await hosts.worker("one")
    claim = await hosts.claim(first, root=hosts.context)
    assert claim.program_epoch is None
    await hosts.begun(first)
    assert await store.queue.bind_program(hosts.context, first, 1)
    await store.queue.release([first])
    return hosts


async def test_another_host_leaves_a_program_to_its_own(hosts):
    """For five minutes; it is neither claimed nor said to be work."""
    other = await hosts.worker("two")
    assert await hosts.claim(other) is None
    assert await hosts.claim(other, root=hosts.context) is None
    told = {"held": [], "lease": timedelta(minutes=1), "queues": ["default"], "tasks": ["a.b"]}
    assert not renew(hosts.store, other, **told).work
    assert hosts.sql(QUEUE) == [("one", 1, True, 1)]


async def test_the_next_worker_of_the_host_goes_on_with_the_same_attempt(hosts):
    """Whatever labels the run needed: the program is there already."""
    again = await hosts.claim(await hosts.worker("one"))
    assert (again.program_epoch, again.epoch, again.attempt) == (1, 2, 1)


async def test_after_its_time_another_host_starts_it_anew(hosts):
    """A new attempt; what the first program tells then is refused."""
    hosts.sql(LATER)
    other = await hosts.worker("two")
    taken = await hosts.claim(other, root=hosts.context)
    assert (taken.program_epoch, taken.epoch, taken.attempt) == (None, 2, 2)
    assert hosts.sql(QUEUE) == [(None, None, None, 2)]
    assert await hosts.store.queue.bound_programs([hosts.context]) == {}
    await hosts.begun(other, epoch=2)
    with pytest.raises(StaleEpochError):
        await hosts.store.append(hosts.context, [Event("x", meta={"epoch": 1})])


@pytest.mark.parametrize("kind", ["ADOPTED", "LOST"])
async def test_adopting_fences_the_worker_that_was_before(hosts, kind):
    worker = await hosts.worker("one")
    await hosts.claim(worker)
    await hosts.begun(worker, kind, epoch=2)
    with pytest.raises(StaleEpochError):
        await hosts.store.append(hosts.context, [Event("a.b:FINAL", meta={"epoch": 1})])
    assert await hosts.store.append(hosts.context, [Event("x", meta={"epoch": 2})])


async def test_an_adopted_program_may_still_write_with_the_epoch_that_it_knows(hosts):
    """By SQL, or with steps of its own; a worker took it over, not another program."""
    worker = await hosts.worker("one")
    await hosts.claim(worker)
    await hosts.begun(worker, "ADOPTED", epoch=2)
    for type_ in ("x", "a.b/load:DONE"):
        assert await hosts.store.append(hosts.context, [Event(type_, meta={"epoch": 1})])


async def test_a_further_attempt_may_be_anywhere(hosts):
    worker = await hosts.worker("one")
    await hosts.claim(worker)
    await hosts.store.queue.retry(hosts.context, worker, 0.0)
    assert hosts.sql(QUEUE) == [(None, None, None, 1)]


async def test_a_worker_that_lost_a_run_starts_no_program_of_it(hosts):
    """It was frozen between its claim and the start."""
    slow = await hosts.worker("one")
    await hosts.claim(slow)
    await hosts.store.queue.release([slow])
    assert not await hosts.store.queue.bind_program(hosts.context, slow, 2)


async def test_a_rebuild_forgets_no_program_that_may_run(hosts):
    """From the events, when the queue itself is lost."""
    hosts.sql("DELETE FROM _data_manager_admin.run_queue")
    await hosts.store.rebuild()
    assert hosts.sql(QUEUE) == [("one", 1, True, 1)]


async def test_while_its_host_has_a_live_worker_no_other_takes_a_program(hosts):
    """However long it takes until that one has a free slot: two copies are worse than none."""
    busy = await hosts.worker("one")
    other = await hosts.worker("two")
    hosts.sql(LATER)
    assert await hosts.claim(other) is None
    assert await hosts.claim(other, root=hosts.context) is None
    told = {"held": [], "lease": timedelta(minutes=1), "queues": ["default"], "tasks": ["a.b"]}
    assert not renew(hosts.store, other, **told).work
    await hosts.store.queue.release([busy])
    assert (await hosts.claim(other, root=hosts.context)).epoch == 2


async def test_programs_that_go_on_are_adopted_before_anything_else_is_claimed(hosts):
    """They run already: neither free slots nor a paused queue keeps them from being followed."""
    await hosts.store.start([Start("a.b", {}, priority=9) for _ in range(3)])
    await hosts.store.queue.set_queue("default", paused=True)
    worker = await hosts.worker("one")
    claims = await hosts.store.queue.claim(
        worker, queues=["default"], tasks=["a.b"], root=None, demand=1
    )
    assert [(claim.context_id, claim.program_epoch) for claim in claims] == [(hosts.context, 1)]


async def test_who_works_on_one_tree_adopts_its_program_whatever_its_queue_is(hosts):
    worker = await hosts.worker("one")
    (claim,) = await hosts.store.queue.claim(
        worker, queues=["another"], tasks=["a.b"], root=hosts.context, demand=1
    )
    assert (claim.context_id, claim.program_epoch) == (hosts.context, 1)
