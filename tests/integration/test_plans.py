"""The hot statements stay cheap: in a full store, and while an old transaction is open."""

import json
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files

import psycopg
import pytest

from dama import clock
from dama.domain.event import Event
from dama.store import Append, Start, Store, session
from dama.store.queue import RunQueue
from dama.store.queue_rows import WorkerIdentity
from dama.store.rows import Claim
from dama.worker.claims import Claims
from tests.conftest import url_of
from tests.integration.counters import counters_from_zero, settle_counters
from tests.integration.planned import SWITCHES

ROWS = 20_000
FILL = f"""
SET session_replication_role = replica;
INSERT INTO _data_manager_admin.etl_context
  (context_id, root_context_id, task, status, version, initial_event_id, latest_event_id)
  SELECT n, n, 'a.b', CASE n % 2 WHEN 0 THEN 'DONE' ELSE 'OPEN' END, 3, n, n
    FROM generate_series(1, {ROWS}) n;
INSERT INTO _data_manager_admin.event_store_prototype
  (event_id, etl_context_id, type, payload, version)
  SELECT v * {ROWS} + n, n, CASE v WHEN 0 THEN 'a.b:INITIAL' ELSE 'rows/loaded' END, '{{}}', v + 1
    FROM generate_series(1, {ROWS}) n, generate_series(0, 2) v;
INSERT INTO _data_manager_admin.run_queue (context_id, root_context_id, task, queue)
  SELECT n, n, 'a.b', 'default' FROM generate_series(1, {ROWS}, 2) n;
SELECT setval('_data_manager_admin.etl_context_context_id_seq', {ROWS}),
       setval('_data_manager_admin.event_store_prototype_event_id_seq', {4 * ROWS});
SET session_replication_role = origin;
"""  # noqa: S608 - a number of our own
EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
"""
BIG = "etl_context|event_store_prototype|event_log|run_queue"
SCAN = re.compile(rf"Seq Scan on ({BIG})")


@pytest.fixture
def database_url(server, database_url):
    """As the superuser: others load no auto_explain and fill no table past its triggers."""
    return url_of(server, psycopg.conninfo.conninfo_to_dict(database_url)["dbname"], "dama")


class Planned:
    """A connection that keeps the plans of all that it executes, nested statements too."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self.plans: list[str] = []
        connection.add_notice_handler(
            lambda notice: self.plans.append(notice.message_primary or "")
        )

    def execute(self, name: str, **params: object) -> list[tuple]:
        """Execute a statement of the store by its name."""
        query = files("dama.store").joinpath("sql", f"{name}.sql").read_bytes()
        return self._connection.execute(query, params).fetchall()


@pytest.fixture
def full(database_url: str) -> Iterator[Planned]:
    """A store with many contexts, half of them queued, whose statements are explained."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("ANALYZE")
        connection.execute(EXPLAIN)
        yield Planned(connection)


def batch(type_: str, context_id: int, epoch: int, **event: object) -> str:
    """A batch of one event for append_events."""
    meta = {"epoch": epoch, "idempotency_key": f"{type_}#{epoch}"}
    item = {"context_id": context_id, "event": {"type": type_, "meta": meta, **event}}
    return json.dumps([item])


def hot(full: Planned) -> list[str]:
    """The plans of what a worker asks in its loop, and of what people ask about one context."""
    register = {"host": "h", "boot_id": "b", "pid": os.getpid(), "pid_started": "1", "version": "0"}
    register |= {"place": "", "pid_namespace": ""}
    lease = timedelta(minutes=1)
    ((worker,),) = full.execute(
        "register_worker",
        **register,
        queues=["default"],
        labels=[],
        tasks=["a.b"],
        root=None,
        slots=9,
        lease=lease,
    )
    common = {"worker_id": worker, "queues": ["default"], "tasks": ["a.b"], "offered": []}
    full.plans.clear()

    claimed = full.execute("claim_runs", **common, ranks=[0], marks=[50], root=None, demand=10)
    context_id, epoch = claimed[0][0], claimed[0][4]
    full.execute("append_events", batch=batch("a.b:STARTED", context_id, epoch))
    full.execute("append_events", batch=batch("a.b:FINAL", context_id, epoch))
    full.execute(
        "renew_lease",
        **common,
        scheduled=[],
        held=[row[0] for row in claimed],
        lease=lease,
        ranks=None,
        marks=None,
    )
    full.execute("read_context", context_id=context_id)
    full.execute("read_outcomes", context_ids=[context_id])
    full.execute("read_waits", contexts=[context_id + 1])

    assert len(claimed) == 10
    assert len(full.plans) > 10
    return full.plans


def test_no_hot_statement_scans_or_sorts_a_table(full: Planned) -> None:
    """What a worker asks in its loop, and what people ask about one context."""
    plans = hot(full)

    assert [plan for plan in plans if SCAN.search(plan)] == []
    in_order = [plan for plan in plans if "using run_queue_claim" in plan]
    assert in_order
    assert [plan for plan in in_order if "Sort Key" in plan] == []


@pytest.mark.parametrize("statistics", ["there are", "of empty tables"])
def test_no_switch_of_the_planner_makes_a_hot_statement_scan_a_table(
    database_url: str, statistics: str
) -> None:
    """Whatever a role, a database or the statistics say."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        if statistics == "of empty tables":
            connection.execute(
                "ALTER TABLE _data_manager_admin.run_queue SET (autovacuum_enabled = off)"
            )
            connection.execute("ANALYZE")
        connection.execute(FILL)
        if statistics == "there are":
            connection.execute("ANALYZE")
    for setting in SWITCHES:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(setting)
            session.pin_blocking(connection, alone=True)
            connection.execute(EXPLAIN)

            scans = [plan for plan in hot(Planned(connection)) if SCAN.search(plan)]

        assert scans == [], setting


