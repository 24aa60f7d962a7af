"""Acts on trees and queues beside the open transactions of others: nothing is lost or stands still.

One connection holds a transaction open; another acts; then the first one commits. What is true at
every commit is in docs/concepts/locks.md.
"""

import json
import math
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from dama.domain.errors import InvalidScheduleError
from dama.domain.profile import LONGEST_KEY
from dama.domain.schedule import LONGEST_NAME, Schedule
from dama.store.errors import InvalidValueError
from dama.store.renewal import Renewer
from dama.store.statements import statement
from tests.cases import case

SCHEMA = "_data_manager_admin"
PATIENCE = 100.0  # seconds


def rows(connection, query, *params):
    return connection.execute(query.replace("$S", SCHEMA), params).fetchall()


def start(connection, parent=None, task="c.t", **item):
    """Start one context; give its id."""
    batch = [{"task": task, "event": {"type": f"{task}:INITIAL", "meta": {}}, **item}]
    (row,) = rows(
        connection,
        "SELECT context_id FROM $S.start_contexts(%s::jsonb, NULL, %s)",
        json.dumps(batch),
        parent,
    )
    return row[0]


def cancel(connection, *contexts):
    return {
        row[0]
        for row in rows(
            connection, "SELECT context_id FROM $S.cancel_trees(%s, '{}', '{}')", list(contexts)
        )
    }


def statuses(connection):
    return dict(rows(connection, "SELECT context_id, status FROM $S.etl_context"))


def queued(connection):
    return {row[0] for row in rows(connection, "SELECT context_id FROM $S.run_queue")}


class Other:
    """A connection that acts in a thread of its own."""

    def __init__(self, url: str, pool: ThreadPoolExecutor) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self._pool = pool

    def begin(self, act, *args):
        """Act; return when it is done or waits for a lock."""
        acting: Future = self._pool.submit(act, self.connection, *args)
        pid = self.connection.info.backend_pid
        with psycopg.connect(self.connection.info.dsn, autocommit=True) as watch:
            until = time.monotonic() + PATIENCE
            while not acting.done():
                (waits,) = watch.execute(
                    "SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid]
                ).fetchone()
                if waits:
                    break
                assert time.monotonic() < until, "it neither ends nor waits for a lock"
                time.sleep(0.005)
        return acting


