"""The run queue against a model of it: any order of what workers, operators and time do.

`MODEL_EXAMPLES=2000 make test ARGS=tests/integration/test_queue_model.py` looks for longer, at
other examples each time.
"""

import asyncio
import os
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from dama.domain.event import Event
from dama.domain.outcome import Waiting
from dama.store import Start, Store
from dama.store.errors import LifeCycleError, StaleEpochError
from dama.store.queue import Place
from dama.store.queue_rows import WorkerIdentity
from dama.store.renewal import Renewer
from tests.integration.queue_model import LATER, PAST, TASK, Model, Queue

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
LEASE = timedelta(hours=1)
HOUR = 3600
QUEUES = ("one", "two")
LIMIT = "limit"  # a key that at most two runs may have
EMPTY = """
DELETE FROM run_queue; DELETE FROM worker; DELETE FROM queue_setting; DELETE FROM ending_tree;
DELETE FROM event_store_prototype; DELETE FROM etl_context;
"""
PASSES = {
    "due": "UPDATE run_queue SET due_at = clock_timestamp() - interval '1 second'"
    " WHERE context_id = %s AND due_at IS NOT NULL",
    "expires": "UPDATE run_queue SET expires_at = clock_timestamp() - interval '1 second'"
    " WHERE context_id = %s AND expires_at IS NOT NULL",
    "deadline": "UPDATE run_queue SET deadline_at = clock_timestamp() - interval '1 second'"
    " WHERE context_id = %s AND deadline_at IS NOT NULL",
    "lease": "UPDATE worker SET lease_until = clock_timestamp() - interval '1 second'"
    " WHERE worker_id = %s",
}
CONTEXTS = """
SELECT c.context_id, c.parent_id, c.root_context_id, c.status, c.version, c.epoch,
       c.initial_event_id = e.ids[1] AND c.latest_event_id = e.ids[cardinality(e.ids)],
       e.types, e.versions, e.finals
  FROM etl_context c, LATERAL (
    SELECT array_agg(e.type ORDER BY e.version) AS types,
           array_agg(e.version ORDER BY e.version) AS versions,
           array_agg(e.event_id ORDER BY e.version) AS ids,
           array_agg(e.version) FILTER (WHERE e.type LIKE '%:FINAL') AS finals
      FROM event_store_prototype e WHERE e.etl_context_id = c.context_id) e
"""
RUNS = """
SELECT context_id, queue, priority,
       CASE state WHEN 'blocked' THEN 'queued' ELSE state END, epoch, attempt, worker_id,
       CASE WHEN due_at < clock_timestamp() THEN 'past' WHEN due_at IS NOT NULL THEN 'later' END,
       CASE WHEN deadline_at < clock_timestamp() THEN 'past'
            WHEN deadline_at IS NOT NULL THEN 'later' END
  FROM run_queue
"""
ENDING = "SELECT context_id FROM ending_tree"
BLOCKED = "SELECT context_id FROM run_queue WHERE state = 'blocked'"
PLACES = """
SELECT min(key_limit), count(*) FILTER (WHERE state NOT IN ('blocked', 'delayed')),
       count(*) FILTER (WHERE state = 'blocked')
  FROM run_queue WHERE limit_key IS NOT NULL GROUP BY limit_key
"""
WORKERS = "SELECT worker_id, lease_until < clock_timestamp() FROM worker"


class Bench:
    """The database of the test, as the machine meets it."""

    def __init__(self, runner, store, sql):
        self.run = runner.run
        self.store = store
        self.sql = sql

    @classmethod
    @contextmanager
    def opened(cls, url):
        with asyncio.Runner() as runner, psycopg.connect(url, autocommit=True) as sql:
            sql.execute("SET search_path = _data_manager_admin")
            stack = AsyncExitStack()
            store = runner.run(stack.enter_async_context(Store.opened(url)))
            try:
                yield cls(runner, store, sql)
            finally:
                runner.run(stack.aclose())

    def empty(self):
        with self.sql.transaction():
            self.sql.execute("SET LOCAL dama.rewrite_history = 'on'")
            self.sql.execute(EMPTY)


