"""Places of limited queues, beside a transaction that stays open for hours.

What has ended leaves entries in an index for so long, and each count of what runs would meet all
of them. So those that run are known for a while, and the limit is as exact as with a count.
"""

from datetime import timedelta

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dama.domain.event import Event
from dama.domain.outcome import Waiting
from dama.store import Start, Store
from dama.store.queue_rows import WorkerIdentity
from tests.conftest import url_of
from tests.integration.counters import counters_from_zero, settle_counters
from tests.integration.leases import renew

LEASE = timedelta(hours=1)
ENDED = 40_000
KNOWN = """
INSERT INTO _data_manager_admin.queue_allowance
  (queue, slot, allowance, allowed_at, holders, known_until, setting)
  SELECT s.queue, 1, 0, now(), '{}', now() + interval '1 hour', s.xmin::text
    FROM _data_manager_admin.queue_setting s
"""
HOLDERS = "SELECT holders FROM _data_manager_admin.queue_allowance"


async def registered(store, name):
    identity = WorkerIdentity(name, "boot", 1, "0", "0")
    return await store.queue.register(
        identity, queues=["default"], root=None, slots=9, lease=LEASE, tasks=["a.b"]
    )


async def claimed(store, worker, demand=9):
    """The claims, by context."""
    claims = await store.queue.claim(
        worker, queues=["default"], tasks=["a.b"], root=None, demand=demand
    )
    return {claim.context_id: claim for claim in claims}


async def end(store, claim):
    meta = {"epoch": claim.epoch}
    await store.append(claim.context_id, [Event("a.b:STARTED", None, meta=meta)])
    await store.append(claim.context_id, [Event("a.b:FINAL", None, meta=meta)])


@pytest.mark.parametrize("rate", [None, 1e5])
async def test_a_limit_is_exact_while_those_that_run_are_known(store, database_url, rate):
    """Through ends, waits, retries, hand-backs, and programs that are taken over."""
    here, there = await registered(store, "here"), await registered(store, "there")
    await store.queue.set_queue("default", concurrency=3, rate=rate)
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute(KNOWN)
        known = lambda: sorted(sql.execute(HOLDERS).fetchone()[0])  # noqa: E731 - what it is now
        await store.start([Start("a.b", {})] * 30)
        first = await claimed(store, here)
        assert [len(first), await claimed(store, there)] == [3, {}]
        assert known() == sorted(first)

        one, two, three = first.values()
        await end(store, one)
        (four,) = (await claimed(store, there)).values()
        assert known() == [two.context_id, three.context_id, four.context_id]

        nothing = {"awaited": [], "on_failure": False, "until": None}
        await store.queue.park(two.context_id, here, Waiting(**nothing, types=["go"], seen=9))
        await store.queue.retry(three.context_id, here, 3600)
        assert len(await claimed(store, here)) == 2
        await store.queue.hand_back(there)
        assert list(await claimed(store, here)) == [four.context_id]  # the oldest one

        assert [await claimed(store, there), len(await store.queue.hand_back(here))] == [{}, 3]
        programs = await claimed(store, here)
        for claim in programs.values():
            await store.queue.bind_program(claim.context_id, here, claim.epoch)
        await store.queue.release([here])
        others = await claimed(store, there)  # programs of a place that has no worker
        assert len(others) == 3
        here = await registered(store, "here")
        assert set(await claimed(store, here)) == set(programs)  # beyond the limit: they run
        assert known() == sorted([*programs, *others])
        for claim in others.values():
            await end(store, claim)
        assert await claimed(store, there) == {}  # the programs have the places

        await store.queue.set_queue("default", concurrency=4)  # now they are counted
        assert len(await claimed(store, there)) == 1
        await store.queue.set_queue("default", concurrency=0)
        assert len(await claimed(store, there)) == 9


async def test_neither_claims_nor_renewals_meet_again_and_again_what_has_ended(
    server, database_url
):
    """The first count meets all, and is good for a while; a renewal looks where claims look."""
    superuser = url_of(server, conninfo_to_dict(database_url)["dbname"], "dama")
    with psycopg.connect(superuser) as old, psycopg.connect(superuser, autocommit=True) as sql:
        old.execute("CREATE TABLE written (a int)")  # has an xid, and stays open
        sql.execute(
            f"""SET session_replication_role = replica;
            INSERT INTO _data_manager_admin.run_queue (context_id, root_context_id, task, queue)
              SELECT n, n, 'a.b', 'default' FROM generate_series(1, {ENDED}) n;
            UPDATE _data_manager_admin.run_queue SET state = 'running';
            DELETE FROM _data_manager_admin.run_queue;
            SELECT setval('_data_manager_admin.etl_context_context_id_seq', {ENDED});
            SET session_replication_role = origin"""  # noqa: S608 - a number of our own
        )
        async with Store.opened(database_url) as store:
            worker = await registered(store, "here")
            await store.queue.set_queue("default", concurrency=100)
            await store.start([Start("a.b", {})] * 60)
            (place,) = await claimed(store, worker, 1)
        counters_from_zero(sql, besides=1)
        async with Store.opened(database_url) as store:
            for _ in range(30):
                params = {"ranks": [0], "marks": [place], "worker_id": worker, "demand": 1}
                params |= {"queues": ["default"], "tasks": ["a.b"], "offered": [], "root": None}
                assert len(await store.database.rows("claim_runs", params)) == 1
                found = renew(
                    store, worker, held=[], lease=LEASE, queues=["default"], tasks=["a.b"],
                    places=([0], [place]),
                )  # fmt: skip
                assert found.work
            behind_all = renew(
                store, worker, held=[], lease=LEASE, queues=["default"], tasks=["a.b"],
                places=([0], [ENDED + 60]),
            )  # fmt: skip
        settle_counters(sql, besides=1)
        ((met,),) = sql.execute(
            "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'run_queue'"
        ).fetchall()

    assert met < 15 * ENDED  # twice thirty looks would meet all of them
    assert not behind_all.work