@pytest.fixture
def here(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def other(database_url):
    with ThreadPoolExecutor(1) as pool:
        other = Other(database_url, pool)
        yield other
        other.connection.close()


@contextmanager
def open_transaction(connection):
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("item", [{}, {"limit_key": "k", "key_limit": 9}, {"delay": 60}])
def test_a_subtask_that_is_being_started_is_cancelled_with_its_tree(here, other, depth, item):
    """Its start commits after the cancellation has begun."""
    path = [start(here)]
    for _ in range(depth):
        path.append(start(here, path[-1]))

    with open_transaction(here):
        late = start(here, path[-1], **item)
        cancelling = other.begin(cancel, path[0])
    cancelling.result(PATIENCE)

    assert statuses(here) == dict.fromkeys([*path, late], "CANCELLED")
    assert queued(here) == set()


@pytest.mark.parametrize("depth", [0, 2])
def test_nothing_is_started_below_what_is_being_cancelled(here, other, depth):
    """The start waits for the cancellation, and is refused with a typed error."""
    path = [start(here)]
    for _ in range(depth):
        path.append(start(here, path[-1]))

    with open_transaction(here):
        cancel(here, path[0])
        starting = other.begin(start, path[-1])
    with pytest.raises(psycopg.Error) as refused:
        starting.result(PATIENCE)

    assert refused.value.sqlstate == "DM006"
    assert statuses(here) == dict.fromkeys(path, "CANCELLED")
    assert queued(here) == set()


def test_many_starters_leave_nothing_open_below_a_cancelled_parent(database_url, here):
    """Whatever commits in between: started subtasks end with the tree, the others are refused."""

    def keep_starting(parent):
        with psycopg.connect(database_url, autocommit=True) as connection:
            try:
                while True:
                    start(connection, parent)
            except psycopg.Error as error:
                return error.sqlstate

    for _ in range(8):
        parent = start(here)
        with ThreadPoolExecutor(3) as pool:
            starters = [pool.submit(keep_starting, parent) for _ in range(3)]
            until = time.monotonic() + PATIENCE
            while len(queued(here)) < 6:
                assert time.monotonic() < until
                time.sleep(0.001)
            cancel(here, parent)
            assert {s.result(PATIENCE) for s in starters} == {"DM006"}
        assert set(statuses(here).values()) == {"CANCELLED"}
        assert queued(here) == set()


def insert(connection, parent):
    """A subtask of an old program: inserted directly, with its first event."""
    query = "INSERT INTO $S.etl_context (parent_id) VALUES (%s) RETURNING context_id"
    ((context,),) = rows(connection, query, parent)
    return begin_inserted(connection, context)


def begin_inserted(connection, context):
    query = """
    INSERT INTO $S.event_store_prototype (etl_context_id, type) VALUES (%s, 'old:INITIAL')
      RETURNING etl_context_id
    """
    return rows(connection, query, context)[0][0]


def refusal(act, *args):
    with pytest.raises(psycopg.Error) as refused:
        act(*args)
    return refused.value.sqlstate


def test_nothing_is_inserted_below_what_was_cancelled(here):
    """Whether the context is new, was empty when its tree was cancelled, or has ended before."""
    parent = start(here)
    ended = insert(here, parent)
    rows(here, "SELECT * FROM $S.dispatch(%s, 'old:FINAL')", ended)
    empty = "INSERT INTO $S.etl_context (parent_id) VALUES (%s) RETURNING context_id"
    ((waiting,),) = rows(here, empty, parent)
    cancel(here, parent)

    assert refusal(insert, here, parent) == "DM006"
    assert refusal(insert, here, ended) == "DM006"
    assert refusal(begin_inserted, here, waiting) == "DM006"
    assert refusal(rows, here, "SELECT $S.dispatch(%s, 'old:INITIAL')", waiting) == "DM006"
    assert refusal(insert, here, 10**9) == "DM002"
    assert statuses(here) == {parent: "CANCELLED", ended: "DONE", waiting: None}


def test_what_an_open_transaction_inserts_keeps_no_tree_from_its_cancellation(here, other):
    """An old program loads for hours before it commits: it is refused then."""
    parent = start(here)
    here.execute("BEGIN")
    insert(here, insert(here, parent))
    other.begin(cancel, parent).result(PATIENCE)

    assert refusal(here.execute, "COMMIT") == "DM006"
    assert statuses(here) == {parent: "CANCELLED"}


def test_what_is_inserted_while_a_tree_is_cancelled_ends_with_it_or_is_refused(here, other):
    """Its commit waits for the cancellation; one that was committed before is cancelled, too."""
    parent = start(here)
    early = insert(here, parent)
    with open_transaction(here):
        cancel(here, parent)
        inserting = other.begin(lambda connection: insert(connection, early))
    with pytest.raises(psycopg.Error) as refused:
        inserting.result(PATIENCE)

    assert refused.value.sqlstate == "DM006"
    found = statuses(here)
    assert {parent: "CANCELLED", early: "CANCELLED"}.items() <= found.items()
    assert "OPEN" not in found.values()


def test_a_subtask_of_a_context_that_nobody_knows_is_refused(here):
    """With the error of the product, not that of a foreign key."""
    with pytest.raises(psycopg.Error) as refused:
        start(here, 10**9)

    assert refused.value.sqlstate == "DM002"


def test_a_tree_that_passes_its_deadline_takes_a_subtask_that_is_being_started_along(here, other):
    """The renewal leaves the tree for its next time, and then ends all of it."""
    parent = start(here, deadline=0)
    with open_transaction(here):
        late = start(here, parent)
        ending = other.begin(lambda c: c.execute(f"SELECT {SCHEMA}.uphold(9)"))
        ending.result(PATIENCE)  # it waits for nobody
    here.execute(f"SELECT {SCHEMA}.uphold(9)")

    assert statuses(here) == {parent: "ERROR", late: "CANCELLED"}
    assert queued(here) == set()


def test_a_tree_that_is_being_resumed_is_cancelled_whole(here, other):
    """The cancellation waits, and finds what is open again."""
    parent = start(here)
    child = start(here, parent)
    cancel(here, parent)

    with open_transaction(here):
        rows(here, "SELECT * FROM $S.resume_tree(%s, '{}')", parent)
        start(here, child)
        cancelling = other.begin(cancel, parent)
    cancelling.result(PATIENCE)

    assert set(statuses(here).values()) == {"CANCELLED"}
    assert queued(here) == set()


def test_thousands_of_runs_with_keys_of_their_own_are_cancelled_at_once(here):
    """One advisory lock for each key would not fit in the memory of the server."""
    parent = start(here)
    batch = [
        {"task": "c.t", "event": {"type": ":INITIAL"}, "limit_key": f"k{n}", "key_limit": 1}
        for n in range(30_000)
    ]
    rows(
        here,
        "SELECT count(*) FROM $S.start_contexts(%s::jsonb, NULL, %s)",
        json.dumps(batch),
        parent,
    )

    cancelled = cancel(here, parent)

    assert len(cancelled) == 30_001
    assert queued(here) == set()


def test_a_few_keys_and_thousands_of_them_exclude_each_other(here, other):
    """Who locks all keys at once is alone with each of them."""
    many = [f"k{n}" for n in range(1000)]
    with open_transaction(here):
        here.execute(f"SELECT {SCHEMA}.lock_keys(%s)", [many])
        locking = other.begin(lambda c: c.execute(f"SELECT {SCHEMA}.lock_keys('{{k7}}')"))
        assert not locking.done()
    locking.result(PATIENCE)


def upheld(connection, most=100):
    return connection.execute(f"SELECT {SCHEMA}.uphold(%s)", [most]).fetchone()[0]


def uphold_all(connection, most=100):
    """Until nothing is left; how many times something was done."""
    times = 0
    while upheld(connection, most):
        times += 1
        assert times < 1000
    return times


STRANGERS = [
    "SELECT FROM $S.etl_context FOR UPDATE",
    "SELECT FROM $S.run_queue FOR UPDATE",
    "SELECT $S.lock_keys('{k}')",
    "SELECT $S.lock_trees(ARRAY(SELECT context_id FROM $S.etl_context))",
]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("late", ["expires", "deadline", "delay"])
def test_upkeep_waits_for_no_lock_of_anybody(here, other, stranger, late):
    """What is locked is left, and done as soon as it is free; the rest is done at once."""
    first = start(here, limit_key="k", key_limit=1, **{late: 0})
    child = start(here, first, **{late: 0})

    with open_transaction(here):
        here.execute(stranger.replace("$S", SCHEMA))
        free = start(other.connection, task="c.u", **{late: 0})
        began = time.monotonic()
        assert upheld(other.connection) >= 1
        assert time.monotonic() - began < PATIENCE / 2
        done = dict(rows(other.connection, "SELECT context_id, state FROM $S.run_queue"))
        assert done.get(free, "queued") == "queued"
    uphold_all(here)

    if late == "delay":
        states = dict(rows(here, "SELECT context_id, state FROM $S.run_queue"))
        assert states == {first: "queued", child: "queued", free: "queued"}
    else:
        assert "OPEN" not in statuses(here).values()
        assert queued(here) == set()


def test_a_large_tree_that_passes_its_deadline_ends_in_batches(here):
    """Each takes a small part of a lease, and nothing is started below it meanwhile."""
    parent = start(here, deadline=0)
    batch = [{"task": "c.t", "event": {"type": ":INITIAL"}} for _ in range(900)]
    query = "SELECT context_id FROM $S.start_contexts(%s::jsonb, NULL, %s)"
    children = [row[0] for row in rows(here, query, json.dumps(batch), parent)]

    assert upheld(here) == 101  # the parent, and the first hundred below
    with pytest.raises(psycopg.Error) as refused:
        start(here, children[-1])
    times = uphold_all(here)

    assert refused.value.sqlstate == "DM006"
    assert times == 8
    assert statuses(here) == {parent: "ERROR"} | dict.fromkeys(children, "CANCELLED")
    assert queued(here) == set()
    assert rows(here, "SELECT FROM $S.ending_tree") == []


def resume(connection, context):
    query = "SELECT context_id FROM $S.resume_tree(%s, '{}') ORDER BY 1"
    return [row[0] for row in rows(connection, query, context)]


def test_what_is_resumed_below_a_tree_that_its_deadline_ended_stays_open(here):
    """The tree has ended in one piece; the next upkeep looks at it no more."""
    parent = start(here, deadline=0)
    child, other_child = start(here, parent), start(here, parent)

    assert upheld(here) == 3
    assert resume(here, child) == [child]
    uphold_all(here)

    assert statuses(here) == {parent: "ERROR", child: "OPEN", other_child: "CANCELLED"}
    assert queued(here) == {child}


def test_a_tree_that_is_archived_while_it_is_ended_leaves_no_work_behind(here, other):
    """Each renewal would look for it, and a restored one would start nothing."""
    parent = start(here, deadline=0)
    query = f"SELECT {SCHEMA}.lock_trees(ARRAY[%s::bigint])"
    with open_transaction(other.connection):
        other.connection.execute(query, [parent])
        upheld(here)
    assert rows(here, "SELECT context_id FROM $S.ending_tree") == [(parent,)]
    rows(here, "SELECT FROM $S.sequence_log()")
    here.execute(statement("archive_trees"), {"age": "0", "failed": True, "after": 0, "demand": 9})
    assert statuses(here) == {}

    upheld(here)

    assert rows(here, "SELECT context_id FROM $S.ending_tree") == []


@pytest.mark.parametrize(
    ("kind", "end", "status"),
    [
        ("on_failure", lambda here, ids: append(here, *((i, ":ERROR") for i in ids)), "ERROR"),
        ("on_cancel", lambda here, ids: cancel(here, *ids), "CANCELLED"),
    ],
)
def test_a_clean_up_that_cannot_be_started_keeps_nothing_from_ending(here, kind, end, status):
    """An INITIAL of before says of it what no start may; those of others are started."""
    begin = """
    INSERT INTO $S.event_store_prototype (etl_context_id, type, meta)
      VALUES (%s, 'old:INITIAL', %s) RETURNING etl_context_id
    """
    named = [{"task": "t" * 1001}, {"task": "t", "queue": ""}, {"task": "c.clean"}]
    made = rows(
        here, "INSERT INTO $S.etl_context VALUES (DEFAULT), (DEFAULT), (DEFAULT) RETURNING 1"
    )
    assert len(made) == len(named)
    contexts = sorted(statuses(here))
    for context, clean_up in zip(contexts, named, strict=True):
        rows(here, begin, context, json.dumps({kind: clean_up}))

    end(here, contexts)

    assert {statuses(here)[context] for context in contexts} == {status}
    assert rows(here, "SELECT task FROM $S.run_queue") == [("c.clean",)]


def test_one_that_cannot_be_ended_keeps_no_other_from_its_end(here):
    """It is tried again after a minute."""
    here.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not by me'; END $$;"
        f"CREATE TRIGGER refusing BEFORE INSERT ON {SCHEMA}.event_store_prototype FOR EACH ROW "
        "WHEN (NEW.type = 'c.bad:ERROR') EXECUTE FUNCTION refuse()"
    )
    bad = start(here, task="c.bad", expires=0)
    good = start(here, expires=0)

    uphold_all(here)

    assert statuses(here) == {bad: "OPEN", good: "ERROR"}