async def test_an_old_transaction_does_not_make_claims_meet_what_was_claimed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead entries of the index cannot be cleared meanwhile: claims continue behind them.

    A look from the start is allowed a share of the time; the clock stands still, so one comes.
    """
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)
    runs, demand = 1000, 10
    with psycopg.connect(database_url) as old:
        old.execute("CREATE TABLE written (a int)")  # has an xid, and stays open
        async with Store.opened(database_url) as store:
            await store.start([Start("a.b", {})] * runs)
            worker = await register(store)
            claims = Claims(store.queue, ["default"], ["a.b"], None)
            while taken := await claims.take(worker, demand):
                ends = [Append(claim.context_id, Event("a.b:FINAL", None)) for claim in taken]
                await store.append_many(ends)
        with psycopg.connect(database_url, autocommit=True) as other:
            settle_counters(other, besides=1)
            ((met,),) = other.execute(
                "SELECT idx_tup_read FROM pg_stat_user_indexes"
                " WHERE indexrelname = 'run_queue_claim'"
            ).fetchall()

    assert met < 5 * runs


@pytest.mark.parametrize("statistics", ["there are", "of empty tables"])
async def test_runs_of_unknown_tasks_are_not_met(database_url: str, statistics: str) -> None:
    """However many are queued before and between those that a worker knows, in its priority."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        if statistics == "of empty tables":
            connection.execute("VACUUM ANALYZE")
        connection.execute(FILL)
        if statistics == "there are":
            connection.execute("VACUUM ANALYZE")
    async with Store.opened(database_url) as store:
        worker = await register(store)
        common = {"queues": ["default"], "tasks": ["c.d", "e.f", "g.h"], "root": None}
        assert await store.queue.claim(worker, **common, demand=10) == []
        starts = [
            Start("e.f", {}),
            Start("a.b", {}),
            Start("c.d", {}),
            Start("e.f", {}, priority=7),
        ]
        first, unknown, second, urgent = await store.start(starts)
        claims = await store.queue.claim(worker, **common, demand=2)
        rest = await store.queue.claim(worker, **common, demand=9)
        renewed = await store.database.rows(
            "renew_lease",
            {**common, "worker_id": worker, "offered": [], "held": [], "scheduled": []}
            | {"lease": timedelta(minutes=1), "ranks": None, "marks": None},
        )

    assert sorted(claim.context_id for claim in claims) == [first, urgent]
    assert [claim.context_id for claim in rest] == [second]
    assert renewed[0][1] is False  # nothing is queued for it
    assert unknown
    with psycopg.connect(database_url, autocommit=True) as other:
        settle_counters(other)
        ((met,),) = other.execute(
            "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'run_queue'"
        ).fetchall()
    assert met < ROWS / 10


