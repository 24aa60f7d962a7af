"""Connections that act at the same time, while a stranger's transaction is in their way."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from threading import Event

import psycopg

PATIENCE = 100.0
LOST = "57P01"  # its connection was ended before it had committed
REFUSALS = {"DM002", "DM003", "DM004", "DM006", LOST}
STRANGERS = {
    "nobody": "SELECT %s",
    "context": "SELECT FROM etl_context WHERE context_id = %s FOR UPDATE",
    "run": "SELECT FROM run_queue WHERE context_id = %s FOR UPDATE",
    "tree": "SELECT lock_trees(ARRAY[%s])",
    "key": "SELECT %s, lock_keys('{limit}')",
    "queues": "SELECT %s FROM queue_setting FOR UPDATE",
    "workers": "SELECT %s FROM worker FOR UPDATE",
}


class Race:
    """Connections that act at the same time, and one of a stranger who is in their way.

    Args:
        url: Of the database.
        size: How many acts at once.
    """

    def __init__(self, url, size):
        self._url = url
        self._connections = [psycopg.connect(url, autocommit=True) for _ in range(size)]
        self._stranger = psycopg.connect(url, autocommit=True)
        self._stranger.execute("SET search_path = _data_manager_admin")
        self._watch = psycopg.connect(url, autocommit=True)
        self._pool = ThreadPoolExecutor(size)

    def close(self):
        self._pool.shutdown()
        for connection in (*self._connections, self._stranger, self._watch):
            connection.close()

    def run(self, acts, stranger, context, *, hold, loses=()):
        """Begin them one after the other, each as far as it gets; then let all continue.

        Args:
            acts: In their order.
            stranger: What a transaction has locked meanwhile, of STRANGERS.
            context: Which one, where it locks something of a context.
            hold: Whether the first one keeps its transaction open until all have begun.
            loses: Whose connections are lost before the stranger leaves, if they still act.

        Returns:
            The results of all; the SQLSTATE of what was refused.
        """
        go = Event()
        with self._stranger.transaction():
            self._stranger.execute(STRANGERS[stranger], [context])
            acting = []
            for place, act in enumerate(acts):
                done = Event()
                waits = go if hold and place == 0 else None
                future = self._pool.submit(self._act, self._connections[place], act, done, waits)
                self._until_it_waits(self._connections[place].info.backend_pid, done)
                acting.append(future)
            for place in loses:
                if not acting[place].done():
                    self._end(self._connections[place].info.backend_pid)
        go.set()
        results = [future.result(PATIENCE) for future in acting]
        for place, connection in enumerate(self._connections):
            if connection.closed:
                self._connections[place] = psycopg.connect(self._url, autocommit=True)
        return results

    def _end(self, pid):
        """End a session, and wait until its locks are gone."""
        self._watch.execute("SELECT pg_terminate_backend(%s, %s)", [pid, int(PATIENCE * 1000)])

    def _act(self, connection, act, done, go):
        try:
            with connection.transaction():
                result = act.act(connection)
                done.set()
                if go is not None:
                    go.wait(PATIENCE)
        except psycopg.Error as error:
            if connection.closed:
                return LOST
            if error.sqlstate not in REFUSALS:
                raise
            return error.sqlstate
        finally:
            done.set()
        return result

    def _until_it_waits(self, pid, done):
        query, until = "SELECT cardinality(pg_blocking_pids(%s)) > 0", time.monotonic() + PATIENCE
        while not done.wait(0.002):
            if self._watch.execute(query, [pid]).fetchone()[0]:
                return
            assert time.monotonic() < until, "it neither ends nor waits for a lock"


def explanations(model, acts, results):
    """What the model may be after acts with these results, in whatever order they took effect."""
    for order in permutations(range(len(acts))):
        found = [copy.deepcopy(model)]
        for place in order:
            found = [
                after
                for before in found
                for after in (
                    [before]
                    if results[place] == LOST
                    else acts[place].explain(copy.deepcopy(before), results[place])
                )
            ]
        yield from found