def register(connection, host):
    query = """
    INSERT INTO $S.worker (host, boot_id, pid, pid_started, version, queues, slots, lease_until)
      VALUES (%s, 'b', 1, '1', '1', '{a,b}', 9, clock_timestamp() + interval '1 hour')
      RETURNING worker_id
    """
    return rows(connection, query, host)[0][0]


CLAIM = """
SELECT context_id, queue
  FROM $S.claim_runs(%s, %s, '{-99,-99}', '{0,0}', '{c.t}', '{}', NULL, 9)
"""


def limit(connection, *queues):
    for queue in queues:
        query = "INSERT INTO $S.queue_setting (queue, concurrency) VALUES (%s, 999) RETURNING 1"
        rows(connection, query, queue)


def claim(connection, worker, queues):
    return rows(connection, CLAIM, worker, queues)


def test_runs_of_a_worker_that_is_gone_are_queued_again(here, other):
    """Whatever left them: a claim that was locked when its worker was buried, or a row by hand."""
    worker = register(here, "h")
    runs = {start(here, queue="a") for _ in range(3)}
    assert {context for context, _ in claim(here, worker, ["a", "b"])} == runs

    with open_transaction(here):
        here.execute(f"SELECT FROM {SCHEMA}.run_queue FOR UPDATE")
        burying = other.begin(
            lambda c: c.execute(f"SELECT {SCHEMA}.release_workers(%s)", [[worker]])
        )
        burying.result(PATIENCE)  # it waits for nobody
    uphold_all(here)

    states = rows(here, "SELECT DISTINCT state, worker_id FROM $S.run_queue")
    assert states == [("queued", None)]