async def test_parked_runs_are_met_by_no_renewal_and_no_claim(database_url: str) -> None:
    """However many there are, and whatever they wait for."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute(
            """UPDATE _data_manager_admin.run_queue SET state = 'waiting',
                 pending = (context_id % 3)::int, wake_types = ARRAY['go'],
                 due_at = CASE context_id % 5 WHEN 1 THEN now() + interval '1 day' END,
                 deadline_at = CASE context_id % 7 WHEN 1 THEN now() + interval '1 day' END"""
        )
        connection.execute("VACUUM ANALYZE")
    with psycopg.connect(database_url, autocommit=True) as connection:
        counters_from_zero(connection)
    async with Store.opened(database_url) as store:
        worker = await register(store)
        common = {"queues": ["default"], "tasks": ["a.b", "c.d"], "root": None}
        for _ in range(5):
            assert await store.queue.claim(worker, **common, demand=10) == []
            renewed = await store.database.rows(
                "renew_lease",
                {**common, "worker_id": worker, "offered": [], "held": [], "scheduled": []}
                | {"lease": timedelta(minutes=1), "ranks": None, "marks": None},
            )
    with psycopg.connect(database_url, autocommit=True) as other:
        settle_counters(other)
        ((met, scanned),) = other.execute(
            """SELECT sum(idx_tup_fetch) FILTER (WHERE relname = 'run_queue'), sum(seq_tup_read)
                 FROM pg_stat_user_tables
                 WHERE relname IN ('run_queue', 'etl_context', 'event_store_prototype')"""
        ).fetchall()

    assert (renewed[0][1], renewed[0][2] > 80_000) == (False, True)
    assert met < 200
    assert scanned == 0


async def test_runs_that_need_other_labels_are_not_met(database_url: str) -> None:
    """Of a task that the worker knows, before and between those that it may have."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute(
            "UPDATE _data_manager_admin.run_queue"
            " SET labels = CASE WHEN context_id % 4 = 1 THEN '{gpu}'::text[] ELSE '{a,gpu}' END"
        )
        connection.execute("VACUUM ANALYZE")
    with psycopg.connect(database_url, autocommit=True) as connection:
        counters_from_zero(connection)
    async with Store.opened(database_url) as store:
        worker = await register(store)
        common = {"queues": ["default"], "tasks": ["x.y", "a.b", "c.d"], "root": None}
        labels = ["a", "b", "c"]
        assert await store.queue.claim(worker, **common, demand=10, labels=labels) == []
        needs = [["b"], ["gpu"], [], ["c", "a"], ["b", "gpu"], ["b"]]
        starts = [Start("a.b", {}, labels=need, priority=n // 3) for n, need in enumerate(needs)]
        contexts = await store.start(starts)
        claims = await store.queue.claim(worker, **common, demand=2, labels=labels)
        first = [claim.context_id for claim in claims]
        claims = await store.queue.claim(worker, **common, demand=9, labels=labels)
        rest = [claim.context_id for claim in claims]
        for offered in ([], labels):
            renewed = await store.database.rows(
                "renew_lease",
                {**common, "worker_id": worker, "held": [], "scheduled": [], "offered": offered}
                | {"lease": timedelta(minutes=1), "ranks": None, "marks": None},
            )
            assert renewed[0][1] is False
        (late,) = await store.start([Start("c.d", {}, labels=["c"])])
        for offered, work in (([], False), (["c"], True)):
            renewed = await store.database.rows(
                "renew_lease",
                {**common, "worker_id": worker, "held": [], "scheduled": [], "offered": offered}
                | {"lease": timedelta(minutes=1), "ranks": None, "marks": None},
            )
            assert renewed[0][1] is work

    assert sorted(first) == [contexts[3], contexts[5]]
    assert sorted(rest) == [contexts[0], contexts[2]]
    assert late
    with psycopg.connect(database_url, autocommit=True) as other:
        settle_counters(other)
        ((met,),) = other.execute(
            "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'run_queue'"
        ).fetchall()
    assert met < ROWS / 10


async def test_windows_leave_nothing_out_and_keep_the_order(database_url: str) -> None:
    """Known runs are dense, sparse, locked by others, in several priorities."""
    async with Store.opened(database_url) as store:
        worker = await register(store)
        tasks = ["x.x"] * 40 + ["a.a"] + ["x.x"] * 60 + ["b.b", "a.a"] * 60 + ["x.x"] * 90 + ["b.b"]
        starts = [
            Start(task, {}, priority=n % 3, labels=[["l"], [], ["z"], [], ["k", "l"], []][n % 6])
            for n, task in enumerate(tasks)
        ]
        contexts = await store.start(starts)
        known = sorted(
            (-start.priority, context)
            for start, context in zip(starts, contexts, strict=True)
            if start.task != "x.x" and start.labels != ["z"]
        )
        locked = {context for _, context in known[::5]}
        found: list[int] = []
        with psycopg.connect(database_url) as other:
            other.execute(
                "SELECT FROM _data_manager_admin.run_queue WHERE context_id = ANY (%s) FOR UPDATE",
                [[*locked]],
            )
            while claims := await store.queue.claim(
                worker,
                queues=["default"],
                tasks=["a.a", "b.b"],
                root=None,
                demand=7,
                labels=["k", "l"],
            ):
                found += [claim.context_id for claim in claims]
                assert len(claims) == 7 or len(found) == len(known) - len(locked)

    in_order = [context for _, context in known if context not in locked]
    sevens = [sorted(in_order[n : n + 7]) for n in range(0, len(in_order), 7)]
    assert [sorted(found[n : n + 7]) for n in range(0, len(found), 7)] == sevens


async def test_a_rate_is_counted_without_new_versions_of_its_setting(database_url: str) -> None:
    """They would all stay beside an open transaction, and each claim would meet all of them."""
    versions = "SELECT ctid::text, xmin::text FROM _data_manager_admin.queue_setting"
    counted = "SELECT count(*), min(allowance) FROM _data_manager_admin.queue_allowance"
    with psycopg.connect(database_url) as old:
        async with Store.opened(database_url) as store:
            await store.queue.set_queue("default", rate=1e5)
            before = old.execute(versions).fetchall()  # and keeps its snapshot
            worker = await register(store)
            for _ in range(30):
                await store.start([Start("a.b", {})])
                claims = await store.queue.claim(
                    worker, queues=["default"], tasks=["a.b"], root=None, demand=9
                )
                assert len(claims) == 1
        with psycopg.connect(database_url) as other:
            after = other.execute(versions).fetchall()
            ((slots, allowance),) = other.execute(counted).fetchall()

    assert after == before
    assert slots == 1
    assert 0 < allowance < 1e5


async def test_a_look_that_had_to_wait_is_soon_repeated(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stall of the server is no look at many runs: an urgent run would wait for minutes."""
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)

    class Stalling(RunQueue):
        """A queue whose answers come late."""

        late = 6.0

        async def claim(self, *given: object, **named: object) -> list[Claim]:
            nonlocal now
            claims = await super().claim(*given, **named)
            now += self.late if named["after"] is None else 0.01
            return claims

    async with Store.opened(database_url) as store:
        queue = Stalling(store.database)
        claims = Claims(queue, ["default"], ["a.b"], None)
        worker = await register(store)
        await store.start([Start("a.b", {})] * 400)
        assert len(await claims.take(worker, 1)) == 1
        (urgent,) = await store.start([Start("a.b", {}, priority=9)])
        since, taken = now, []
        queue.late = 0.01
        while urgent not in taken:
            taken += [claim.context_id for claim in await claims.take(worker, 1)]
        waited = now - since
        queue.late = 6.0
        looks = []
        for _ in range(200):
            before = now
            await claims.take(worker, 1)
            now += 1
            looks += [now] if now > before + 3 else []

    assert waited < 2
    assert looks[-1] - looks[-2] > 60  # when each look takes so long, they are seldom


async def register(store: Store) -> int:
    """A worker of this process."""
    identity = WorkerIdentity("host", "boot", os.getpid(), "1", "0")
    return await store.queue.register(
        identity, queues=["default"], root=None, slots=4, lease=timedelta(minutes=1)
    )


async def test_a_session_that_knew_few_contexts_does_not_look_at_all_of_many(
    database_url: str,
) -> None:
    """Its plans are kept: a join that pays off for two contexts would read them all forever."""
    async with Store.opened(database_url) as store:
        few = await store.start([Start("a.b", {})] * 2)
        with psycopg.connect(database_url, autocommit=True) as connection:
            planned = Planned(connection)
            connection.execute("VACUUM ANALYZE _data_manager_admin.etl_context")
            planned.execute("append_events", batch=batch("rows/loaded", few[0], 0))
            many = await store.start([Start("a.b", {})] * 500)
            connection.execute(EXPLAIN)
            items = [json.loads(batch("rows/loaded", context, 0))[0] for context in many[:50]]
            planned.execute("append_events", batch=json.dumps(items))

    lines = [line for plan in planned.plans for line in plan.splitlines()]
    looks = [place for place, line in enumerate(lines) if "using etl_context_pkey" in line]
    assert len(looks) >= 2
    assert all("Index Cond" in lines[place + 1] for place in looks), "\n".join(lines)


RULES = {
    "start_refusal": "i, i -> 'event' -> 'meta'",
    "queue_refusal": "i",
    "fsa_refusal": "i -> 'event'",
    "event_refusal": "'a:b', i -> 'payload', i -> 'meta', FALSE",
    "life_cycle_refusal": "1, 1, i ->> 'status', i ->> 'type'",
    "reserved_refusal": "1, i ->> 'task', i ->> 'type', i ->> 'key'",
    "status_after": "i ->> 'type'",
    "event_kind": "i ->> 'type'",
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_put_in_place_by_the_planner(database_url: str, name: str) -> None:
    """Each event of a batch is looked at: a call would cost more than all the looks together."""
    called = f"_data_manager_admin.{name}({RULES[name]})"
    query = f"EXPLAIN (VERBOSE, COSTS OFF) SELECT {called} FROM jsonb_array_elements('[]') i"  # noqa: S608 - of our own
    with psycopg.connect(database_url) as connection:
        plan = "\n".join(line for (line,) in connection.execute(query).fetchall())

    left = set(re.findall(r"_data_manager_admin\.(\w+)", plan))
    assert left <= {"long_json_refusal"}  # of what is not short