class QueueMachine(RuleBasedStateMachine):
    """Does the same to the queue and to its model; compares both after each step."""

    contexts = Bundle("contexts")
    workers = Bundle("workers")
    claims = Bundle("claims")

    def __init__(self, bench):
        super().__init__()
        self.bench = bench
        self.queue = bench.store.queue
        self.model = Model()
        self.renewing = {}
        self.renewer = Renewer(bench.store.database, lambda: self.renewing)
        self.held = {}
        self.places = {}
        self.given = set()
        bench.empty()

    def teardown(self):
        self.renewer.close()

    # ------------------------------------------------------------------ starts

    @initialize(target=workers)
    def two_workers(self):
        return multiple(self.register(), self.register())

    @initialize(target=contexts, expires=st.booleans())
    def two_contexts(self, expires):
        return multiple(
            self.start(
                "one", 0, delayed=False, expires=expires, deadline=True, limited=False, key=None
            ),
            self.start(
                "two", 0, delayed=False, expires=False, deadline=False, limited=True, key="k"
            ),
        )

    @rule(
        target=contexts,
        queue=st.sampled_from(QUEUES),
        priority=st.integers(-1, 1),
        delayed=st.booleans(),
        expires=st.booleans(),
        deadline=st.booleans(),
        limited=st.booleans(),
        key=st.sampled_from([None, None, None, "k"]),
    )
    def start(self, queue, priority, *, delayed, expires, deadline, limited, key):
        times = {"due": delayed, "expires": expires, "deadline": deadline}
        start = Start(
            TASK, {}, queue, priority, key, HOUR if delayed else None, HOUR if expires else None,
            deadline=HOUR if deadline else None, limit_key=LIMIT if limited else None, key_limit=2,
        )  # fmt: skip
        (context,) = self.bench.run(self.bench.store.start([start]))

        if key in self.model.keys:
            assert context == self.model.keys[key]
            return multiple()
        self.model.create(
            context,
            None,
            queue,
            priority,
            times=[name for name, on in times.items() if on],
            key=key,
        )
        return context

    @rule(
        target=contexts,
        claim=claims,
        priorities=st.lists(st.integers(0, 1), min_size=1, max_size=3),
    )
    def start_subtasks(self, claim, priorities):
        starts = [Start(TASK, {}, "one", priority) for priority in priorities]
        spawned = Event(f"{TASK}/s:SPAWNED", meta={"epoch": claim.epoch})
        parent = self.model.contexts[claim.context_id]

        with self.refused(parent, "/s:SPAWNED", claim.epoch) as taken:
            ids = self.bench.run(
                self.bench.store.start(starts, parent=claim.context_id, spawned=spawned)
            )
        if not taken:
            return multiple()
        for context, priority in zip(ids, priorities, strict=True):
            self.model.create(context, claim.context_id, "one", priority)
        return multiple(*ids)

    # ------------------------------------------------------------------ workers

    @rule(target=workers)
    def register(self):
        worker = self.bench.run(
            self.queue.register(
                WorkerIdentity("host", "boot", 1, "0", "0"),
                queues=QUEUES, root=None, slots=9, lease=LEASE,
            )
        )  # fmt: skip
        self.model.workers[worker] = False
        self.held[worker] = set()
        return worker

    @rule(
        target=claims,
        worker=workers,
        queues=st.sampled_from([QUEUES, QUEUES[::-1], QUEUES[:1]]),
        demand=st.integers(1, 3),
        goes_on=st.booleans(),
    )
    def claim(self, worker, queues, demand, goes_on):
        after = self.places if goes_on else {}
        expected = self.model.claim(
            worker, queues, demand,
            {name: (-p.priority, p.context_id) for name, p in after.items()},
            self.blocked(),
        )  # fmt: skip
        found = self.bench.run(
            self.queue.claim(
                worker, queues=queues, tasks=[TASK], root=None, demand=demand, after=after
            )
        )
        for claim in found:
            self.places[claim.queue] = Place(claim.priority, claim.context_id)
        return self.claimed(worker, found, expected)

    @rule(target=claims, worker=workers, root=contexts, demand=st.integers(1, 3))
    def claim_in_a_tree(self, worker, root, demand):
        expected = self.model.claim_tree(worker, root, demand, self.blocked())
        found = self.bench.run(
            self.queue.claim(worker, queues=QUEUES, tasks=[TASK], root=root, demand=demand)
        )
        return self.claimed(worker, found, expected)

    def blocked(self):
        """Whose key has no place left: which of them get one is for the queue to say."""
        return {context for (context,) in self.bench.sql.execute(BLOCKED).fetchall()}

    def claimed(self, worker, found, expected):
        assert {(c.context_id, c.epoch, c.attempt) for c in found} == {
            (e.context_id, e.run.epoch, e.run.attempt) for e in expected
        }
        for claim in found:
            assert (claim.context_id, claim.epoch) not in self.given, "an epoch was given twice"
            self.given.add((claim.context_id, claim.epoch))
            self.held[worker].add(claim.context_id)
        return multiple(*found)

    @rule(worker=workers)
    def renew(self, worker):
        self.renewing = {
            "scheduled": [], "offered": [],
            "worker_id": worker, "held": sorted(self.held[worker]), "queues": list(QUEUES),
            "tasks": [TASK], "lease": LEASE, "ranks": None, "marks": None,
        }  # fmt: skip
        found = self.renewer.renew()

        if not self.model.renew(worker):
            assert found.gone is None
            return
        own = {context.context_id for context in self.model.runs(holder=worker)}
        assert set(found.gone) == self.held[worker] - own
        queued = {context.context_id for context in self.model.runs(state="queued")}
        assert found.work == bool(queued - self.blocked())
        self.held[worker] &= own

    @rule(worker=workers)
    def lapse(self, worker):
        """It is frozen, or was killed: nobody renews its lease."""
        self.bench.sql.execute(PASSES["lease"], [worker])
        if worker in self.model.workers:
            self.model.workers[worker] = True

    @rule(worker=workers, claim=claims)
    def hand_back(self, worker, claim):
        self.bench.run(self.queue.hand_back(worker, kept=[claim.context_id]))
        self.model.hand_back(worker, [claim.context_id])

    @rule(worker=workers)
    def release(self, worker):
        self.bench.run(self.queue.release([worker]))
        self.model.release(worker)

    # ------------------------------------------------------------------ runs

    @contextmanager
    def refused(self, context, kind, epoch):
        """What the model refuses must be refused, and nothing else; yields [kind] or []."""
        refusal = self.model.refusal(context, kind, epoch)
        if refusal is None:
            yield [kind]
            self.model.append(context, kind, epoch)
            return
        with pytest.raises(StaleEpochError if refusal == "stale" else LifeCycleError):
            yield []

    @rule(
        claim=claims,
        kind=st.sampled_from(["STARTED", "STARTED", "/s:DONE", "FINAL", "ERROR"]),
    )
    def write(self, claim, kind):
        """Whoever was given a claim writes, also when another one has the run since."""
        self.write_as(claim, kind)

    def write_as(self, claim, kind):
        context = self.model.contexts[claim.context_id]
        with self.refused(context, kind, claim.epoch) as taken:
            self.append(claim.context_id, kind, meta={"epoch": claim.epoch})
        return bool(taken)

    def append(self, context_id, kind, **more):
        if kind == "ERROR":
            more |= {"payload": {"message": "no"}, "error": True}
        type_ = kind if kind.islower() else TASK + (kind if kind[0] == "/" else f":{kind}")
        self.bench.run(self.bench.store.append(context_id, [Event(type_, **more)]))

    @rule(context=contexts, kind=st.sampled_from(["signal", "signal", "remark", "FINAL", "ERROR"]))
    def write_from_outside(self, context, kind):
        with self.refused(self.model.contexts[context], kind, None):
            self.append(context, kind)

    @rule(claim=claims, worker=workers)
    def retry(self, claim, worker):
        if self.write_as(claim, "RETRYING"):
            self.bench.run(self.queue.retry(claim.context_id, worker, HOUR))
            self.model.retry(self.model.contexts[claim.context_id], worker)

    @rule(
        claim=claims,
        worker=workers,
        on_failure=st.booleans(),
        until=st.sampled_from([None, None, LATER, PAST]),
        signal=st.booleans(),
        seen=st.booleans(),
        every=st.booleans(),
    )
    def park(self, claim, worker, on_failure, until, signal, seen, every):
        context = self.model.contexts[claim.context_id]
        children = [
            c.context_id for c in self.model.below(context) if c.parent == context.context_id
        ]
        now = self.bench.run(self.bench.store.now())
        waiting = Waiting(
            awaited=children if every else children[:1],
            on_failure=on_failure,
            until=None if until is None else now + timedelta(hours=1 if until == LATER else -1),
            types=["signal"] if signal else [],
            seen=len(context.history) if seen else 1,
        )
        parked = self.bench.run(self.queue.park(claim.context_id, worker, waiting))
        assert parked == self.model.park(context, worker, waiting, until)

    # ------------------------------------------------------------------ time and operators

    @rule(context=contexts, what=st.sampled_from(["due", "expires", "deadline"]))
    def let_its_time_come(self, context, what):
        self.bench.sql.execute(PASSES[what], [context])
        run = self.model.contexts[context].run
        if run is not None and getattr(run, what) is not None:
            setattr(run, what, PAST)

    @rule(context=contexts)
    def cancel(self, context):
        found = self.bench.run(self.bench.store.cancel([context], "enough", {}))
        assert found == self.model.cancel(self.model.contexts[context])

    @rule(context=contexts)
    def resume(self, context):
        found = self.bench.run(self.bench.store.resume(context, {}))
        assert found == self.model.resume(self.model.contexts[context])

    @rule(
        queue=st.sampled_from(QUEUES),
        paused=st.sampled_from([None, False, False, True]),
        concurrency=st.sampled_from([None, 0, 1, 2]),
    )
    def set_queue(self, queue, paused, concurrency):
        self.bench.run(self.queue.set_queue(queue, paused=paused, concurrency=concurrency))
        setting = self.model.queues.setdefault(queue, Queue())
        setting.paused = setting.paused if paused is None else paused
        if concurrency is not None:
            setting.concurrency = concurrency or None

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def the_contexts_are_those_of_the_model(self):
        """Their versions have no gaps; a FINAL is the last event."""
        assert self.found(CONTEXTS) == contexts_of(self.model)

    def found(self, query):
        return {row[0]: row[1:] for row in self.bench.sql.execute(query).fetchall()}

    @invariant()
    def the_runs_are_those_of_the_model(self):
        """State, epoch, attempt and holder of each; no run of a context that has ended."""
        assert self.found(RUNS) == runs_of(self.model)

    @invariant()
    def what_is_being_ended_is_that_of_the_model(self):
        """A tree whose deadline has passed, until nothing below is open."""
        assert set(self.found(ENDING)) == self.model.ending

    @invariant()
    def the_workers_are_those_of_the_model(self):
        """Who is there, and whose lease has lapsed."""
        assert self.found(WORKERS) == workers_of(self.model)

    @invariant()
    def the_places_of_a_key_are_given(self):
        """No more than there are, and none is free while a run waits for one."""
        for most, given, blocked in self.bench.sql.execute(PLACES).fetchall():
            assert given == most if blocked else given <= most

    @invariant()
    def nothing_is_forgotten(self):
        """An open task has a run, an ended one has none; a run waits for what can still come."""
        for context in self.model.contexts.values():
            run = context.run
            assert (run is not None) == (context.status == "OPEN" and not context.reopened)
            if run is not None and run.state == "waiting" and run.awaited:
                status = {self.model.contexts[child].status for child in run.awaited}
                assert "OPEN" in status
            if run is not None:
                assert (run.state == "running") == (run.holder in self.model.workers)


def contexts_of(model):
    """What CONTEXTS must find."""
    return {
        c.context_id: (
            c.parent, c.root, c.status, len(c.history), c.epoch, True, c.history,
            list(range(1, len(c.history) + 1)),
            [len(c.history)] if c.status == "DONE" else None,
        )
        for c in model.contexts.values()
    }  # fmt: skip


def runs_of(model):
    """What RUNS must find."""
    return {
        c.context_id: (
            c.queue, c.priority, r.state, r.epoch, r.attempt, r.holder, r.due, r.deadline,
        )
        for c in model.contexts.values()
        if (r := c.run) is not None
    }  # fmt: skip


def workers_of(model):
    """What WORKERS must find."""
    return {worker: (lapsed,) for worker, lapsed in model.workers.items()}


@pytest.mark.timeout(0 if EXAMPLES else 300)  # it looks for the shortest way to a failure
def test_the_queue_does_what_its_model_says(database_url):
    """Whoever claims, dies, comes back, waits, ends or is told to, in any order."""
    profile = settings(
        max_examples=EXAMPLES or 150,
        stateful_step_count=100 if EXAMPLES else 40,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with Bench.opened(database_url) as bench:
        run_state_machine_as_test(lambda: QueueMachine(bench), settings=profile)