def test_claims_of_limited_queues_never_wait_for_each_other_in_a_circle(database_url, here):
    """Two workers that name the same queues in opposite orders."""
    limit(here, "a", "b")
    batch = [
        {"task": "c.t", "event": {"type": ":INITIAL"}, "queue": "ab"[n % 2]} for n in range(600)
    ]
    rows(here, "SELECT count(*) FROM $S.start_contexts(%s::jsonb)", json.dumps(batch))
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

    def claim_all(number):
        queues = ["a", "b"] if number % 2 else ["b", "a"]
        with psycopg.connect(database_url, autocommit=True) as connection:
            worker = register(connection, f"h{number}")
            found = []
            while claimed := claim(connection, worker, queues):
                found += [context for context, _ in claimed]
            return found

    with ThreadPoolExecutor(4) as pool:
        found = [context for part in pool.map(claim_all, range(4)) for context in part]

    assert len(found) == len(set(found)) == 600
    assert rows(here, deadlocks) == [(0,)]


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("below", [False, True])
def test_starts_with_the_same_keys_in_any_order_are_made_once(database_url, here, limited, below):
    """Each names all keys, of two tasks, in an order of its own, and those of limits in another."""
    rounds, keys, starters = 6, 15, 4
    parents = [start(here), start(here)]

    def item(number, key):
        task = f"c.t{key % 2}"
        event = {"type": f"{task}:INITIAL", "payload": {}}
        limit = {"limit_key": f"l{key % 3}", "key_limit": 100} if limited else {}
        return {"task": task, "event": event, "idempotency_key": f"{number} {key}", **limit}

    def start_all(starter):
        draw = random.Random(starter)
        spawned = json.dumps({"type": "c.t/s:SPAWNED", "meta": {}}) if below else None
        with psycopg.connect(database_url, autocommit=True) as connection:
            return [
                dict(zip(order, (row[0] for row in rows(
                    connection, "SELECT context_id FROM $S.start_contexts(%s, %s, %s)",
                    json.dumps([item(number, key) for key in order]), spawned,
                    draw.choice(parents) if below else None,
                )), strict=True))
                for number in range(rounds)
                for order in [draw.sample(range(keys), keys)]
            ]  # fmt: skip

    with ThreadPoolExecutor(starters) as pool:
        first, *others = pool.map(start_all, range(starters))

    assert all(other == first for other in others)
    assert len({context for found in first for context in found.values()}) == rounds * keys
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert rows(here, deadlocks) == [(0,)]


