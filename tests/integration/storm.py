"""A storm: every verb of the store at once, from many connections, while strangers hold locks.

`make storm` takes half a minute, `make storm ARGS="--minutes 10"` as long as one likes. At the end
it says how often each verb was done, and what is wrong: deadlocks, runs without an owner, contexts
that are not what their events say, renewals that became slower, and whoever waited for more than a
second for the lock of a stranger.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg

from dama.embedded import EmbeddedPostgres
from dama.store import schema, session
from dama.store.statements import statement

SCHEMA = "_data_manager_admin"
TASK = "storm.t"
QUEUES = ["one", "two", "three"]
EXPECTED = {
    "DM001", "DM002", "DM003", "DM004", "DM005", "DM006", "DM008", "DM012", "57014",
}  # fmt: skip
WORKER, STRANGER, CLIENT = "dama worker", "stranger", "dama client"
WAITS = """
SELECT w.application_name, left(w.query, 80), pg_blocking_pids(w.pid)
  FROM pg_stat_activity w
 WHERE w.datname = current_database() AND w.application_name LIKE 'dama %%'
   AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = w.pid
                AND l.waitstart < clock_timestamp() - %s * interval '1 second')
   AND EXISTS (SELECT FROM unnest(pg_blocking_pids(w.pid)) b JOIN pg_stat_activity s ON s.pid = b
                WHERE s.application_name = %s)
"""
LOST = """
SELECT c.context_id, c.status, q.state FROM _data_manager_admin.etl_context c
  LEFT JOIN _data_manager_admin.run_queue q USING (context_id)
 WHERE (c.status = 'OPEN') <> (q.context_id IS NOT NULL) AND c.task IS NOT NULL AND NOT (
   -- What failed before a run began is reopened by any event, and waits for somebody to resume it.
   c.status = 'OPEN' AND c.epoch = 0 AND EXISTS (
     SELECT FROM _data_manager_admin.event_store_prototype e
       WHERE e.etl_context_id = c.context_id AND e.type LIKE '%:ERROR'))
UNION ALL
SELECT q.context_id, 'no worker', q.state FROM _data_manager_admin.run_queue q
 WHERE q.state = 'running' AND NOT EXISTS (
   SELECT FROM _data_manager_admin.worker w WHERE w.worker_id = q.worker_id)
UNION ALL
SELECT c.context_id, 'open below a cancelled one', NULL FROM _data_manager_admin.etl_context c
  JOIN _data_manager_admin.etl_context p ON p.context_id = c.parent_id
 WHERE c.status = 'OPEN' AND p.status = 'CANCELLED' AND NOT EXISTS (
   SELECT FROM _data_manager_admin.event_store_prototype e
    WHERE e.etl_context_id = c.context_id AND e.type LIKE '%:RESUMED')
