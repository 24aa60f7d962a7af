"""Workers that are killed or stopped again and again, until contexts have ended.

python interrupting.py MODULE SERVICE URL SEED ROUNDS CONTEXT...

This process has loaded everything and forks for each worker, which it kills with SIGKILL, or stops
with SIGTERM, once the database shows so many more events. After so many rounds one goes to the end.
"""

import asyncio
import os
import signal
import sys
import time
from importlib import import_module
from random import Random

import psycopg

from dama import Service
from dama.definitions.registry import Registry
from dama.signals import on_signals
from dama.store import Store
from dama.worker.worker import Worker

NEWS = """
    SELECT count(*) FROM _data_manager_admin.event_store_prototype
    WHERE type NOT LIKE '%%:STARTED'
"""
STUCK = """
    SELECT q.context_id, q.state, q.epoch, q.attempt, q.deaths, q.due_at, e.type
    FROM _data_manager_admin.run_queue AS q
    JOIN _data_manager_admin.etl_context AS c USING (context_id)
    JOIN _data_manager_admin.event_store_prototype AS e ON e.event_id = c.latest_event_id
"""
PATIENCE = 100.0
OPEN = """
    SELECT count(*) FROM _data_manager_admin.etl_context
    WHERE context_id = ANY(%s) AND status = 'OPEN'
"""


async def work(service: Service, url: str, park_after: float) -> None:
    """Until a signal comes."""
    ended = asyncio.Event()
    on_signals((signal.SIGTERM,), ended.set)
    async with Store.opened(url) as store:
        worker = Worker(store, Registry([service]), park_after=park_after, slots=50)
        async with worker.working():
            await ended.wait()


def fork(service: Service, url: str, park_after: float) -> int:
    """A worker; its process."""
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(work(service, url, park_after))
        finally:
            os._exit(0)
    return pid


def end(pid: int, number: int) -> None:
    """End a worker with a signal, and wait for it."""
    os.kill(pid, number)
    until = time.monotonic() + PATIENCE
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            sys.stderr.write("a worker does not stop\n")
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def interrupt(service: Service, url: str, seed: int, rounds: int, contexts: list[int]) -> None:
    random = Random(seed)
    with psycopg.connect(url, autocommit=True) as connection:

        def number(query: str, *args: object) -> int:
            return connection.execute(query, args).fetchone()[0]

        while number(OPEN, contexts):
            rounds -= 1
            until = number(NEWS) + random.choice((1, 1, 2, 3, 5)) if rounds > 0 else 10**9
            pid = fork(service, url, random.choice((0, 0, 60)))
            begun = time.monotonic()
            while number(NEWS) < until and number(OPEN, contexts):
                time.sleep(0.002)
                if time.monotonic() - begun > PATIENCE:
                    sys.stderr.write(f"{connection.execute(STUCK).fetchall()}\n")
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    sys.exit("nothing happens any more")
            time.sleep(random.choice((0, 0, 0.003, 0.01)))
            end(pid, random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))


if __name__ == "__main__":
    _, module, name, url, seed, rounds, *contexts = sys.argv
    service = getattr(import_module(module), name)
    interrupt(service, url, int(seed), int(rounds), [int(context) for context in contexts])