def test_a_limited_queue_that_somebody_has_locked_holds_up_no_other(here, other):
    """The claim does without it for once."""
    limit(here, "a", "b")
    worker = register(here, "h")
    in_a, in_b = start(here, queue="a"), start(here, queue="b")

    with open_transaction(here):
        here.execute(f"SELECT FROM {SCHEMA}.queue_setting WHERE queue = 'a' FOR UPDATE")
        first = other.begin(claim, worker, ["a", "b"]).result(PATIENCE)
    second = claim(here, worker, ["a", "b"])

    assert first == [(in_b, "b")]
    assert second == [(in_a, "a")]


def test_what_is_noted_of_a_queue_stops_no_claim_when_somebody_has_it_locked(here, other):
    """Neither of this queue, nor of another one."""
    rows(here, "INSERT INTO $S.queue_setting (queue, rate) VALUES ('a', 1000) RETURNING 1")
    rows(here, "UPDATE $S.queue_setting SET allowance = 1 RETURNING 1")
    worker = register(here, "h")
    first, late = start(here, queue="a"), {start(here, queue="a"), start(here, queue="b")}
    query = (
        "SELECT context_id FROM $S.claim_runs(%s, '{a}', '{-99}', '{0}', '{c.t}', '{}', NULL, 1)"
    )
    assert rows(here, query, worker) == [(first,)]

    with open_transaction(here):
        here.execute(f"SELECT FROM {SCHEMA}.queue_allowance FOR UPDATE")
        found = other.begin(claim, worker, ["a", "b"]).result(PATIENCE)

    assert {context for context, _ in found} == late