"""
HOLDS = (
    "SELECT FROM _data_manager_admin.etl_context WHERE context_id = %s FOR UPDATE",
    "SELECT FROM _data_manager_admin.run_queue WHERE context_id = %s FOR UPDATE",
    "SELECT FROM _data_manager_admin.run_queue WHERE root_context_id = %s FOR UPDATE",
    "SELECT _data_manager_admin.lock_trees(ARRAY[%s])",
    "SELECT _data_manager_admin.lock_keys(ARRAY['k' || %s %% 6])",
    "SELECT FROM _data_manager_admin.worker, (SELECT %s) x FOR UPDATE OF worker",
    "SELECT FROM _data_manager_admin.worker, (SELECT %s) x FOR KEY SHARE OF worker",
    "SELECT FROM _data_manager_admin.queue_setting, (SELECT %s) x FOR UPDATE OF queue_setting",
    "SELECT _data_manager_admin.dispatch(%s, 'note')",
)


class Storm:
    """The threads, and what they count.

    Args:
        url: Of a database with the schema, as its owner.
        seed: Of all that is drawn.
        longest: Seconds that one of ours may wait for a stranger's lock.
    """

    def __init__(self, url, seed=0, longest=1.0):
        self.url = url
        self.longest = longest
        self.seed = seed
        self.counts = Counter()
        self.faults = []
        self.renewals = []
        self._over = threading.Event()
        self._lock = threading.Lock()

    def run(self, seconds, *, workers=3, clients=3, strangers=2):
        """Do it for so long; returns the faults."""
        with self._connected(CLIENT) as connection:
            for queue in QUEUES[:2]:
                self._ask(connection, "set_queue", queue=queue, paused=None, concurrency=40,
                          rate=None, by=None, act=None)  # fmt: skip
        bodies = [self._work] * workers + [self._act] * clients + [self._hold] * strangers
        threads = [
            threading.Thread(target=self._kept, args=(body, n))
            for n, body in enumerate([*bodies, self._sample])
        ]
        for thread in threads:
            thread.start()
        self._over.wait(seconds)
        self._over.set()
        for thread in threads:
            thread.join()
        self._look()
        return self.faults

    # ------------------------------------------------------------------ who acts

    def _work(self, draw):
        """A worker: it claims, and what it holds continues in some way; its lease is renewed."""
        with self._connected(WORKER) as connection, self._connected(WORKER) as lease:
            worker, held, renewed = self._register(connection), {}, 0.0
            while not self._over.is_set():
                if time.monotonic() - renewed > 0.2:
                    renewed = time.monotonic()
                    worker, held = self._renew(connection, lease, worker, held)
                claims = self._ask(
                    connection, "claim_runs", worker_id=worker, queues=draw.sample(QUEUES, 3),
                    ranks=[-(1 << 40)] * 3, marks=[0] * 3, tasks=[TASK], offered=[], root=None,
                    demand=draw.randint(1, 8),
                )  # fmt: skip
                held |= {row[0]: row[4] for row in claims}
                self._begin(connection, claims)
                for context in draw.sample(sorted(held), min(len(held), 4)):
                    self._go_on(connection, draw, worker, context, held)
                if draw.random() < 0.05:
                    self._ask(connection, "hand_back_runs", worker_id=worker, kept=sorted(held)[:2],
                              only=None, delay=None)  # fmt: skip
                    held = dict(sorted(held.items())[:2])
                if draw.random() < 0.01:  # it dies
                    worker, held = self._register(connection), {}

    def _register(self, connection):
        ((worker,),) = self._ask(
            connection, "register_worker", host="h", place="p", pid_namespace="", boot_id="b",
            pid=1, pid_started="1", version="1", queues=QUEUES, root=None, slots=9, labels=[],
            tasks=[TASK], lease="2 s",
        )  # fmt: skip
        return worker

    def _renew(self, connection, lease, worker, held):
        begun = time.monotonic()
        rows = self._ask(
            lease, "renew_lease", worker_id=worker, held=list(held), queues=QUEUES, tasks=[TASK],
            offered=[], scheduled=[], lease="2 s", ranks=None, marks=None,
        )  # fmt: skip
        with self._lock:
            self.renewals.append(time.monotonic() - begun)
        self._ask(lease, "uphold", most=100)
        gone = rows[0][0]
        if gone is None:
            return self._register(connection), {}
        return worker, {context: held[context] for context in held.keys() - set(gone)}

    def _begin(self, connection, claims):
        events = [
            _event(row[0], "STARTED", row[4], idempotency_key=f"STARTED#{row[4]}") for row in claims
        ]
        if events and not self._append(connection, events):
            for event in events:
                self._append(connection, [event])

    def _go_on(self, connection, draw, worker, context, held):
        epoch, kind = held[context], draw.choice(["end", "end", "fail", "retry", "park", "spawn"])
        if kind == "end":
            self._append(connection, [_event(context, "FINAL", epoch)])
        elif kind == "fail":
            self._append(connection, [_event(context, "ERROR", epoch)])
        elif kind == "retry" and self._append(connection, [_event(context, "RETRYING", epoch)]):
            params = {"context_id": context, "worker_id": worker, "epoch": epoch}
            self._ask(connection, "retry_run", **params, delay="0.1 s")
        children = self._spawn(connection, draw, context, epoch) if kind == "spawn" else []
        if kind in {"park", "spawn"}:
            self._ask(
                connection, "park_run", context_id=context, worker_id=worker, awaited=children,
                on_failure=draw.random() < 0.5, until=None, types=["go"], seen=0,
                any_end=draw.random() < 0.5,
            )  # fmt: skip
        held.pop(context)

    def _spawn(self, connection, draw, parent, epoch):
        spawned = {"type": f"{TASK}/s:SPAWNED", "meta": {"epoch": epoch}}
        return self._start(connection, draw, draw.randint(1, 4), json.dumps(spawned), parent)

    def _act(self, draw):
        """People and programs."""
        acts = {
            self._begin_some: 4, self._signal: 1, self._signal_several: 1, self._cancel: 1,
            self._resume: 1, self._archive: 1, self._restore: 1, self._limit: 1, self._look_on: 1,
            self._fork: 1,
        }  # fmt: skip
        with self._connected(CLIENT) as connection:
            while not self._over.is_set():
                (act,) = draw.choices([*acts], [*acts.values()])
                act(connection, draw, self._some(connection, draw))

    def _begin_some(self, connection, draw, _context):
        self._start(connection, draw, draw.randint(1, 6), None, None)

    def _signal(self, connection, _draw, context):
        self._append(connection, [_event(context, "go", None)])

    def _signal_several(self, connection, draw, context):
        contexts = {context, *[self._some(connection, draw) for _ in range(2)]}
        several = draw.sample(sorted(contexts), len(contexts))
        self._append(connection, [_event(each, "go", None) for each in several])

    def _cancel(self, connection, draw, context):
        if draw.random() < 0.5:
            self._ask(connection, "cancel_trees", context_ids=[context], parent=None,
                      payload='{"message": "enough"}', meta="{}")  # fmt: skip

    def _resume(self, connection, _draw, context):
        self._ask(connection, "resume_tree", context_id=context, meta="{}")

    def _archive(self, connection, _draw, _context):
        params = {"age": "5 s", "failed": False, "after": 0, "demand": 20}
        self._ask(connection, "archive_trees", **params)
        self._ask(connection, "poll_log")

    def _restore(self, connection, _draw, _context):
        query = "SELECT max(context_id) FROM _data_manager_admin.archived_context"
        self._ask(connection, "restore_tree", context_id=connection.execute(query).fetchone()[0])

    def _limit(self, connection, draw, _context):
        self._ask(
            connection, "set_queue", queue=draw.choice(QUEUES), paused=None, by=None, act=None,
            concurrency=draw.choice([0, 20, 40]), rate=draw.choice([0, 200, 1000]),
        )  # fmt: skip

    def _look_on(self, connection, _draw, context):
        self._ask(connection, "read_obstacles", context_id=context)
        self._ask(connection, "read_waits", contexts=[context])

    def _fork(self, connection, draw, context):
        self._ask(connection, "fork_context", source=context, upto=draw.randint(1, 3), edits="{}",
                  meta="{}", is_before=draw.random() < 0.5)  # fmt: skip

    def _start(self, connection, draw, number, spawned, parent):
        batch = []
        for _ in range(number):
            item = {"task": TASK, "queue": draw.choice(QUEUES), "priority": draw.randint(0, 2),
                    "event": {"type": f"{TASK}:INITIAL", "payload": {}}}  # fmt: skip
            if draw.random() < 0.3:
                item |= {"limit_key": f"k{draw.randint(0, 5)}", "key_limit": 3}
            if draw.random() < 0.1:
                item |= {"idempotency_key": f"i{draw.randint(0, 2000)} {len(batch)}"}
            if parent and draw.random() < 0.5:
                item |= {"awaited": True}
            if draw.random() < 0.2:
                item |= {draw.choice(["delay", "expires", "deadline"]): draw.choice([0, 0.5, 2])}
            batch.append(item)
        rows = self._ask(
            connection, "start_contexts", batch=json.dumps(batch), spawned=spawned, parent=parent
        )
        return [row[0] for row in rows]

    def _hold(self, draw):
        """A stranger: a transaction with a lock, which idles for seconds."""
        with self._connected(STRANGER) as connection:
            while not self._over.is_set():
                context = self._some(connection, draw)
                try:
                    with connection.transaction():
                        connection.execute("SET LOCAL lock_timeout = '200ms'")
                        connection.execute(draw.choice(HOLDS), [context])
                        self.counts["held by strangers"] += 1
                        self._over.wait(draw.uniform(0.2, 3))
                except psycopg.Error:
                    self._over.wait(0.1)

    def _sample(self, _draw):
        """What waits for whom."""
        with self._connected("storm sampler") as connection:
            while not self._over.wait(0.1):
                for row in connection.execute(WAITS, [self.longest, STRANGER]).fetchall():
                    self.faults.append(f"waits for a stranger: {row}")
                self.counts["samples"] += 1

    # ------------------------------------------------------------------ what they share

    def _kept(self, body, number):
        draw = random.Random(f"{self.seed} {number}")
        try:
            body(draw)
        except Exception as error:  # noqa: BLE001 - a fault of the storm
            self.faults.append(f"{body.__name__}: {type(error).__name__}: {error}")
            self._over.set()

    def _connected(self, name):
        connection = psycopg.connect(self.url, autocommit=True, application_name=name)
        session.pin_blocking(connection, alone=name.startswith("dama"))
        return connection

    def _ask(self, connection, name, **params):
        try:
            with connection.transaction():
                cursor = connection.execute(statement(name), params)
                rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            if error.sqlstate == "55P03" or error.sqlstate in EXPECTED:
                self.counts[f"{name} refused"] += 1
                return []
            raise
        self.counts[name] += 1
        return rows

    def _append(self, connection, events):
        return bool(self._ask(connection, "append_events", batch=json.dumps(events)))

    def _some(self, connection, draw):
        query = """SELECT max(context_id) FROM _data_manager_admin.etl_context"""
        ((most,),) = connection.execute(query).fetchall()
        return max(1, (most or 1) - draw.randint(0, 60))

    def _look(self):
        with self._connected(CLIENT) as connection:
            time.sleep(2.1)  # all leases have lapsed
            query = "SELECT release_workers(ARRAY(SELECT worker_id FROM worker))"
            connection.execute(f"SET search_path = {SCHEMA}; {query}")
            while connection.execute("SELECT _data_manager_admin.uphold(500)").fetchone() != (0,):
                pass
            lost = connection.execute(LOST).fetchall()
            self.faults += [f"lost: {row}" for row in lost[:10]]
            cursor = connection.execute(statement("list_differences"), {"limit": 10})
            self.faults += [f"not what its events say: {row}" for row in cursor.fetchall()]
            query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ((deadlocks,),) = connection.execute(query).fetchall()
            if deadlocks:
                self.faults.append(f"{deadlocks} deadlocks")
            self.counts["contexts"] = connection.execute(
                "SELECT count(*) FROM _data_manager_admin.etl_context"
            ).fetchone()[0]
        third = len(self.renewals) // 3
        if third:
            early = statistics.median(self.renewals[:third])
            late = statistics.median(self.renewals[-third:])
            self.counts["median renewal at first, us"] = int(early * 1e6)
            self.counts["median renewal at last, us"] = int(late * 1e6)
            self.counts["longest renewal, ms"] = int(max(self.renewals) * 1e3)
            if third > 100 and late > 10 * early + 0.1:
                self.faults.append(f"renewals take {late:.3f} s, and took {early:.3f} s")


def _event(context, kind, epoch, **meta):
    event = {"type": kind if kind.islower() else f"{TASK}:{kind}", "meta": meta}
    if epoch is not None:
        event["meta"] = {**meta, "epoch": epoch}
    if kind in {"ERROR", "RETRYING"}:
        event |= {"error": True, "payload": {"message": "no"}}
    return {"context_id": context, "event": event}


def main():
    """From the command line."""
    import asyncio

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)  # noqa: T201 - a command
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        try:
            asyncio.run(schema.migrate(url))
            storm = Storm(url, asked.seed)
            storm.run(asked.minutes * 60)
        finally:
            server.stop()
    for name, count in sorted(storm.counts.items()):
        print(f"{count:8} {name}")  # noqa: T201
    for fault in storm.faults[:20]:
        print(f"FAULT: {fault}")  # noqa: T201
    return 1 if storm.faults else 0


if __name__ == "__main__":
    sys.exit(main())