@pytest.mark.parametrize("rate", ["inf", "nan", "-1", "0", "1e300", "1e-300"])
def test_a_rate_that_cannot_be_counted_with_is_refused(here, rate):
    """By the table itself, whoever writes it."""
    with pytest.raises(psycopg.errors.CheckViolation):
        rows(here, "INSERT INTO $S.queue_setting (queue, rate) VALUES ('q', %s) RETURNING 1", rate)


@pytest.mark.parametrize(
    "limits",
    [{"concurrency": n} for n in (-1, 3_000_000_000)]
    + [{"rate": n} for n in (-1.0, math.inf, math.nan, 1e300, 1e-300)],
)
async def test_a_limit_that_cannot_be_counted_with_is_refused(store, limits):
    """With a message that says what can be."""
    with pytest.raises(InvalidValueError, match=r"must be 0 \(no limit\)"):
        await store.queue.set_queue("q", **limits)


NAMES = ["", "".join(map(chr, range(300, 1000))), "a\0b", "\ud800"]


async def test_a_name_that_an_index_cannot_hold_is_refused_at_once(store):
    """Not by the index, and not later, when a run or a firing has it."""
    nobody = ("a.b", "0 4 * * *")
    for name in NAMES:
        with case(name):
            with pytest.raises(InvalidValueError, match="The name of a queue"):
                await store.queue.set_queue(name, paused=True)
            with pytest.raises(InvalidValueError, match="The name of a subscription"):
                store.log.subscription(name, nobody)
            with pytest.raises(InvalidValueError, match="The name of a token"):
                await store.tokens.add(name, "viewer", "me")
            with pytest.raises(InvalidScheduleError, match="The name of a schedule"):
                Schedule(name, *nobody).check()
    longest = Schedule("n" * LONGEST_NAME, *nobody)
    longest.check()
    assert len(longest.key(datetime.now(UTC))) <= LONGEST_KEY


@pytest.mark.parametrize("name", ["", "q" * 1001])
def test_a_queue_that_no_run_could_be_in_is_refused_by_its_table(here, name):
    with pytest.raises(psycopg.errors.CheckViolation):
        rows(here, "INSERT INTO $S.queue_setting (queue) VALUES (%s) RETURNING 1", name)


def test_a_start_that_the_queue_cannot_hold_is_refused_with_a_reason(here):
    """By its own error, not by that of an index or a cast; so it fails alone."""
    for item in [
        *({name: "".join(map(chr, range(300, 1000)))} for name in ("task", "queue")),
        *({"limit_key": key, "key_limit": 1} for key in ("", "k" * 1001)),
        *({"limit_key": "k", "key_limit": n} for n in (0, -1, 3e9, 1.5, "1", None)),
        *({"priority": n} for n in (3_000_000_000, -3_000_000_000, 0.5, "high", True)),
        *({name: n} for name in ("delay", "expires", "deadline") for n in (1e300, "NaN", "1", [])),
        *({"labels": labels} for labels in ("fast", ["a", 1], [None], {}, 5)),
        {"limit_key": "k"},
        {"limit_key": "k", "key_limit": 1, "when_open": "ask"},
    ]:
        with case(item):
            with pytest.raises(psycopg.Error) as refused:
                start(here, **item)

            assert refused.value.sqlstate == "DM001"
            assert statuses(here) == {}


def test_what_a_start_leaves_out_it_may_say_to_be_null(here):
    """It is queued at once; if it waited for a time that is null, it would wait forever."""
    times = ("delay", "expires", "deadline")
    keys = ("limit_key", "key_limit", "when_open", "idempotency_key", "awaited")
    nothing = dict.fromkeys(["queue", "priority", "labels", *times, *keys])
    event = {"type": "c.t:INITIAL"}
    batch = [{"task": "c.t", "event": event, **nothing}, {"task": "c.t", "event": event, **nothing}]

    made = rows(here, "SELECT is_new FROM $S.start_contexts(%s::jsonb)", json.dumps(batch))
    found = rows(here, "SELECT state, queue, priority, labels, limit_key FROM $S.run_queue")

    assert made == [(True,), (True,)]
    assert found == [("queued", "default", 0, [], None)] * 2


@pytest.mark.parametrize("priority", ["7", "7.0", "7e0", "0.7e1"])
def test_a_whole_number_is_one_however_it_is_written(here, priority):
    """JSON knows no integers."""
    limits = f'"priority": {priority}, "limit_key": "k", "key_limit": 1.0'
    batch = f'[{{"task": "c.t", "event": {{"type": "c.t:INITIAL"}}, {limits}}}]'

    rows(here, "SELECT * FROM $S.start_contexts(%s::jsonb)", batch)

    assert rows(here, "SELECT priority, key_limit FROM $S.run_queue") == [(7, 1)]


DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def append(connection, *events):
    """Append events of any contexts: pairs of a context and a type."""
    batch = [
        {
            "context_id": context,
            "event": {"type": type_}
            | ({"error": True, "payload": {"message": "no"}} if type_ == ":ERROR" else {}),
        }
        for context, type_ in events
    ]
    query = "SELECT count(*) FROM $S.append_events(%s::jsonb)"
    return rows(connection, query, json.dumps(batch))


def wait_for_signal(connection, context):
    """Its run waits, and a signal wakes it."""
    worker = register(connection, "h")
    query = "UPDATE $S.run_queue SET state = 'waiting', wake_types = '{go}' WHERE context_id = %s"
    connection.execute(query.replace("$S", SCHEMA), [context])
    return worker


@pytest.fixture
def third(database_url):
    with ThreadPoolExecutor(1) as pool:
        third = Other(database_url, pool)
        yield third
        third.connection.close()


def meet(here, first, second, context):
    """Two acts meet at the run of a context, which a stranger has; the second comes after."""
    with open_transaction(here):
        here.execute(f"SELECT FROM {SCHEMA}.run_queue WHERE context_id = %s FOR UPDATE", [context])
        acts = [other.begin(act, *args) for other, act, *args in (first, second)]
    for act in acts:
        act.result(PATIENCE)
    assert rows(here, DEADLOCKS) == [(0,)]


def test_ends_at_different_heights_of_a_tree_lock_its_runs_in_one_order(here, other, third):
    """A parent fails while its children end in the commit of others: no deadlock to be retried."""
    root = start(here)
    parent = start(here, root)
    uncle, child = start(here, root), start(here, parent)

    meet(
        here,
        (other, append, (parent, ":ERROR")),
        (third, append, (uncle, ":FINAL"), (child, ":FINAL")),
        parent,
    )

    found = {parent: "ERROR", uncle: "DONE", child: "DONE", root: "OPEN"}
    assert statuses(here) == found


def test_signals_for_many_runs_lock_them_in_one_order(here, other, third):
    """Whatever the order of the batch: ends of subtasks come at the same time."""
    early, late = start(here), start(here)
    children = [start(here, early), start(here, late)]
    for context in (early, late):
        wait_for_signal(here, context)

    meet(
        here,
        (other, append, *((child, ":FINAL") for child in children)),
        (third, append, (late, "go"), (early, "go")),
        early,
    )

    assert rows(here, "SELECT DISTINCT state FROM $S.run_queue") == [("queued",)]


HAND_BACK = (
    statement("hand_back_runs"),
    {"kept": [], "only": None, "delay": None},
)


def test_what_somebody_has_locked_is_handed_back_later(here, other):
    """A worker that waited for a stranger would claim nothing; it looks again in some seconds."""
    worker = register(here, "h")
    locked, free = start(here, queue="a"), start(here, queue="a")
    claim(here, worker, ["a"])

    def hand_back(connection):
        query, params = HAND_BACK
        return [row[0] for row in connection.execute(query, {**params, "worker_id": worker})]

    with open_transaction(here):
        here.execute(f"SELECT FROM {SCHEMA}.run_queue WHERE context_id = %s FOR UPDATE", [locked])
        first = other.begin(hand_back).result(PATIENCE)

    assert first == [free]
    assert hand_back(here) == [locked]


def test_a_start_with_keys_locks_its_parent_before_them(here, other, third):
    """Two starts below one parent, with the same idempotency key; one of them has a limit too."""
    parent = start(here)
    spawned = json.dumps({"type": "c.t/s:SPAWNED"})
    item = {"task": "c.t", "event": {"type": "c.t:INITIAL"}, "idempotency_key": "i"}
    limited = item | {"limit_key": "k", "key_limit": 1}

    def spawn(connection, batch):
        query = "SELECT context_id FROM $S.start_contexts(%s::jsonb, %s::jsonb, %s)"
        return rows(connection, query, json.dumps([batch]), spawned, parent)

    with open_transaction(here):
        here.execute(f"SELECT FROM {SCHEMA}.etl_context WHERE context_id = %s FOR UPDATE", [parent])
        spawning = [other.begin(spawn, item), third.begin(spawn, limited)]
    found = {row for each in spawning for row in each.result(PATIENCE)}

    assert len(found) == 1
    assert rows(here, DEADLOCKS) == [(0,)]


def test_a_start_that_was_made_already_locks_its_context_before_its_key(here, other, third):
    """It waits for whoever writes to the context; that one waits for the key when it ends it."""
    limited = {"idempotency_key": "i", "limit_key": "k", "key_limit": 1}
    first = start(here, **limited)

    with open_transaction(here):
        rows(here, "SELECT $S.lock_keys('{k}')")
        again = other.begin(lambda connection: start(connection, **limited))
        cancelling = third.begin(cancel, first)

    assert again.result(PATIENCE) == first
    assert cancelling.result(PATIENCE) == {first}
    assert rows(here, DEADLOCKS) == [(0,)]


async def test_after_an_outage_nobody_is_buried_by_who_comes_back_first(store, here):
    """Every lease has lapsed then; something is due, so a second renewal follows the first."""
    first, second = register(here, "h"), register(here, "h")
    rows(here, "UPDATE $S.worker SET lease_until = now() - interval '1 minute' RETURNING 1")
    late = start(here, delay=0)
    renewing = {
        "worker_id": first, "held": [], "queues": ["default"], "tasks": ["c.t"], "offered": [],
        "scheduled": [], "ranks": None, "marks": None, "lease": timedelta(minutes=1),
    }  # fmt: skip
    renewer = Renewer(store.database, lambda: renewing)

    renewer.renew()

    query = "SELECT worker_id FROM $S.worker ORDER BY 1"
    assert rows(here, query) == [(first,), (second,)]
    renewer.renew()
    assert rows(here, query) == [(first,), (second,)]  # it has a new lease, which lapses
    rows(here, "UPDATE $S.worker SET lease_until = now() WHERE worker_id = %s RETURNING 1", second)
    renewer.renew()
    assert rows(here, query) == [(first,)]
    assert rows(here, "SELECT state FROM $S.run_queue WHERE context_id = %s", late) == [("queued",)]
    renewer.close()
